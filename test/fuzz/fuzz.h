/*
 * fuzz.h
 *	  What the fuzz targets share: properties, and inputs of several parts.
 *
 * A target that needs several values takes them from lines, so that seeds and
 * findings can be read.
 */
#ifndef NEXUS_FUZZ_H
#define NEXUS_FUZZ_H

#include <jansson.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/error.h"
#include "protocol/headers.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that must hold for every input. */
#define REQUIRE(condition) require((condition), __FILE__, __LINE__, #condition)

static inline void
require(bool holds, const char *file, int line, const char *condition)
{
	if (holds)
		return;
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
	abort();
}

/* False comes with a reason, which is one C string, and true without. */
static inline void
require_outcome(bool done, const NexusError *error)
{
	REQUIRE(done != error->is_set);
	if (done)
		return;
	REQUIRE(error->message[0] != '\0');
	REQUIRE(memchr(error->message, '\0', sizeof(error->message)) != NULL);
}

static inline NexusText
input_text(const uint8_t *data, size_t size)
{
	return nexus_text_make((const char *) data, size);
}

/* The next line, without its LF; empty once there are no more. */
static inline NexusText
take_line(NexusText *rest)
{
	NexusText	line = nexus_text_cut(*rest, '\n', rest);

	if (rest->data == NULL)
		*rest = nexus_text_make("", 0);
	return line;
}

/* Header lines up to an empty one, as curl hands them over; the others are left out. */
static inline void
take_headers(NexusText *rest, NexusHeaders *headers)
{
	NexusText	line;

	while ((line = take_line(rest)).len > 0)
		nexus_headers_add_line(headers, line);
}

/* Whether a view lies within another one. */
static inline bool
is_within(NexusText part, NexusText whole)
{
	return part.len == 0 || (part.data >= whole.data && part.data + part.len <= whole.data + whole.len);
}

static inline bool
is_ascii(NexusText text)
{
	for (size_t i = 0; i < text.len; i++)
	{
		if ((unsigned char) text.data[i] >= 0x80)
			return false;
	}
	return true;
}

/* A copy that is a C string; free() it. */
static inline char *
copy_string(NexusText text)
{
	char	   *copy = malloc(text.len + 1);

	if (text.len > 0)
		memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	return copy;
}

/* Whether a text is of an extended regular expression, which is compiled once. */
static inline bool
is_of_grammar(NexusText text, regex_t * compiled, const char *grammar)
{
	char	   *string = copy_string(text);
	bool		matches;

	if (compiled->re_nsub == 0)
		REQUIRE(regcomp(compiled, grammar, REG_EXTENDED) == 0 && compiled->re_nsub > 0);
	matches = strlen(string) == text.len && regexec(compiled, string, 0, NULL, 0) == 0;
	free(string);
	return matches;
}

/*
 * Parse a document; NULL where it is none.  Numbers are read as reals, since
 * jansson would refuse an integer beyond 64 bits.
 */
static inline json_t *
load_json(NexusText text)
{
	return json_loadb(text.len > 0 ? text.data : "", text.len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
}

/* What is kept of a peer's words must be a document that can be stored as it is. */
static inline json_t *
require_json(const NexusBuffer *buffer)
{
	json_t	   *json;

	REQUIRE(!buffer->is_broken);
	REQUIRE(is_ascii(nexus_buffer_view(buffer)));
	json = load_json(nexus_buffer_view(buffer));
	REQUIRE(json != NULL);
	return json;
}

#endif							/* NEXUS_FUZZ_H */
