/*
 * fuzz_json_text.c
 *	  JSON as text, against jansson's parser.
 */
#include "fuzz.h"

#include "protocol/json_text.h"
#include "protocol/payload.h"

#define MAX_DEPTH 20
#define LONG_NUMBER 16000		/* digits; beyond, numeric's limits may refuse
								 * it */

/* Every text becomes a string; what is UTF-8 without NUL keeps its characters. */
static void
check_string(NexusText text)
{
	NexusBuffer out;
	json_t	   *json;

	nexus_buffer_init(&out, SIZE_MAX);
	REQUIRE(nexus_json_append_string(&out, text));
	json = require_json(&out);
	REQUIRE(json_is_string(json));
	if (nexus_payload_is_utf8(text) && (text.len == 0 || memchr(text.data, '\0', text.len) == NULL))
		REQUIRE(nexus_text_equal(nexus_text_make(json_string_value(json), json_string_length(json)), text));
	REQUIRE(nexus_json_is_storable(nexus_buffer_view(&out), 0));
	json_decref(json);
	nexus_buffer_free(&out);
}

/* A document in ASCII is the same document. */
static void
check_ascii(NexusText text)
{
	json_t	   *json = load_json(text);
	json_t	   *again;
	NexusBuffer out;

	nexus_buffer_init(&out, SIZE_MAX);
	REQUIRE(nexus_json_append_ascii(&out, text));
	REQUIRE(is_ascii(nexus_buffer_view(&out)));
	if (json != NULL)
	{
		again = load_json(nexus_buffer_view(&out));
		REQUIRE(json_equal(json, again));
		json_decref(again);
	}
	json_decref(json);
	nexus_buffer_free(&out);
}

static int
depth_of(NexusText text)
{
	bool		in_string = false;
	int			depth = 0;
	int			deepest = 0;

	for (size_t i = 0; i < text.len; i++)
	{
		char		c = text.data[i];

		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '[' || c == '{'))
			deepest = ++depth > deepest ? depth : deepest;
		else if (!in_string && (c == ']' || c == '}'))
			depth--;
	}
	return deepest;
}

static bool
is_json_with_nul(NexusText text)
{
	json_t	   *json = json_loadb(text.len > 0 ? text.data : "", text.len,
								  JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
	bool		is_json = json != NULL;

	json_decref(json);
	return is_json;
}

/* A sound document is refused for its depth or its numbers only. */
static void
check_storable(NexusText text)
{
	json_t	   *json = load_json(text);
	bool		is_storable = nexus_json_is_storable(text, MAX_DEPTH);

	if (is_storable)
	{
		REQUIRE(nexus_json_is_storable(text, MAX_DEPTH + 1));
		REQUIRE(nexus_payload_json_is_safe(text));
		REQUIRE(json == NULL || depth_of(text) <= MAX_DEPTH);
		REQUIRE(nexus_payload_is_utf8(text));
		/* what jansson reads with escapes of NUL only has some */
		REQUIRE(json != NULL || !is_json_with_nul(text));
	}
	else if (json != NULL && text.len < LONG_NUMBER)
		REQUIRE(depth_of(text) > MAX_DEPTH || memchr(text.data, 'e', text.len) != NULL ||
				memchr(text.data, 'E', text.len) != NULL);
	json_decref(json);
}

/* Escapes that cannot be stored go, all else stays where it was. */
static void
check_make_storable(NexusText text)
{
	char	   *copy = copy_string(text);
	char	   *again;
	NexusText	made = nexus_text_make(copy, text.len);
	json_t	   *json = load_json(text);

	nexus_json_make_storable(copy, text.len);
	again = copy_string(made);
	nexus_json_make_storable(again, text.len);
	REQUIRE(memcmp(copy, again, text.len + 1) == 0);
	for (size_t i = 0; i < text.len; i++)
		REQUIRE(copy[i] == text.data[i] || strchr("ufd", copy[i]) != NULL);
	if (json != NULL)
	{
		/* jansson refuses such escapes itself, so nothing was to be done */
		REQUIRE(nexus_text_equal(made, text));
	}
	json_decref(json);
	free(again);
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	NexusText	text = input_text(data, size);

	check_string(text);
	check_ascii(text);
	check_storable(text);
	check_make_storable(text);
	return 0;
}
