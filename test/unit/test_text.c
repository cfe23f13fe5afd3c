/*
 * test_text.c
 *	  Views of bytes, and errors as values.
 */
#include "protocol/error.h"
#include "protocol/text.h"
#include "tap.h"

typedef struct NumberRow
{
	const char *text;
	bool		is_valid;
	int64_t		value;
} NumberRow;

static const NumberRow numbers[] = {
	{"0", true, 0},
	{"007", true, 7},
	{"9223372036854775807", true, INT64_MAX},
	{"9223372036854775808", false, 0},
	{"99999999999999999999", false, 0},
	{"", false, 0},
	{"-1", false, 0},
	{"+1", false, 0},
	{" 1", false, 0},
	{"1x", false, 0}
};

typedef struct Utf8Row
{
	const char *name;
	const char *bytes;
	size_t		length;
} Utf8Row;

static const Utf8Row characters[] = {
	{"ASCII", "a", 1},
	{"two bytes", "\xc3\xa9", 2},
	{"three bytes", "\xe2\x82\xac", 3},
	{"four bytes", "\xf0\x9f\x98\x80", 4},
	{"the last code point", "\xf4\x8f\xbf\xbf", 4},
	{"beyond the last code point", "\xf4\x90\x80\x80", 0},
	{"overlong slash", "\xc0\xaf", 0},
	{"overlong in three bytes", "\xe0\x9f\xbf", 0},
	{"overlong in four bytes", "\xf0\x8f\xbf\xbf", 0},
	{"surrogate", "\xed\xa0\x80", 0},
	{"last before the surrogates", "\xed\x9f\xbf", 3},
	{"continuation alone", "\x80", 0},
	{"cut off", "\xe2\x82", 0},
	{"broken third byte", "\xe2\x82\x28", 0},
	{"not UTF-8 at all", "\xff", 0}
};

static void
test_views(void)
{
	NexusText	rest;

	ok(nexus_text_equal_fold(nexus_text_of("Content-TYPE"), nexus_text_of("content-type")), "equal whatever the case");
	ok(!nexus_text_equal_fold(nexus_text_of("content-type"), nexus_text_of("content")), "a prefix is not equal");
	ok(nexus_text_starts_fold(nexus_text_of("NEXUS-x"), nexus_text_of("nexus-")), "a prefix whatever the case");
	ok(!nexus_text_starts_fold(nexus_text_of("nex"), nexus_text_of("nexus-")), "a text shorter than the prefix");
	ok(!nexus_text_equal_fold(nexus_text_of("@"), nexus_text_of("`")), "only letters have a case");
	is_text(nexus_text_trim(nexus_text_of(" \t a b \t")), "a b", "blanks at both ends go");
	is_text(nexus_text_trim(nexus_text_of(" \t ")), "", "nothing but blanks");
	is_text(nexus_text_cut(nexus_text_of("a=b=c"), '=', &rest), "a", "before the first separator");
	is_text(rest, "b=c", "behind the first separator");
	is_text(nexus_text_cut(nexus_text_of("a="), '=', &rest), "a", "separator at the end");
	ok(rest.data != NULL && rest.len == 0, "an empty rest is a rest");
	is_text(nexus_text_cut(nexus_text_of("a"), '=', &rest), "a", "no separator");
	ok(rest.data == NULL, "no rest");
}

static void
test_error(void)
{
	NexusError	error = {0};
	char		long_text[1000];

	ok(!nexus_error_set(&error, "first %d", 1), "setting an error returns false");
	nexus_error_set(&error, "second");
	is_text(nexus_text_of(error.message), "first 1", "the first error wins");
	ok(!nexus_error_set(NULL, "nobody listens"), "no error wanted");
	memset(&error, 0, sizeof(error));
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	nexus_error_set(&error, "%s", long_text);
	is_int((int64_t) strlen(error.message), NEXUS_ERROR_MAX - 1, "a long message is cut off");
}

int
main(void)
{
	test_views();
	for (size_t i = 0; i < LENGTH_OF(numbers); i++)
	{
		int64_t		value = 0;

		ok(nexus_text_to_int64(nexus_text_of(numbers[i].text), &value) == numbers[i].is_valid &&
		   value == numbers[i].value, numbers[i].text);
	}
	for (size_t i = 0; i < LENGTH_OF(characters); i++)
	{
		NexusText	text = exact_copy(characters[i].bytes, strlen(characters[i].bytes));

		is_int((int64_t) nexus_text_utf8_length(text), (int64_t) characters[i].length, characters[i].name);
		free((char *) text.data);
	}
	test_error();
	return done();
}
