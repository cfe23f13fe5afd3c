/*
 * queue.h
 *	  What the worker reads: arrivals, due operations, deadlines.
 *
 * Everything here runs inside nexus_transaction_run, takes rows of the given
 * incarnation only, and never starts at the left end of an index but once at
 * start.
 */
#ifndef NEXUS_STORE_QUEUE_H
#define NEXUS_STORE_QUEUE_H

#include "postgres.h"
#include "protocol/uuid.h"
#include "store/operation.h"
#include "store/request.h"

/* Where a queue was read up to. */
typedef struct NexusQueueKey
{
	uint64		xid;
	NexusUuid	id;
} NexusQueueKey;

/* A scheduled operation that has come; "endpoint" is valid during the call. */
typedef struct NexusArrival
{
	NexusQueueKey key;			/* xid 0: inserted by a worker */
	const char *endpoint;
	TimestampTz deadline;		/* DT_NOEND for none */
} NexusArrival;

typedef void (*NexusEachArrival) (const NexusArrival *arrival, void *arg);

/* What somebody asked of an operation, with that operation as it is now. */
typedef struct NexusTakenRequest
{
	NexusUuid	operation_id;
	NexusRequestKind kind;
	TimestampTz requested_time;
	const char *reason;			/* NULL = none */
	const char *identity;
	bool		is_found;		/* the operation exists */
	NexusState	state;
	int32		attempt;
	bool		may_have_been_sent; /* by an earlier worker, unrecorded */
	bool		is_cancel_requested;	/* before this one */
	bool		is_cancel_backing_off;
	NexusCancellationType cancellation_type;
	const char *endpoint;
} NexusTakenRequest;

typedef void (*NexusEachRequest) (const NexusTakenRequest *request, void *arg);

/*
 * Read what has committed since the last call, by transaction id: first the
 * operations, then the requests, each exactly once.  The first call of a
 * process hands out the requests of the whole table and the operations that
 * workers inserted; the others are found by store/survey.h.  WAL is
 * flushed up to the commits of what is handed out, so that nothing is sent for a
 * transaction that a crash could forget.
 */
extern void nexus_queue_read_arrivals(const NexusUuid *incarnation, NexusEachArrival on_operation,
									  NexusEachRequest on_request, void *arg);

/*
 * Scheduled operations of an endpoint after *key, which moves on; number read.
 * Those that have yet to arrive are left to nexus_queue_read_arrivals.
 */
extern int	nexus_queue_read_scheduled(const NexusUuid *incarnation, const char *endpoint, NexusQueueKey *key,
									   int limit, NexusEachArrival each, void *arg);

/* Scheduled operations of an endpoint that workers inserted: no key reaches them. */
extern void nexus_queue_read_executed(const NexusUuid *incarnation, const char *endpoint, NexusEachArrival each,
									  void *arg);

/*
 * Operations of an endpoint that are backing off and due after (*floor,
 * *floor_id) up to "now"; the floor moves on.  *next is when the first one that is not due yet will be.
 */
extern int	nexus_queue_read_retries(const NexusUuid *incarnation, const char *endpoint, TimestampTz *floor,
									 NexusUuid *floor_id, TimestampTz now, int limit, TimestampTz *next,
									 NexusEachArrival each, void *arg);

/* Open operations whose deadline lies after (*floor, *floor_id) and up to "now". */
typedef void (*NexusEachOverdue) (const NexusUuid *id, const char *endpoint, NexusState state,
								  TimestampTz scheduled_time, TimestampTz started_time, TimestampTz deadline,
								  int64 schedule_to_close, int64 schedule_to_start, int64 start_to_close, void *arg);

extern int	nexus_queue_read_overdue(const NexusUuid *incarnation, TimestampTz *floor, NexusUuid *floor_id,
									 TimestampTz now, int limit, TimestampTz *next, NexusEachOverdue each, void *arg);

#endif							/* NEXUS_STORE_QUEUE_H */
