/*
 * buffer.h
 *	  A growable byte buffer with a hard cap that never throws.
 *
 * An append that would pass the cap, or for which there is no memory, leaves
 * the content as it was and marks the buffer as broken for good, so that a
 * caller may append many times and ask once.  Memory comes from malloc, since
 * libraries that call back into us outlive memory contexts.
 */
#ifndef NEXUS_PROTOCOL_BUFFER_H
#define NEXUS_PROTOCOL_BUFFER_H

#include "protocol/text.h"

typedef struct NexusBuffer
{
	char	   *data;			/* NUL-terminated once anything was appended */
	size_t		len;
	size_t		capacity;
	size_t		max;			/* most bytes it may hold */
	bool		is_broken;		/* an append failed: content is incomplete */
} NexusBuffer;

extern void nexus_buffer_init(NexusBuffer *buffer, size_t max);
extern bool nexus_buffer_append(NexusBuffer *buffer, const void *data, size_t len);
extern bool nexus_buffer_append_text(NexusBuffer *buffer, NexusText text);
extern bool nexus_buffer_append_string(NexusBuffer *buffer, const char *string);
extern bool nexus_buffer_append_format(NexusBuffer *buffer, const char *format,...)
			__attribute__((format(printf, 2, 3)));

/* Make it empty and whole again; the memory is kept. */
extern void nexus_buffer_reset(NexusBuffer *buffer);
extern void nexus_buffer_free(NexusBuffer *buffer);

static inline NexusText
nexus_buffer_view(const NexusBuffer *buffer)
{
	return nexus_text_make(buffer->len > 0 ? buffer->data : "", buffer->len);
}

#endif							/* NEXUS_PROTOCOL_BUFFER_H */
