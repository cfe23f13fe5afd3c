/*
 * buffer.c
 *	  Growable byte buffers with a hard cap.
 */
#include "protocol/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_CAPACITY 128		/* holds most header lines and URLs */

void
nexus_buffer_init(NexusBuffer *buffer, size_t max)
{
	memset(buffer, 0, sizeof(*buffer));
	/* one more byte is always kept for the NUL */
	buffer->max = max < SIZE_MAX ? max : SIZE_MAX - 1;
}

/* Make room for "more" bytes and a NUL, or break the buffer. */
static bool
reserve(NexusBuffer *buffer, size_t more)
{
	size_t		needed;
	size_t		capacity = buffer->capacity;
	char	   *data;

	if (buffer->is_broken)
		return false;
	if (more > buffer->max - buffer->len)
	{
		buffer->is_broken = true;
		return false;
	}
	needed = buffer->len + more + 1;
	if (needed <= capacity)
		return true;
	if (capacity < FIRST_CAPACITY)
		capacity = FIRST_CAPACITY;
	while (capacity < needed)
		capacity = capacity <= SIZE_MAX / 2 ? capacity * 2 : needed;
	if (capacity > buffer->max + 1)
		capacity = buffer->max + 1;
	data = realloc(buffer->data, capacity);
	if (data == NULL)
	{
		buffer->is_broken = true;
		return false;
	}
	buffer->data = data;
	buffer->capacity = capacity;
	return true;
}

bool
nexus_buffer_append(NexusBuffer *buffer, const void *data, size_t len)
{
	if (!reserve(buffer, len))
		return false;
	if (len > 0)
		memcpy(buffer->data + buffer->len, data, len);
	buffer->len += len;
	buffer->data[buffer->len] = '\0';
	return true;
}

bool
nexus_buffer_append_text(NexusBuffer *buffer, NexusText text)
{
	return nexus_buffer_append(buffer, text.data, text.len);
}

bool
nexus_buffer_append_string(NexusBuffer *buffer, const char *string)
{
	return nexus_buffer_append(buffer, string, strlen(string));
}

bool
nexus_buffer_append_format(NexusBuffer *buffer, const char *format,...)
{
	va_list		args;
	int			len;
	size_t		room;

	/* room for the NUL, so that vsnprintf always has a place to write to */
	if (!reserve(buffer, 0))
		return false;
	room = buffer->capacity - buffer->len;
	va_start(args, format);
	len = vsnprintf(buffer->data + buffer->len, room, format, args);
	va_end(args);
	if (len >= 0 && (size_t) len >= room)
	{
		buffer->data[buffer->len] = '\0';
		if (!reserve(buffer, (size_t) len))
			return false;
		va_start(args, format);
		len = vsnprintf(buffer->data + buffer->len, (size_t) len + 1, format, args);
		va_end(args);
	}
	if (len < 0)
	{
		buffer->data[buffer->len] = '\0';
		buffer->is_broken = true;
		return false;
	}
	buffer->len += (size_t) len;
	return true;
}

void
nexus_buffer_reset(NexusBuffer *buffer)
{
	buffer->len = 0;
	buffer->is_broken = false;
	if (buffer->data != NULL)
		buffer->data[0] = '\0';
}

void
nexus_buffer_free(NexusBuffer *buffer)
{
	free(buffer->data);
	nexus_buffer_init(buffer, buffer->max);
}
