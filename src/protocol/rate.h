/*
 * rate.h
 *	  At most so many requests a second: a bucket that a token drips into for
 *	  each, and that holds a tenth of a second's worth (one at least).
 */
#ifndef NEXUS_PROTOCOL_RATE_H
#define NEXUS_PROTOCOL_RATE_H

#include <stdint.h>

/* All zeros is a full bucket. */
typedef struct NexusRate
{
	double		missing;		/* tokens, of those that it can hold */
	int64_t		as_of;			/* microseconds */
} NexusRate;

/* Microseconds until a request may go; 0 = now.  per_second 0 is no limit. */
extern int64_t nexus_rate_wait_us(const NexusRate *rate, double per_second, int64_t now);

/* A request goes. */
extern void nexus_rate_take(NexusRate *rate, double per_second, int64_t now);

#endif							/* NEXUS_PROTOCOL_RATE_H */
