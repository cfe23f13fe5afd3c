/*
 * test_retry.c
 *	  Backoff.
 */
#include "protocol/retry.h"
#include "tap.h"

typedef struct Row
{
	int32_t		attempt;
	double		random;
	int64_t		ms;
} Row;

static const Row rows[] = {
	{1, 0.0, 800}, {1, 0.5, 900}, {2, 0.0, 1600}, {3, 0.0, 3200}, {12, 0.0, 1638400},
	{13, 0.0, 2880000}, {100, 0.0, 2880000}, {INT32_MAX, 0.5, 3240000}
};

/* Of a reply that came at Sun, 06 Nov 1994 08:49:37 GMT. */
static const struct
{
	const char *value;
	int64_t		ms;
}			after_rows[] = {
	{"120", 120000}, {" 3 ", 3000}, {"0", 0}, {"99999999999", INT64_C(31536000000)},
	{"Sun, 06 Nov 1994 08:49:40 GMT", 3000}, {"Sun, 06 Nov 1994 08:49:36 GMT", 0},
	{"Sunday, 06-Nov-94 08:50:37 GMT", 60000}, {"", 0}, {"-1", 0}, {"1.5", 0}, {"soon", 0},
	{"99999999999999999999", 0}
};

static void
test_retry_after(void)
{
	const int64_t now = INT64_C(784111777000000);
	NexusHeaders headers;

	nexus_headers_init(&headers, 1024);
	is_int(nexus_retry_after_ms(&headers, now), 0, "no Retry-After");
	for (size_t i = 0; i < LENGTH_OF(after_rows); i++)
	{
		char		name[64];

		snprintf(name, sizeof(name), "Retry-After: %s", after_rows[i].value);
		nexus_headers_reset(&headers);
		nexus_headers_add_string(&headers, "retry-after", after_rows[i].value);
		is_int(nexus_retry_after_ms(&headers, now), after_rows[i].ms, name);
	}
	nexus_headers_free(&headers);
}

int
main(void)
{
	NexusRetryPolicy policy = {1000, 3600000, 2.0};

	for (size_t i = 0; i < LENGTH_OF(rows); i++)
	{
		char		name[64];

		snprintf(name, sizeof(name), "attempt %d, random %.1f", rows[i].attempt, rows[i].random);
		is_int(nexus_retry_delay_ms(&policy, rows[i].attempt, rows[i].random), rows[i].ms, name);
	}
	ok(nexus_retry_delay_ms(&policy, 1, 0.999999) <= 1000, "never more than the delay itself");
	policy.backoff_coefficient = 1.0;
	is_int(nexus_retry_delay_ms(&policy, INT32_MAX, 0.0), 800, "no growth");
	policy.backoff_coefficient = 2.0;
	policy.initial_interval_ms = 7200000;
	is_int(nexus_retry_delay_ms(&policy, 1, 0.0), 2880000, "the cap holds for the first one too");
	policy.initial_interval_ms = 0;
	is_int(nexus_retry_delay_ms(&policy, INT32_MAX, 0.0), 0, "no wait at all");
	test_retry_after();
	return done();
}
