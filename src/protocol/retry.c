/*
 * retry.c
 *	  Backoff arithmetic.
 */
#include "protocol/retry.h"

#include "protocol/timestamp.h"

#define AFTER_MAX_S INT64_C(31536000)	/* a year is as good as any longer
										 * time */
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

int64_t
nexus_retry_after_ms(const NexusHeaders *headers, int64_t now_unix_us)
{
	NexusText	value;
	int64_t		seconds;
	int64_t		at;

	if (!nexus_headers_get(headers, "Retry-After", &value))
		return 0;
	value = nexus_text_trim(value);
	if (nexus_text_to_int64(value, &seconds))
		return seconds < AFTER_MAX_S ? seconds * 1000 : AFTER_MAX_S * 1000;
	if (nexus_timestamp_parse_http(value, &at) && at > now_unix_us)
		return (at - now_unix_us + 999) / 1000;
	return 0;
}
