/*
 * fuzz_timestamp.c
 *	  Both time formats, against the C library's calendar.
 */
#include "fuzz.h"

#include <time.h>

#include "protocol/timestamp.h"

#define US_PER_SECOND 1000000
#define SECONDS_PER_DAY 86400
#define FIRST_SECOND (-INT64_C(62135596800))	/* of the year 1 */
#define LAST_SECOND INT64_C(253402300799)	/* of the year 9999 */

static int64_t
floor_seconds(int64_t unix_us)
{
	return unix_us / US_PER_SECOND - (unix_us % US_PER_SECOND < 0 ? 1 : 0);
}

/* A time that was parsed is written so that it is parsed as the same. */
static void
check_rfc3339(int64_t unix_us)
{
	int64_t		seconds = floor_seconds(unix_us);
	int32_t		nanoseconds = (int32_t) (unix_us - seconds * US_PER_SECOND) * 1000;
	char		text[NEXUS_TIMESTAMP_MAX_LEN];
	int64_t		again;

	nexus_timestamp_format_rfc3339(seconds, nanoseconds, text);
	REQUIRE(strlen(text) < sizeof(text));
	REQUIRE(nexus_timestamp_parse_rfc3339(nexus_text_of(text), &again));
	if (seconds >= FIRST_SECOND && seconds <= LAST_SECOND)
		REQUIRE(again == unix_us);
}

/* What the C library makes of a time means that time to us. */
static void
check_calendar(int64_t seconds)
{
	static const char *const formats[] = {
		"%a, %d %b %Y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y", "%Y-%m-%dT%H:%M:%SZ", "%A, %d-%b-%y %H:%M:%S GMT"
	};
	time_t		time = (time_t) seconds;
	struct tm	civil;

	if (seconds < FIRST_SECOND || seconds > LAST_SECOND || gmtime_r(&time, &civil) == NULL)
		return;
	/* years of less than four digits are not padded by the C library */
	if (civil.tm_year + 1900 < 1000)
		return;
	for (int i = 0; i < 4; i++)
	{
		char		text[64];
		int64_t		found = 0;

		/* two digits of a year mean 1969 to 2068 */
		if (i == 3 && (civil.tm_year < 69 || civil.tm_year > 168))
			continue;
		strftime(text, sizeof(text), formats[i], &civil);
		if (i == 2)
			REQUIRE(nexus_timestamp_parse_rfc3339(nexus_text_of(text), &found));
		else
			REQUIRE(nexus_timestamp_parse_http(nexus_text_of(text), &found));
		REQUIRE(found == seconds * US_PER_SECOND);
	}
}

static void
check_any_number(const uint8_t *data, size_t size)
{
	int64_t		seconds;
	uint32_t	nanoseconds;
	char		text[NEXUS_TIMESTAMP_MAX_LEN];
	int64_t		unix_us;

	if (size < sizeof(seconds) + sizeof(nanoseconds))
		return;
	memcpy(&seconds, data, sizeof(seconds));
	memcpy(&nanoseconds, data + sizeof(seconds), sizeof(nanoseconds));
	nexus_timestamp_format_rfc3339(seconds, (int32_t) (nanoseconds % 1000000000), text);
	REQUIRE(strlen(text) < sizeof(text));
	REQUIRE(nexus_timestamp_parse_rfc3339(nexus_text_of(text), &unix_us));
	check_calendar(seconds % (LAST_SECOND + 1));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	NexusText	text = input_text(data, size);
	int64_t		unix_us;

	if (nexus_timestamp_parse_http(text, &unix_us))
	{
		REQUIRE(unix_us % US_PER_SECOND == 0);
		REQUIRE(unix_us / US_PER_SECOND >= FIRST_SECOND && unix_us / US_PER_SECOND <= LAST_SECOND);
		check_rfc3339(unix_us);
		check_calendar(unix_us / US_PER_SECOND);
	}
	if (nexus_timestamp_parse_rfc3339(text, &unix_us))
	{
		/* an offset may lead a day beyond either end */
		REQUIRE(floor_seconds(unix_us) > FIRST_SECOND - SECONDS_PER_DAY);
		REQUIRE(floor_seconds(unix_us) < LAST_SECOND + SECONDS_PER_DAY);
		check_rfc3339(unix_us);
		check_calendar(floor_seconds(unix_us));
	}
	check_any_number(data, size);
	return 0;
}
