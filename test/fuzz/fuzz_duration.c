/*
 * fuzz_duration.c
 *	  Timeouts, against the grammar as a regular expression and 128 bits.
 */
#include "fuzz.h"

#include "protocol/duration.h"

#define MAX_FRACTION_DIGITS 33	/* times a minute's milliseconds they fit 128
								 * bits */

typedef unsigned __int128 Wide;

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * Whole milliseconds of a text of the grammar; -1 beyond 64 bits.  *is_exact
 * is false where so many digits stand behind the point that it may be one more.
 */
static int64_t
expected_ms(NexusText text, bool *is_exact)
{
	Wide		unit = text.data[text.len - 1] == 'm' ? 60000 : text.data[text.len - 2] == 'm' ? 1 : 1000;
	Wide		ms = 0;
	Wide		fraction = 0;
	Wide		scale = 1;
	size_t		i = 0;
	size_t		digits = 0;

	for (; is_digit(text.data[i]); i++)
	{
		ms = ms * 10 + (Wide) (text.data[i] - '0');
		if (ms > INT64_MAX)
			return -1;
	}
	for (i++; i < text.len && is_digit(text.data[i]); i++)
	{
		if (++digits > MAX_FRACTION_DIGITS)
			continue;
		fraction = fraction * 10 + (Wide) (text.data[i] - '0');
		scale *= 10;
	}
	*is_exact = digits <= MAX_FRACTION_DIGITS;
	ms = ms * unit + fraction * unit / scale;
	return ms > INT64_MAX ? -1 : (int64_t) ms;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static regex_t grammar;
	NexusText	text = input_text(data, size);
	bool		is_duration = is_of_grammar(text, &grammar, "^[0-9]+(\\.[0-9]+)?(ms|s|m)$");
	char		formatted[NEXUS_DURATION_MAX_LEN];
	bool		is_exact = true;
	int64_t		expected = is_duration ? expected_ms(text, &is_exact) : -1;
	int64_t		ms = -1;
	int64_t		again;

	if (nexus_duration_parse(text, &ms))
		REQUIRE(ms == expected || (!is_exact && ms == expected + 1));
	else
		REQUIRE(expected < 0 || (!is_exact && expected == INT64_MAX));
	if (ms < 0)
		return 0;
	nexus_duration_format(ms, formatted);
	REQUIRE(strlen(formatted) < sizeof(formatted));
	REQUIRE(nexus_duration_parse(nexus_text_of(formatted), &again) && again == ms);
	return 0;
}
