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
#define CLOCK_END 19			/* of 2006-01-02T15:04:05 */
#define OFFSET_LEN 6			/* of +02:00 */

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

/* A time of day that there is not must not become another one. */
static void
check_rfc3339_text(NexusText text, int64_t unix_us)
{
	char		formatted[NEXUS_TIMESTAMP_MAX_LEN];
	char	   *local;
	int64_t		local_us;
	int			minutes = 0;

	if ((text.data[text.len - 1] | 0x20) == 'z')
	{
		nexus_timestamp_format_rfc3339(floor_seconds(unix_us), 0, formatted);
		REQUIRE(nexus_text_equal_fold(nexus_text_make(text.data, CLOCK_END), nexus_text_make(formatted, CLOCK_END)));
		return;
	}
	/* what stands before the offset, as if it were UTC */
	local = copy_string(nexus_text_make(text.data, text.len - OFFSET_LEN + 1));
	local[text.len - OFFSET_LEN] = 'Z';
	REQUIRE(nexus_timestamp_parse_rfc3339(nexus_text_of(local), &local_us));
	for (int i = 1; i < OFFSET_LEN; i++)
	{
		static const int units[OFFSET_LEN] = {0, 600, 60, 0, 10, 1};

		minutes += (text.data[text.len - OFFSET_LEN + (size_t) i] - '0') * units[i];
	}
	REQUIRE(minutes < 24 * 60);
	if (text.data[text.len - OFFSET_LEN] == '-')
		minutes = -minutes;
	REQUIRE(local_us - unix_us == INT64_C(60) * minutes * US_PER_SECOND);
	free(local);
}

/* Nor in an HTTP date; which weekday it names is not looked at. */
static void
check_http_text(NexusText text, int64_t unix_us)
{
	time_t		time = (time_t) (unix_us / US_PER_SECOND);
	struct tm	civil;
	char		expected[64];
	NexusText	date;
	bool		has_dashes;

	nexus_text_cut(text, ',', &date);
	if (date.data == NULL || gmtime_r(&time, &civil) == NULL || civil.tm_year + 1900 < 1000)
		return;
	has_dashes = date.data[3] == '-';
	strftime(expected, sizeof(expected), has_dashes ? " %d-%b-%y %H:%M:%S GMT" : " %d %b %Y %H:%M:%S GMT", &civil);
	date.len -= strlen("GMT");
	REQUIRE(nexus_text_equal_fold(date, nexus_text_make(expected, strlen(expected) - strlen("GMT"))));
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
		check_http_text(text, unix_us);
		check_rfc3339(unix_us);
		check_calendar(unix_us / US_PER_SECOND);
	}
	if (nexus_timestamp_parse_rfc3339(text, &unix_us))
	{
		/* an offset may lead a day beyond either end */
		REQUIRE(floor_seconds(unix_us) > FIRST_SECOND - SECONDS_PER_DAY);
		REQUIRE(floor_seconds(unix_us) < LAST_SECOND + SECONDS_PER_DAY);
		check_rfc3339_text(text, unix_us);
		check_rfc3339(unix_us);
		check_calendar(floor_seconds(unix_us));
	}
	check_any_number(data, size);
	return 0;
}
