/*
 * stats.h
 *	  Live figures of endpoints behind the view nexus.endpoints.
 *
 * 1,024 slots in shared memory, keyed by database and endpoint name; an
 * endpoint that finds none works without live figures.  Written by workers,
 * read by monitor.c.
 */
#ifndef NEXUS_SHARED_STATS_H
#define NEXUS_SHARED_STATS_H

#include "datatype/timestamp.h"
#include "protocol/breaker.h"

typedef struct NexusEndpointFigures
{
	int32		in_flight;
	NexusBreakerState breaker_state;	/* as of now */
	TimestampTz breaker_until;	/* OPEN: when a probe may go; else 0 */
	bool		is_blocked_by_breaker;	/* open, or a probe is on its way */
	TimestampTz last_failure_time;	/* 0 for none */
	char		last_failure[256];
} NexusEndpointFigures;

/* ---- at server start ---- */
extern Size nexus_stats_size(void);
extern void nexus_stats_init(void);

/* ---- in a worker ---- */

/* The slot of an endpoint, made if need be; -1 where all are taken. */
extern int	nexus_stats_slot(Oid database, const char *endpoint);
extern void nexus_stats_set_in_flight(int slot, int32 in_flight);
extern void nexus_stats_set_breaker(int slot, NexusBreakerState state, TimestampTz until);
extern void nexus_stats_set_failure(int slot, const char *message, TimestampTz at);

/* An endpoint is gone: its slot is free for another. */
extern void nexus_stats_free_slot(int slot);

/* Free the slots of a database, at the start and end of its worker. */
extern void nexus_stats_clear(Oid database);

/* ---- in monitor.c ---- */

/* A copy; false (and zeroed figures) where the endpoint has no slot. */
extern bool nexus_stats_get(Oid database, const char *endpoint, NexusEndpointFigures *figures);

#endif							/* NEXUS_SHARED_STATS_H */
