/*
 * test_duration.c
 *	  Timeout values.
 */
#include "protocol/duration.h"
#include "tap.h"

typedef struct Row
{
	const char *text;
	int64_t		ms;				/* -1 where it is invalid */
} Row;

static const Row rows[] = {
	{"10ms", 10}, {"10.1ms", 10}, {"1s", 1000}, {"1.3s", 1300}, {"999m", 59940000},
	{"0ms", 0}, {"1.001s", 1001}, {"0.0009s", 0}, {"0.5m", 30000}, {"1.00000000000000000000001s", 1000},
	{"0.99999999999999999999m", 59999}, {"007s", 7000},
	{"0.58066666666666668m", 34840}, {"0.00001666666666666666666666666666666666666667m", 1},
	{"0.00001666666666666666666666666666666666666666m", 0},
	{"9223372036854775807ms", INT64_MAX}, {"9223372036854775808ms", -1},
	{"9223372036854775s", INT64_C(9223372036854775000)}, {"9223372036854776s", -1},
	{"153722867280912m", INT64_C(9223372036854720000)}, {"153722867280912.99m", -1},
	{"invalid", -1}, {"", -1}, {"1h", -1}, {"-1s", -1}, {"1 s", -1}, {"1m30s", -1}, {"+1s", -1}, {"10 s", -1},
	{".5s", -1}, {"5.s", -1}, {"5", -1}, {"5us", -1}, {"1e3s", -1}, {"1S", -1}, {"1s ", -1}, {" 1s", -1}, {"s", -1},
	{"1.2.3s", -1}, {"1,5s", -1}
};

int
main(void)
{
	char		out[NEXUS_DURATION_MAX_LEN];

	for (size_t i = 0; i < LENGTH_OF(rows); i++)
	{
		char		name[64];
		int64_t		ms = -1;
		NexusText	text = exact_copy(rows[i].text, strlen(rows[i].text));

		snprintf(name, sizeof(name), "item 95: \"%s\"", rows[i].text);
		ok(nexus_duration_parse(text, &ms) == (rows[i].ms >= 0), name);
		is_int(ms, rows[i].ms, name);
		free((char *) text.data);
	}
	nexus_duration_format(5000, out);
	is_text(nexus_text_of(out), "5000ms", "item 8: whole milliseconds");
	nexus_duration_format(-1, out);
	is_text(nexus_text_of(out), "0ms", "a time that is over");
	nexus_duration_format(INT64_MAX, out);
	is_text(nexus_text_of(out), "9223372036854775807ms", "the longest");
	return done();
}
