/*
 * retry.c
 *	  Backoff arithmetic.
 */
#include "protocol/retry.h"

#define LEAST_SHARE 0.8			/* of the delay; jitter takes the rest */

/* base to the power of exponent, by squaring; may become infinite. */
static double
power(double base, int32_t exponent)
{
	double		result = 1.0;

	for (; exponent > 0; exponent /= 2)
	{
		if (exponent % 2 == 1)
			result *= base;
		base *= base;
	}
	return result;
}

int64_t
nexus_retry_delay_ms(const NexusRetryPolicy *policy, int32_t attempt, double random)
{
	double		max = (double) policy->max_interval_ms;
	double		delay = (double) policy->initial_interval_ms;

	if (delay > 0)
		delay *= power(policy->backoff_coefficient, attempt - 1);

	/* the comparison is this way round so that an infinite delay is capped */
	if (!(delay < max))
		delay = max;
	return (int64_t) (delay * (LEAST_SHARE + (1.0 - LEAST_SHARE) * random));
}
