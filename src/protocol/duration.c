/*
 * duration.c
 *	  Nexus timeout values.
 *
 * In whole numbers throughout: a binary fraction would turn "1.001s" into 1000
 * ms.
 */
#include "protocol/duration.h"

#include <inttypes.h>
#include <stdio.h>

#define MS_PER_SECOND 1000
#define MS_PER_MINUTE 60000

/* Cut the digits off the start; false where there are none. */
static bool
take_digits(NexusText *text, NexusText *digits)
{
	size_t		len = 0;

	while (len < text->len && text->data[len] >= '0' && text->data[len] <= '9')
		len++;
	*digits = nexus_text_make(text->data, len);
	text->data += len;
	text->len -= len;
	return len > 0;
}

/* Milliseconds of a unit; 0 for an unknown one. */
static int64_t
unit_ms(NexusText unit)
{
	if (nexus_text_equal(unit, nexus_text_of("ms")))
		return 1;
	if (nexus_text_equal(unit, nexus_text_of("s")))
		return MS_PER_SECOND;
	if (nexus_text_equal(unit, nexus_text_of("m")))
		return MS_PER_MINUTE;
	return 0;
}

/*
 * The milliseconds in 0.{digits} of a unit.  From the last digit on, since then
 * what is cut off at each step never matters, however many digits there are.
 */
static int64_t
fraction_ms(NexusText digits, int64_t unit)
{
	int64_t		ms = 0;

	for (size_t i = digits.len; i > 0; i--)
		ms = ((digits.data[i - 1] - '0') * unit + ms) / 10;
	return ms;
}

bool
nexus_duration_parse(NexusText text, int64_t *ms)
{
	NexusText	digits;
	NexusText	fraction = {"", 0};
	int64_t		whole;
	int64_t		unit;
	int64_t		rest;

	if (text.len == 0 || !take_digits(&text, &digits) || !nexus_text_to_int64(digits, &whole))
		return false;
	if (text.len > 0 && text.data[0] == '.')
	{
		text.data++;
		text.len--;
		if (!take_digits(&text, &fraction))
			return false;
	}
	unit = unit_ms(text);
	if (unit == 0)
		return false;
	rest = fraction_ms(fraction, unit);
	if (whole > (INT64_MAX - rest) / unit)
		return false;
	*ms = whole * unit + rest;
	return true;
}

void
nexus_duration_format(int64_t ms, char *out)
{
	snprintf(out, NEXUS_DURATION_MAX_LEN, "%" PRId64 "ms", ms > 0 ? ms : 0);
}
