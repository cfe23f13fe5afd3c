/*
 * headers.c
 *	  An ordered list of HTTP headers in one buffer.
 *
 * Spans are offsets, not pointers, since the buffer moves when it grows.  The
 * value of the last header always stands at the end of the buffer, which is
 * what lets a folded line be added to it.
 */
#include "protocol/headers.h"

#include <stdlib.h>

#define FIRST_SPANS 16

struct NexusHeaderSpan
{
	size_t		name;
	size_t		name_len;
	size_t		value;
	size_t		value_len;
};

void
nexus_headers_init(NexusHeaders *headers, size_t max_bytes)
{
	memset(headers, 0, sizeof(*headers));
	nexus_buffer_init(&headers->bytes, max_bytes);
}

void
nexus_headers_reset(NexusHeaders *headers)
{
	nexus_buffer_reset(&headers->bytes);
	headers->count = 0;
}

void
nexus_headers_free(NexusHeaders *headers)
{
	nexus_buffer_free(&headers->bytes);
	free(headers->spans);
	headers->spans = NULL;
	headers->count = 0;
	headers->capacity = 0;
}

static bool
reserve_span(NexusHeaders *headers)
{
	size_t		capacity;
	struct NexusHeaderSpan *spans;

	if (headers->count < headers->capacity)
		return true;
	capacity = headers->capacity > 0 ? headers->capacity * 2 : FIRST_SPANS;
	if (capacity > SIZE_MAX / sizeof(*spans))
		return false;
	spans = realloc(headers->spans, capacity * sizeof(*spans));
	if (spans == NULL)
		return false;
	headers->spans = spans;
	headers->capacity = capacity;
	return true;
}

/* Append two texts or, where they do not fit, nothing. */
static bool
append_both(NexusBuffer *bytes, NexusText first, NexusText second)
{
	size_t		len = bytes->len;

	/* asked beforehand, since a buffer that refused once is broken for good */
	if (first.len > bytes->max - len || second.len > bytes->max - len - first.len)
		return false;
	if (nexus_buffer_append_text(bytes, first) && nexus_buffer_append_text(bytes, second))
		return true;
	bytes->len = len;
	bytes->is_broken = false;
	return false;
}

bool
nexus_headers_add(NexusHeaders *headers, NexusText name, NexusText value)
{
	struct NexusHeaderSpan *span;

	/* without a name it would take no bytes, and the list had no bound */
	if (name.len == 0 || !reserve_span(headers) ||
		!append_both(&headers->bytes, name, value))
		return false;
	span = &headers->spans[headers->count++];
	span->value = headers->bytes.len - value.len;
	span->value_len = value.len;
	span->name = span->value - name.len;
	span->name_len = name.len;
	return true;
}

bool
nexus_headers_add_string(NexusHeaders *headers, const char *name, const char *value)
{
	return nexus_headers_add(headers, nexus_text_of(name), nexus_text_of(value));
}

/* A line that begins with a blank goes on with the value before it. */
static bool
add_folded(NexusHeaders *headers, NexusText line)
{
	NexusText	more = nexus_text_trim(line);

	if (headers->count == 0)
		return false;
	if (!append_both(&headers->bytes, nexus_text_make(" ", 1), more))
		return false;
	headers->spans[headers->count - 1].value_len += 1 + more.len;
	return true;
}

/* tchar of RFC 9110, section 5.6.2 */
static bool
is_token_char(unsigned char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
		return true;
	return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool
is_token(NexusText text)
{
	for (size_t i = 0; i < text.len; i++)
	{
		if (!is_token_char((unsigned char) text.data[i]))
			return false;
	}
	return text.len > 0;
}

bool
nexus_headers_add_line(NexusHeaders *headers, NexusText line)
{
	NexusText	name;
	NexusText	value;

	if (line.len > 0 && line.data[line.len - 1] == '\n')
		line.len--;
	if (line.len > 0 && line.data[line.len - 1] == '\r')
		line.len--;
	if (line.len > 0 && (line.data[0] == ' ' || line.data[0] == '\t'))
		return add_folded(headers, line);
	name = nexus_text_cut(line, ':', &value);
	if (value.data == NULL || !is_token(name))
		return false;
	return nexus_headers_add(headers, name, nexus_text_trim(value));
}

void
nexus_headers_at(const NexusHeaders *headers, size_t i, NexusText *name, NexusText *value)
{
	const struct NexusHeaderSpan *span = &headers->spans[i];

	*name = nexus_text_make(headers->bytes.data + span->name, span->name_len);
	*value = nexus_text_make(headers->bytes.data + span->value, span->value_len);
}

bool
nexus_headers_next(const NexusHeaders *headers, const char *name, size_t *position, NexusText *value)
{
	NexusText	wanted = nexus_text_of(name);

	while (*position < headers->count)
	{
		NexusText	found;

		nexus_headers_at(headers, (*position)++, &found, value);
		if (nexus_text_equal_fold(found, wanted))
			return true;
	}
	*value = nexus_text_make("", 0);
	return false;
}

bool
nexus_headers_get(const NexusHeaders *headers, const char *name, NexusText *value)
{
	size_t		position = 0;

	return nexus_headers_next(headers, name, &position, value);
}

bool
nexus_headers_check(NexusText name, NexusText value, NexusError *error)
{
	if (name.len == 0)
		return nexus_error_set(error, "header name must not be empty");
	if (!is_token(name))
		return nexus_error_set(error, "header name contains a character that is not allowed");
	for (size_t i = 0; i < value.len; i++)
	{
		unsigned char c = (unsigned char) value.data[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return nexus_error_set(error, "value of header \"%.*s\" contains a control character",
								   (int) (name.len < NEXUS_ERROR_MAX ? name.len : NEXUS_ERROR_MAX),
								   name.data);
	}
	return true;
}

bool
nexus_headers_is_allowed_for_caller(NexusText name)
{
	static const char *const prefixes[] = {"content-", "nexus-"};
	static const char *const names[] = {
		/* what we or the transport say about the message and the connection */
		"host", "authorization", "expect", "request-timeout", "temporal-nexus-failure-support",
		/* hop-by-hop */
		"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
		"te", "trailer", "transfer-encoding", "upgrade",
		/* Temporal's internal ones */
		"xdc-redirection", "xdc-redirection-api", "xdc-redirection-source-cell", "caller-name",
		"caller-type", "call-initiation", "temporal-principal-type", "temporal-principal-name"
	};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
	{
		if (nexus_text_starts_fold(name, nexus_text_of(prefixes[i])))
			return false;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		if (nexus_text_equal_fold(name, nexus_text_of(names[i])))
			return false;
	}
	return true;
}
