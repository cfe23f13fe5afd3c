/*
 * text.h
 *	  A view of bytes: pointer and length, never NUL-terminated, never owned.
 */
#ifndef NEXUS_PROTOCOL_TEXT_H
#define NEXUS_PROTOCOL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct NexusText
{
	const char *data;
	size_t		len;
} NexusText;

static inline NexusText
nexus_text_make(const char *data, size_t len)
{
	NexusText	text = {data, len};

	return text;
}

static inline NexusText
nexus_text_of(const char *string)
{
	return nexus_text_make(string, strlen(string));
}

static inline bool
nexus_text_equal(NexusText a, NexusText b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* The same, ignoring the case of ASCII letters. */
extern bool nexus_text_equal_fold(NexusText a, NexusText b);

/* Whether "text" begins with "prefix", ignoring the case of ASCII letters. */
extern bool nexus_text_starts_fold(NexusText text, NexusText prefix);

/* Without the spaces and tabs at both ends. */
extern NexusText nexus_text_trim(NexusText text);

/*
 * Cut at the first "separator": what stands before it is returned, "rest" is
 * what stands after it.  Without a separator the whole text is returned and
 * rest->data is NULL.
 */
extern NexusText nexus_text_cut(NexusText text, char separator, NexusText *rest);

/* A decimal number without sign or blanks; false when it is none or too big. */
extern bool nexus_text_to_int64(NexusText text, int64_t *value);

/*
 * Bytes of the UTF-8 character at the start of a text that is not empty; 0
 * where there is none (cut off, overlong, a surrogate, beyond U+10FFFF).
 */
extern size_t nexus_text_utf8_length(NexusText text);

#endif							/* NEXUS_PROTOCOL_TEXT_H */
