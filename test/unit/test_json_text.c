/*
 * test_json_text.c
 *	  Strings of JSON, and the one-pass look at a document.
 */
#include "protocol/json_text.h"
#include "protocol/payload.h"
#include "tap.h"

#define DIGITS_BEFORE 131072
#define DIGITS_AFTER 16383

typedef struct SafeRow
{
	const char *json;
	bool		is_safe;
} SafeRow;

static const SafeRow documents[] = {
	{"{\"a\":[1,2.5,-3e10,true,null,\"x\\n\\u0001\\\\u0000\"]}", true},
	{"\"\xc3\xa9\xf0\x9f\x98\x80 and more text behind it\"", true},
	{"666", true},
	{"", true},
	{"\"\\u0000\"", false},
	{"{\"\\u0000\":1}", false},
	{"\"long enough for whole words \\u0000\"", false},
	{"\"\\\\\\u0000\"", false},
	{"\"\xff\"", false},
	{"\"0123456\xed\xa0\x80\"", false},
	{"\"0123456789abcdef\xc3\"", false},
	{"\"\\\xff\"", false},
	{"\"\\", false},
	{"\xc3\xa9", false},
	{"1e131071", true},
	{"1e131072", false},
	{"0.1e131072", false},
	{"1e-16383", true},
	{"1e-16384", false},
	{"1.5e-16383", false},
	{"-1E+99999999999999999999", false},
	{"[1e-99999999999999999999]", false},
	{"\"1e999999\"", true}
};

typedef struct StringRow
{
	const char *name;
	const char *text;
	size_t		len;
	const char *json;
} StringRow;

static const StringRow strings[] = {
	{"plain", "abc", 3, "\"abc\""},
	{"empty", "", 0, "\"\""},
	{"quote, backslash, line break", "\"\\\n", 3, "\"\\\"\\\\\\n\""},
	{"control characters", "\x01\x7f\t", 3, "\"\\u0001\\u007f\\u0009\""},
	{"NUL", "a\0b", 3, "\"a\\ufffdb\""},
	{"UTF-8", "\xc3\xa9\xe2\x82\xac", 5, "\"\\u00e9\\u20ac\""},
	{"beyond 16 bits", "\xf0\x9f\x98\x80", 4, "\"\\ud83d\\ude00\""},
	{"not UTF-8", "a\xff\xc3", 3, "\"a\\ufffd\\ufffd\""}
};

/* Whether a document of a repeated prefix and suffix is safe. */
static bool
is_repeated_safe(char c, int count)
{
	char	   *document = malloc((size_t) count);
	bool		is_safe;

	memset(document, c, (size_t) count);
	is_safe = nexus_payload_json_is_safe(nexus_text_make(document, (size_t) count));
	free(document);
	return is_safe;
}

static bool
is_fraction_safe(int digits)
{
	char	   *document = malloc((size_t) digits + 2);
	bool		is_safe;

	memset(document, '1', (size_t) digits + 2);
	document[1] = '.';
	is_safe = nexus_payload_json_is_safe(nexus_text_make(document, (size_t) digits + 2));
	free(document);
	return is_safe;
}

static void
test_safe(void)
{
	for (size_t i = 0; i < LENGTH_OF(documents); i++)
	{
		NexusText	json = exact_copy(documents[i].json, strlen(documents[i].json));

		ok(nexus_payload_json_is_safe(json) == documents[i].is_safe, documents[i].json);
		free((char *) json.data);
	}
	ok(is_repeated_safe('[', NEXUS_PAYLOAD_MAX_JSON_DEPTH), "as deep as allowed");
	ok(!is_repeated_safe('{', NEXUS_PAYLOAD_MAX_JSON_DEPTH + 1), "deeper");
	ok(is_repeated_safe('7', DIGITS_BEFORE), "as long a number as allowed");
	ok(!is_repeated_safe('7', DIGITS_BEFORE + 1), "longer");
	ok(is_fraction_safe(DIGITS_AFTER), "as long a fraction as allowed");
	ok(!is_fraction_safe(DIGITS_AFTER + 1), "longer");
	ok(nexus_payload_json_is_safe(nexus_text_of("[[],[],[],{}]")), "brackets close");
}

static void
test_make_storable(void)
{
	static const char *const documents_made[][3] = {
		{"NUL", "\"a\\u0000\"", "\"a\\ufffd\""},
		{"a pair", "\"\\uD83D\\uDE00\"", "\"\\uD83D\\uDE00\""},
		{"the first half", "\"\\ud83d x\"", "\"\\ufffd x\""},
		{"the second half", "\"\\udE00\"", "\"\\ufffd\""},
		{"halves in the wrong order", "\"\\ude00\\ud83d\"", "\"\\ufffd\\ufffd\""},
		{"a backslash before it", "\"\\\\u0000\"", "\"\\\\u0000\""},
		{"cut off", "\"\\u000", "\"\\u000"},
		{"a backslash at the end", "\"\\", "\"\\"},
	};

	for (size_t i = 0; i < LENGTH_OF(documents_made); i++)
	{
		size_t		len = strlen(documents_made[i][1]);
		NexusText	json = exact_copy(documents_made[i][1], len);

		nexus_json_make_storable((char *) json.data, len);
		is_text(json, documents_made[i][2], documents_made[i][0]);
		free((char *) json.data);
	}
}

int
main(void)
{
	NexusBuffer out;

	test_safe();
	test_make_storable();
	nexus_buffer_init(&out, 1000);
	for (size_t i = 0; i < LENGTH_OF(strings); i++)
	{
		NexusText	text = exact_copy(strings[i].text, strings[i].len);

		nexus_buffer_reset(&out);
		nexus_json_append_string(&out, text);
		is_text(nexus_buffer_view(&out), strings[i].json, strings[i].name);
		free((char *) text.data);
	}
	nexus_buffer_reset(&out);
	nexus_json_append_ascii(&out, nexus_text_of("{\"\xc3\xa9\": \"\\n\xf0\x9f\x98\x80\"}"));
	is_text(nexus_buffer_view(&out), "{\"\\u00e9\": \"\\n\\ud83d\\ude00\"}", "a document in ASCII");
	nexus_buffer_free(&out);
	return done();
}
