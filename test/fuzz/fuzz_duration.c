/*
 * fuzz_duration.c
 *	  Timeouts, against the grammar as a regular expression and 128 bits.
 */
#include "fuzz.h"

#include "protocol/duration.h"

/* Whole milliseconds of a text of the grammar; -1 beyond 64 bits. */
static int64_t
expected_ms(NexusText text)
{
	unsigned	__int128 unit = text.data[text.len - 1] == 'm' ? 60000 : text.data[text.len - 2] == 'm' ? 1 : 1000;
	unsigned	__int128 ms = 0;
	unsigned	__int128 fraction = 0;
	unsigned	__int128 scale = 1;
	size_t		i = 0;

	for (; text.data[i] >= '0' && text.data[i] <= '9'; i++)
	{
		ms = ms * 10 + (unsigned) (text.data[i] - '0');
		if (ms > INT64_MAX)
			return -1;
	}
	/* more digits are less than a millisecond of any unit */
	if (text.data[i] == '.')
		for (i++; text.data[i] >= '0' && text.data[i] <= '9'; i++)
		{
			if (scale > UINT64_MAX)
				continue;
			fraction = fraction * 10 + (unsigned) (text.data[i] - '0');
			scale *= 10;
		}
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
	int64_t		expected = is_duration ? expected_ms(text) : -1;
	int64_t		ms = -1;
	int64_t		again;

	REQUIRE(nexus_duration_parse(text, &ms) == (expected >= 0));
	REQUIRE(ms == expected);
	if (ms < 0)
		return 0;
	nexus_duration_format(ms, formatted);
	REQUIRE(strlen(formatted) < sizeof(formatted));
	REQUIRE(nexus_duration_parse(nexus_text_of(formatted), &again) && again == ms);
	return 0;
}
