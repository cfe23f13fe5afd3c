/*
 * retry.h
 *	  When a failed attempt is tried again: exponential backoff with jitter, and
 *	  what the handler asks for.
 */
#ifndef NEXUS_PROTOCOL_RETRY_H
#define NEXUS_PROTOCOL_RETRY_H

#include <stdint.h>

#include "protocol/headers.h"

typedef struct NexusRetryPolicy
{
	int64_t		initial_interval_ms;
	int64_t		max_interval_ms;
	double		backoff_coefficient;
} NexusRetryPolicy;

/*
 * Milliseconds to wait after attempt number "attempt" (from 1) failed: the
 * capped exponential delay times [0.8, 1.0).  "random" is in [0, 1).
 */
extern int64_t nexus_retry_delay_ms(const NexusRetryPolicy *policy, int32_t attempt, double random);

/*
 * Milliseconds that a reply asks to wait by Retry-After (RFC 9110, 10.2.3:
 * seconds, or a date); 0 where it asks for nothing that can be read.
 */
extern int64_t nexus_retry_after_ms(const NexusHeaders *headers, int64_t now_unix_us);

#endif							/* NEXUS_PROTOCOL_RETRY_H */
