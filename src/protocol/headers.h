/*
 * headers.h
 *	  An ordered list of HTTP headers, with look-up that ignores case.
 *
 * All bytes live in one buffer; names and values are views that hold until
 * the next append.  Names are kept as they came.
 */
#ifndef NEXUS_PROTOCOL_HEADERS_H
#define NEXUS_PROTOCOL_HEADERS_H

#include "protocol/buffer.h"
#include "protocol/error.h"

typedef struct NexusHeaders
{
	NexusBuffer bytes;
	size_t		count;
	size_t		capacity;
	struct NexusHeaderSpan *spans;
} NexusHeaders;

/* "max_bytes" bounds names and values together. */
extern void nexus_headers_init(NexusHeaders *headers, size_t max_bytes);
extern void nexus_headers_reset(NexusHeaders *headers);
extern void nexus_headers_free(NexusHeaders *headers);

/* Append one header.  False (and unchanged) where it would not fit. */
extern bool nexus_headers_add(NexusHeaders *headers, NexusText name, NexusText value);
extern bool nexus_headers_add_string(NexusHeaders *headers, const char *name, const char *value);

/* Append a raw line "Name: value", with or without its CR LF. */
extern bool nexus_headers_add_line(NexusHeaders *headers, NexusText line);

/* The i-th header, in order of arrival. */
extern void nexus_headers_at(const NexusHeaders *headers, size_t i, NexusText *name, NexusText *value);

/* First value of a name; false where there is none. */
extern bool nexus_headers_get(const NexusHeaders *headers, const char *name, NexusText *value);

/* Next value of a name from *position on (start with 0). */
extern bool nexus_headers_next(const NexusHeaders *headers, const char *name, size_t *position, NexusText *value);

/*
 * Whether a name is an RFC 9110 token and a value has no CR, LF, NUL or other
 * control character but tab; the error says which rule was broken.
 */
extern bool nexus_headers_check(NexusText name, NexusText value, NexusError *error);

/*
 * Whether a caller of an operation may set this header: not Host, lengths,
 * content-*, hop-by-hop, Authorization, Request-Timeout, Nexus-*, nor
 * Temporal's disallowed list.
 */
extern bool nexus_headers_is_allowed_for_caller(NexusText name);

#endif							/* NEXUS_PROTOCOL_HEADERS_H */
