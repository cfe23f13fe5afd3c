/*
 * fuzz_text.c
 *	  Decimal numbers, cutting, trimming and folding.
 */
#include "fuzz.h"

#include <errno.h>

static void
check_number(NexusText text)
{
	char	   *string = copy_string(text);
	int64_t		value = -1;
	bool		done = nexus_text_to_int64(text, &value);
	bool		is_digits = text.len > 0 && strspn(string, "0123456789") == text.len;
	long long	expected;

	errno = 0;
	expected = strtoll(string, NULL, 10);
	REQUIRE(done == (is_digits && errno == 0));
	REQUIRE(value == (done ? expected : -1));
	free(string);
}

static void
check_cut(NexusText text)
{
	NexusText	rest;
	NexusText	first = nexus_text_cut(text, ',', &rest);

	REQUIRE(first.len == 0 || memchr(first.data, ',', first.len) == NULL);
	REQUIRE(first.data == text.data);
	if (rest.data == NULL)
		REQUIRE(first.len == text.len);
	else
	{
		REQUIRE(first.len + 1 + rest.len == text.len);
		REQUIRE(rest.data == text.data + first.len + 1 && rest.data[-1] == ',');
	}
}

static void
check_trim(NexusText text)
{
	NexusText	trimmed = nexus_text_trim(text);

	REQUIRE(is_within(trimmed, text));
	REQUIRE(nexus_text_equal(trimmed, nexus_text_trim(trimmed)));
	if (trimmed.len > 0)
	{
		REQUIRE(strchr(" \t", trimmed.data[0]) == NULL || trimmed.data[0] == '\0');
		REQUIRE(strchr(" \t", trimmed.data[trimmed.len - 1]) == NULL || trimmed.data[trimmed.len - 1] == '\0');
	}
}

static void
check_fold(NexusText text)
{
	char	   *upper = copy_string(text);
	NexusText	copy = nexus_text_make(upper, text.len);

	for (size_t i = 0; i < text.len; i++)
	{
		if (upper[i] >= 'a' && upper[i] <= 'z')
			upper[i] = (char) (upper[i] - 'a' + 'A');
	}
	REQUIRE(nexus_text_equal_fold(text, copy));
	for (size_t len = 0; len <= text.len; len += 1 + text.len / 8)
		REQUIRE(nexus_text_starts_fold(text, nexus_text_make(upper, len)));
	if (text.len > 0)
	{
		upper[text.len - 1] = upper[text.len - 1] == '#' ? '!' : '#';
		REQUIRE(!nexus_text_equal_fold(text, copy));
	}
	free(upper);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	NexusText	text = input_text(data, size);

	check_number(text);
	check_cut(text);
	check_trim(text);
	check_fold(text);
	return 0;
}
