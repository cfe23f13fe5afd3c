/*
 * endpoint_queue.h
 *	  One endpoint in a worker's memory: its configuration, who calls it, and
 *	  the operations that wait for it.
 *
 * The queue is bounded.  What does not fit stays in the table and is read from
 * a remembered key when there is room (spilled); what backs off stays there
 * until it is due.  Per endpoint, so that a slow or blocked one delays no other
 * and its backlog is never scanned.
 */
#ifndef NEXUS_WORKER_ENDPOINT_QUEUE_H
#define NEXUS_WORKER_ENDPOINT_QUEUE_H

#include "lib/ilist.h"
#include "protocol/rate.h"
#include "store/due.h"
#include "store/queue.h"
#include "worker/caller.h"
#include "worker/state.h"

#define NEXUS_QUEUE_MAX 10000	/* operations of one endpoint in memory, 100
								 * bytes each */
#define NEXUS_QUEUE_LOW 1000	/* refill below this */

typedef enum NexusCallPhase
{
	NEXUS_CALL_QUEUED,			/* only its id is known */
	NEXUS_CALL_LOADED,			/* ready to be sent */
	NEXUS_CALL_IN_FLIGHT,
	NEXUS_CALL_SETTLING			/* its outcome waits for the commit */
} NexusCallPhase;

/* An operation in memory, from its arrival until its outcome has committed. */
typedef struct NexusCall
{
	NexusUuid	id;				/* key of the dispatcher's table */
	dlist_node	node;			/* in queued or loaded */
	struct NexusEndpointQueue *queue;
	NexusCallPhase phase;
	bool		is_closed;		/* something else closed it: drop the reply */
	int32		settling;		/* outcomes of it in the group */
	NexusDue   *due;			/* from LOADED on */
	NexusHttpCall *http;		/* IN_FLIGHT */
	TimestampTz sent_time;
	NexusBreakerTicket ticket;	/* what it was sent under */
	int64		large_size;		/* of its input, where that is known to be
								 * large; else 0 */
} NexusCall;

typedef struct NexusEndpointQueue
{
	dlist_node	node;			/* in one of the dispatcher's lists */
	struct NexusDispatcher *dispatcher; /* whose list that is */
	dlist_head *busy;			/* that of those with something to do ... */
	bool		is_resting;		/* ... which it is not in */
	dlist_node	turn;			/* among those that send right now */
	char	   *name;
	NexusEndpoint *config;		/* NULL: not read yet, or no such server */
	bool		is_stale;		/* read the configuration before the next send */
	NexusCaller *callers;
	MemoryContext context;		/* of configuration and callers */
	char	   *own_base;		/* callback base that is our own listener;
								 * NULL = none */
	dlist_head	queued;
	int			queued_count;
	dlist_head	loaded;
	int			loaded_count;
	int			in_flight;
	int			users;			/* calls and cancels that point here */
	dlist_head	cancels;		/* that are due; see cancellation.c */
	int			cancel_count;
	int64		large_bytes;	/* of large inputs in memory */
	NexusBreaker breaker;
	NexusRate	rate;
	bool		has_held;		/* some were left in the table until the
								 * catalogs change */
	bool		is_spilled;		/* the table has more, after spill_key */
	NexusQueueKey spill_key;
	bool		has_executed;	/* and perhaps some without a key */
	TimestampTz retry_next;		/* when something that backs off is due */
	TimestampTz retry_floor;	/* all up to here was handed out */
	NexusUuid	retry_floor_id;
	int			stats_slot;		/* shared/stats.h; -1 = none */
} NexusEndpointQueue;

extern NexusEndpointQueue *nexus_endpoint_queue_create(const char *name, Oid database, MemoryContext context);
extern void nexus_endpoint_queue_free(NexusEndpointQueue *queue);

/* Its server is gone, and nothing waits for it, so that it can be freed. */
extern bool nexus_endpoint_queue_is_over(const NexusEndpointQueue *queue);

/* Its server is there, as far as is known, and nothing waits for it, be it in memory or in the table. */
extern bool nexus_endpoint_queue_is_idle(const NexusEndpointQueue *queue);

/* It has something to do: whoever adds that says so. */
extern void nexus_endpoint_queue_rouse(NexusEndpointQueue *queue);

/*
 * Read the configuration anew, in a transaction, and forget the callers.
 * "listener_port" is part of the callback base.
 */
extern void nexus_endpoint_queue_read(NexusEndpointQueue *queue, int listener_port);

/* Its configuration may be another now, and something waits for it. */
extern bool nexus_endpoint_queue_wants_reading(const NexusEndpointQueue *queue);

/* The caller of an owner, read where it is not known; in a transaction. */
extern NexusCaller *nexus_endpoint_queue_caller(NexusEndpointQueue *queue, Oid owner);

/* The same without reading: NULL where it is not known. */
extern NexusCaller *nexus_endpoint_queue_known_caller(NexusEndpointQueue *queue, Oid owner);

/* Hand out everything in the table once more: what was held back may go now. */
extern void nexus_endpoint_queue_rewind(NexusEndpointQueue *queue);

/* Note when an operation that backs off now is due. */
extern void nexus_endpoint_queue_note_retry(NexusEndpointQueue *queue, TimestampTz due);

/* Note that the table has an operation that is not in memory. */
extern void nexus_endpoint_queue_spill(NexusEndpointQueue *queue, const NexusQueueKey *key);

/* Whether its operations may be sent at all. */
extern bool nexus_endpoint_queue_is_open(const NexusEndpointQueue *queue, const NexusWorker *worker);

/* How many more requests it may have in flight; with an open breaker none, or one probe. */
extern int	nexus_endpoint_queue_room(const NexusEndpointQueue *queue);

/* Whether one more may be sent at this very moment. */
extern bool nexus_endpoint_queue_admits(const NexusEndpointQueue *queue, const NexusWorker *worker);

/*
 * When what waits may be sent for time's sake alone: the breaker lets a probe
 * through, or the rate allows another request.  DT_NOEND where time is not (or no more) what it waits for.
 */
extern TimestampTz nexus_endpoint_queue_opens_at(const NexusEndpointQueue *queue);

/* A request goes out: it counts against the rate, and is the breaker's probe if that is open. */
extern NexusBreakerTicket nexus_endpoint_queue_note_sent(NexusEndpointQueue *queue, TimestampTz now);

/* Its result; a failure is one that is tried again.  Ticket 0: nothing was sent. */
extern void nexus_endpoint_queue_note_result(NexusEndpointQueue *queue, NexusBreakerTicket ticket, bool is_failure);

/* It was given up for a reason of ours. */
extern void nexus_endpoint_queue_note_abandoned(NexusEndpointQueue *queue, NexusBreakerTicket ticket);

/*
 * When to try again after attempt number "attempt" failed just now: by the
 * endpoint's backoff, and not before the reply (headers NULL: none) allows it,
 * but no later than retry_max_interval from now.
 */
extern TimestampTz nexus_endpoint_queue_next_attempt(const NexusEndpointQueue *queue, int32 attempt,
													 const NexusHeaders *headers, TimestampTz now);

/* Count requests in flight, here and in the live figures. */
extern void nexus_endpoint_queue_add_in_flight(NexusEndpointQueue *queue, int change);

#endif							/* NEXUS_WORKER_ENDPOINT_QUEUE_H */
