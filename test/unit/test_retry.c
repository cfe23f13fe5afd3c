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
	return done();
}
