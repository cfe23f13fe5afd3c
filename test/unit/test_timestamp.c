/*
 * test_timestamp.c
 *	  Start and close times of completions.
 */
#include "protocol/timestamp.h"
#include "tap.h"

#define INVALID INT64_MIN
#define US INT64_C(1000000)

typedef struct ParseRow
{
	const char *text;
	int64_t		unix_us;
} ParseRow;

static const ParseRow http[] = {
	{"Mon, 02 Jan 2006 15:04:05 GMT", 1136214245 * US},
	{"mon, 02 JAN 2006 15:04:05 gmt", 1136214245 * US},
	{"Monday, 02-Jan-06 15:04:05 GMT", 1136214245 * US},
	{"Mon Jan  2 15:04:05 2006", 1136214245 * US},
	{"Sun Nov 16 08:49:37 1994", 784975777 * US},
	{"Sunday, 06-Nov-94 08:49:37 GMT", 784111777 * US},
	{"Sun, 06 Nov 1994 08:49:37 GMT", 784111777 * US},
	{"Thu, 01 Jan 1970 00:00:00 GMT", 0},
	{"Thu, 29 Feb 2024 23:59:59 GMT", 1709251199 * US},
	{"Thu, 29 Feb 2023 23:59:59 GMT", INVALID},
	{"Mon, 31 Apr 2006 15:04:05 GMT", INVALID},
	{"Mon, 00 Jan 2006 15:04:05 GMT", INVALID},
	{"Mon, 02 Jan 2006 24:04:05 GMT", INVALID},
	{"Mon, 02 Jan 2006 15:60:05 GMT", INVALID},
	{"Mon, 02 Jan 2006 15:04:60 GMT", INVALID},
	{"Mon, 02 Jan 2006 15:04:05 CET", INVALID},
	{"Mon, 02 Jan 2006 15:04:05 GMT ", INVALID},
	{"Mon, 2 Jan 2006 15:04:05 GMT", INVALID},
	{"Xyz, 02 Jan 2006 15:04:05 GMT", INVALID},
	{"2006-01-02T15:04:05Z", INVALID},
	{"garbage", INVALID},
	{"", INVALID}
};

static const ParseRow rfc3339[] = {
	{"2006-01-02T15:04:05Z", 1136214245 * US},
	{"2006-01-02T15:04:05.123Z", 1136214245 * US + 123000},
	{"2006-01-02T15:04:05.123456Z", 1136214245 * US + 123456},
	{"2006-01-02T15:04:05.123456789Z", 1136214245 * US + 123456},
	{"2006-01-02T17:04:05+02:00", 1136214245 * US},
	{"2006-01-02T09:34:05.5-05:30", 1136214245 * US + 500000},
	{"1969-12-31T23:59:59.5Z", -500000},
	{"0001-01-01T00:00:00Z", -62135596800 * US},
	{"9999-12-31T23:59:59.999999Z", 253402300799 * US + 999999},
	{"2006-01-02T15:04:05.1234567890Z", INVALID},
	{"2006-01-02T15:04:05.Z", INVALID},
	{"2006-01-02T15:04:05", INVALID},
	{"2006-01-02 15:04:05Z", INVALID},
	{"2006-01-02T15:04:05+0200", INVALID},
	{"2006-01-02T15:04:05+24:00", INVALID},
	{"2006-01-02T15:04:05+02:60", INVALID},
	{"2006-13-02T15:04:05Z", INVALID},
	{"2006-02-30T15:04:05Z", INVALID},
	{"1900-02-29T15:04:05Z", INVALID},
	{"0000-01-01T00:00:00Z", INVALID},
	{"10000-01-01T00:00:00Z", INVALID},
	{"2006-01-02T15:04:05Zx", INVALID},
	{"garbage", INVALID},
	{"", INVALID}
};

typedef struct FormatRow
{
	const char *name;
	int64_t		seconds;
	int32_t		nanoseconds;
	const char *expected;
} FormatRow;

static const FormatRow formats[] = {
	{"item 96: whole second", 1136214245, 0, "2006-01-02T15:04:05Z"},
	{"item 96: milliseconds", 1136214245, 123000000, "2006-01-02T15:04:05.123Z"},
	{"item 96: microseconds", 1136214245, 123000, "2006-01-02T15:04:05.000123Z"},
	{"item 96: nanoseconds", 1136214245, 123, "2006-01-02T15:04:05.000000123Z"},
	{"leap day", 1709164800, 0, "2024-02-29T00:00:00Z"},
	{"last day of a leap year", 1735689599, 0, "2024-12-31T23:59:59Z"},
	{"before 1970", -1, 500000000, "1969-12-31T23:59:59.500Z"},
	{"the first time", -62135596800, 0, "0001-01-01T00:00:00Z"},
	{"the last time", 253402300799, 999999999, "9999-12-31T23:59:59.999999999Z"},
	{"beyond the last time", INT64_MAX, 0, "9999-12-31T23:59:59Z"},
	{"before the first time", INT64_MIN, 0, "0001-01-01T00:00:00Z"}
};

static void
test_parse(const char *item, const ParseRow *rows, size_t count, bool (*parse) (NexusText text, int64_t *unix_us))
{
	for (size_t i = 0; i < count; i++)
	{
		char		name[100];
		int64_t		found = INVALID;
		NexusText	text = exact_copy(rows[i].text, strlen(rows[i].text));

		snprintf(name, sizeof(name), "%s: \"%s\"", item, rows[i].text);
		ok(parse(text, &found) == (rows[i].unix_us != INVALID), name);
		is_int(found, rows[i].unix_us, name);
		free((char *) text.data);
	}
}

/* Every day of 800 years goes there and back. */
static void
test_every_day(void)
{
	int			wrong = 0;

	for (int64_t day = -200000; day < 92194; day++)
	{
		char		out[NEXUS_TIMESTAMP_MAX_LEN];
		int64_t		back;

		nexus_timestamp_format_rfc3339(day * 86400, 0, out);
		wrong += !nexus_timestamp_parse_rfc3339(nexus_text_of(out), &back) || back != day * 86400 * US;
	}
	is_int(wrong, 0, "every day of 800 years");
}

int
main(void)
{
	test_parse("item 51", http, LENGTH_OF(http), nexus_timestamp_parse_http);
	test_parse("item 50", rfc3339, LENGTH_OF(rfc3339), nexus_timestamp_parse_rfc3339);
	for (size_t i = 0; i < LENGTH_OF(formats); i++)
	{
		char		out[NEXUS_TIMESTAMP_MAX_LEN];

		nexus_timestamp_format_rfc3339(formats[i].seconds, formats[i].nanoseconds, out);
		is_text(nexus_text_of(out), formats[i].expected, formats[i].name);
	}
	test_every_day();
	return done();
}
