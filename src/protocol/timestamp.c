/*
 * timestamp.c
 *	  Parse HTTP dates and RFC 3339, format RFC 3339.
 *
 * By hand, since strptime and timegm follow the locale and accept more than
 * the formats allow.
 */
#include "protocol/timestamp.h"

#define US_PER_SECOND 1000000
#define SECONDS_PER_DAY 86400
#define DAYS_TO_1970 719162		/* from 0001-01-01 */

/* RFC 3339 knows the years 1 to 9999 only. */
#define MIN_UNIX_SECONDS (-INT64_C(62135596800))
#define MAX_UNIX_SECONDS INT64_C(253402300799)

#define MAX_FRACTION_DIGITS 9
#define PIVOT_YEAR 69			/* of two digits: 69 is 1969, 68 is 2068 */

typedef struct Civil
{
	int			year;
	int			month;			/* from 1 */
	int			day;
	int			hour;
	int			minute;
	int			second;
} Civil;

static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
"Sep", "Oct", "Nov", "Dec"};
static const char *const days[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
static const char *const long_days[] = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday",
"Saturday", "Sunday"};

static bool
is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int
days_of_month(int year, int month)
{
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return month == 2 && is_leap(year) ? 29 : lengths[month - 1];
}

/* Days of all years before "year", which is at least 1. */
static int64_t
days_before_year(int year)
{
	int64_t		full = year - 1;

	return full * 365 + full / 4 - full / 100 + full / 400;
}

/* Seconds since 1970; false where there is no such day or time. */
static bool
to_unix_seconds(const Civil *civil, int64_t *seconds)
{
	int64_t		day;

	if (civil->year < 1 || civil->month < 1 || civil->month > 12 || civil->day < 1 ||
		civil->day > days_of_month(civil->year, civil->month) ||
		civil->hour > 23 || civil->minute > 59 || civil->second > 59)
		return false;
	day = days_before_year(civil->year) + civil->day - 1 - DAYS_TO_1970;
	for (int month = 1; month < civil->month; month++)
		day += days_of_month(civil->year, month);
	*seconds = day * SECONDS_PER_DAY + civil->hour * 3600 + civil->minute * 60 + civil->second;
	return true;
}

static bool
take(NexusText *text, const char *expected)
{
	NexusText	prefix = nexus_text_of(expected);

	if (!nexus_text_starts_fold(*text, prefix))
		return false;
	text->data += prefix.len;
	text->len -= prefix.len;
	return true;
}

/* Exactly "digits" digits. */
static bool
take_number(NexusText *text, size_t digits, int *value)
{
	int64_t		number;

	if (text->len < digits || !nexus_text_to_int64(nexus_text_make(text->data, digits), &number))
		return false;
	text->data += digits;
	text->len -= digits;
	*value = (int) number;
	return true;
}

static bool
take_name(NexusText *text, const char *const *names, int count, int *index)
{
	for (*index = 0; *index < count; (*index)++)
	{
		if (take(text, names[*index]))
			return true;
	}
	return false;
}

static bool
take_month(NexusText *text, int *month)
{
	if (!take_name(text, months, 12, month))
		return false;
	(*month)++;
	return true;
}

static bool
take_clock(NexusText *text, Civil *civil)
{
	return take_number(text, 2, &civil->hour) && take(text, ":") &&
		take_number(text, 2, &civil->minute) && take(text, ":") &&
		take_number(text, 2, &civil->second);
}

/* Mon, 02 Jan 2006 15:04:05 GMT */
static bool
parse_rfc1123(NexusText text, Civil *civil)
{
	int			weekday;

	return take_name(&text, days, 7, &weekday) && take(&text, ", ") &&
		take_number(&text, 2, &civil->day) && take(&text, " ") &&
		take_month(&text, &civil->month) && take(&text, " ") &&
		take_number(&text, 4, &civil->year) && take(&text, " ") &&
		take_clock(&text, civil) && take(&text, " GMT") && text.len == 0;
}

/* Monday, 02-Jan-06 15:04:05 GMT */
static bool
parse_rfc850(NexusText text, Civil *civil)
{
	int			weekday;

	if (!take_name(&text, long_days, 7, &weekday) || !take(&text, ", ") ||
		!take_number(&text, 2, &civil->day) || !take(&text, "-") ||
		!take_month(&text, &civil->month) || !take(&text, "-") ||
		!take_number(&text, 2, &civil->year) || !take(&text, " ") || !take_clock(&text, civil))
		return false;
	civil->year += civil->year >= PIVOT_YEAR ? 1900 : 2000;
	return (take(&text, " GMT") || take(&text, " UTC")) && text.len == 0;
}

/* Mon Jan  2 15:04:05 2006 */
static bool
parse_asctime(NexusText text, Civil *civil)
{
	int			weekday;

	if (!take_name(&text, days, 7, &weekday) || !take(&text, " ") ||
		!take_month(&text, &civil->month) || !take(&text, " "))
		return false;
	if (!take_number(&text, take(&text, " ") ? 1 : 2, &civil->day))
		return false;
	return take(&text, " ") && take_clock(&text, civil) && take(&text, " ") &&
		take_number(&text, 4, &civil->year) && text.len == 0;
}

bool
nexus_timestamp_parse_http(NexusText text, int64_t *unix_us)
{
	Civil		civil;
	int64_t		seconds;

	if (text.len == 0)
		return false;
	if (!parse_rfc1123(text, &civil) && !parse_rfc850(text, &civil) && !parse_asctime(text, &civil))
		return false;
	if (!to_unix_seconds(&civil, &seconds))
		return false;
	*unix_us = seconds * US_PER_SECOND;
	return true;
}

/* ".123" as microseconds; nothing is taken where no point stands. */
static bool
take_fraction(NexusText *text, int *microseconds)
{
	int			unit = US_PER_SECOND;
	size_t		count = 0;

	*microseconds = 0;
	if (!take(text, "."))
		return true;
	while (count < text->len && text->data[count] >= '0' && text->data[count] <= '9')
	{
		unit /= 10;
		*microseconds += (text->data[count] - '0') * unit;
		count++;
	}
	text->data += count;
	text->len -= count;
	return count >= 1 && count <= MAX_FRACTION_DIGITS;
}

/* "Z" or "+02:00", as seconds east of UTC. */
static bool
take_offset(NexusText *text, int *seconds)
{
	bool		is_west;
	int			hours;
	int			minutes;

	*seconds = 0;
	if (take(text, "Z"))
		return true;
	is_west = take(text, "-");
	if (!is_west && !take(text, "+"))
		return false;
	if (!take_number(text, 2, &hours) || !take(text, ":") || !take_number(text, 2, &minutes) ||
		hours > 23 || minutes > 59)
		return false;
	*seconds = (hours * 60 + minutes) * (is_west ? -60 : 60);
	return true;
}

bool
nexus_timestamp_parse_rfc3339(NexusText text, int64_t *unix_us)
{
	Civil		civil;
	int			microseconds;
	int			offset;
	int64_t		seconds;

	if (text.len == 0)
		return false;
	if (!take_number(&text, 4, &civil.year) || !take(&text, "-") ||
		!take_number(&text, 2, &civil.month) || !take(&text, "-") ||
		!take_number(&text, 2, &civil.day) || !take(&text, "T") ||
		!take_clock(&text, &civil) || !take_fraction(&text, &microseconds) ||
		!take_offset(&text, &offset) || text.len > 0)
		return false;
	if (!to_unix_seconds(&civil, &seconds))
		return false;
	*unix_us = (seconds - offset) * US_PER_SECOND + microseconds;
	return true;
}

/* The day that is "day" days after 0001-01-01. */
static void
civil_of_day(int64_t day, Civil *civil)
{
	/* a guess that can only be too high, since no year is shorter */
	civil->year = (int) (day / 365) + 1;
	while (days_before_year(civil->year) > day)
		civil->year--;
	day -= days_before_year(civil->year);
	for (civil->month = 1; day >= days_of_month(civil->year, civil->month); civil->month++)
		day -= days_of_month(civil->year, civil->month);
	civil->day = (int) day + 1;
}

/* Write exactly "digits" digits and return what comes behind them. */
static char *
put_number(char *out, int value, int digits)
{
	for (int i = digits - 1; i >= 0; i--)
	{
		out[i] = (char) ('0' + value % 10);
		value /= 10;
	}
	return out + digits;
}

static char *
put_fraction(char *out, int32_t nanoseconds)
{
	if (nanoseconds == 0)
		return out;
	*out++ = '.';
	if (nanoseconds % 1000 != 0)
		return put_number(out, nanoseconds, 9);
	if (nanoseconds % 1000000 != 0)
		return put_number(out, nanoseconds / 1000, 6);
	return put_number(out, nanoseconds / 1000000, 3);
}

void
nexus_timestamp_format_rfc3339(int64_t unix_seconds, int32_t nanoseconds, char *out)
{
	Civil		civil;
	int64_t		seconds;
	int			second;

	if (unix_seconds < MIN_UNIX_SECONDS)
		unix_seconds = MIN_UNIX_SECONDS;
	if (unix_seconds > MAX_UNIX_SECONDS)
		unix_seconds = MAX_UNIX_SECONDS;
	seconds = unix_seconds - MIN_UNIX_SECONDS;
	second = (int) (seconds % SECONDS_PER_DAY);
	civil_of_day(seconds / SECONDS_PER_DAY, &civil);
	out = put_number(out, civil.year, 4);
	*out++ = '-';
	out = put_number(out, civil.month, 2);
	*out++ = '-';
	out = put_number(out, civil.day, 2);
	*out++ = 'T';
	out = put_number(out, second / 3600, 2);
	*out++ = ':';
	out = put_number(out, second / 60 % 60, 2);
	*out++ = ':';
	out = put_number(out, second % 60, 2);
	out = put_fraction(out, nanoseconds);
	*out++ = 'Z';
	*out = '\0';
}
