/*
 * rate.c
 *	  A token bucket.
 */
#include "protocol/rate.h"

#define US_PER_S 1000000.0
#define BURST_S 0.1				/* what goes at once after a pause */

static double
capacity(double per_second)
{
	double		tokens = per_second * BURST_S;

	return tokens < 1 ? 1 : tokens;
}

/*
 * Tokens missing now.  A clock that was set back fills the bucket, for we would
 * wait for it to come back otherwise.
 */
static double
missing_at(const NexusRate *rate, double per_second, int64_t now)
{
	double		missing = rate->missing - (double) (now - rate->as_of) * per_second / US_PER_S;

	return missing < 0 || now < rate->as_of ? 0 : missing;
}

int64_t
nexus_rate_wait_us(const NexusRate *rate, double per_second, int64_t now)
{
	double		lacking;

	if (per_second <= 0)
		return 0;
	lacking = missing_at(rate, per_second, now) + 1 - capacity(per_second);
	if (lacking <= 0)
		return 0;
	/* rounded up, so that it is there then */
	return (int64_t) (lacking * US_PER_S / per_second) + 1;
}

void
nexus_rate_take(NexusRate *rate, double per_second, int64_t now)
{
	if (per_second <= 0)
		return;
	rate->missing = missing_at(rate, per_second, now) + 1;
	rate->as_of = now;
}
