/*
 * json_text.h
 *	  JSON as text: write strings, look over a document without parsing it.
 */
#ifndef NEXUS_PROTOCOL_JSON_TEXT_H
#define NEXUS_PROTOCOL_JSON_TEXT_H

#include "protocol/buffer.h"

/*
 * Append a JSON string with its quotes, in ASCII.  NUL and bytes that are not
 * UTF-8 become U+FFFD, so that the result can always be stored.
 */
extern bool nexus_json_append_string(NexusBuffer *out, NexusText text);

/* Append a document as it is, but what is not ASCII as \uXXXX. */
extern bool nexus_json_append_ascii(NexusBuffer *out, NexusText json);

/*
 * Whether a document is valid UTF-8, nested no deeper than "max_depth", without
 * \u0000 and without numbers out of numeric's range.  The grammar is not
 * checked.
 */
extern bool nexus_json_is_storable(NexusText json, int max_depth);

/*
 * Replace, in place, each escape of NUL and each half of a surrogate pair by
 * that of U+FFFD: valid JSON, but no text that PostgreSQL can hold.
 */
extern void nexus_json_make_storable(char *json, size_t len);

#endif							/* NEXUS_PROTOCOL_JSON_TEXT_H */
