/*
 * dispatcher_internal.h
 *	  What dispatcher.c (which operation is sent when) and start_call.c (one
 *	  request and its reply) share.
 */
#ifndef NEXUS_WORKER_DISPATCHER_INTERNAL_H
#define NEXUS_WORKER_DISPATCHER_INTERNAL_H

#include "protocol/reply.h"
#include "utils/hsearch.h"
#include "worker/dispatcher.h"

#define CALLS_MAX 100000		/* operations in memory, over all endpoints */
#define LOAD_BATCH 256			/* operations loaded by one query */
#define BASELESS_MAX (2 * LOAD_BATCH)	/* small and large ones */
#define LOAD_AHEAD 128			/* loaded beyond what can be sent at once */
#define NEXUS_INPUT_LARGE (8 * 1024)	/* inputs above are read only when
										 * they can be sent */

struct NexusDispatcher
{
	NexusWorker *worker;
	MemoryContext context;		/* of queues and loaded operations */
	HTAB	   *calls;			/* id -> NexusCall */
	dlist_head	queues;			/* of endpoints with something to do */
	dlist_head	resting;		/* of all others that were met */
	HTAB	   *by_name;		/* of both lists */
	NexusEndpointQueue *last_queue; /* found last */
	int			in_flight;		/* start and cancel requests */
	int			starts_in_flight;	/* those of them that are in calls */
	int64		large_bytes;	/* of large inputs in memory, against
								 * nexus_pg.max_bytes_in_flight */
	NexusReply	reply;			/* reused */
	NexusUuid	baseless[BASELESS_MAX]; /* got a callback base just now ... */
	NexusEndpointQueue *baseless_queue[BASELESS_MAX];
	int			baseless_count;
};

/* A new entry; queue NULL where it is only kept from being sent. */
extern NexusCall *nexus_dispatcher_enter(NexusDispatcher *dispatcher, const NexusUuid *id, NexusEndpointQueue *queue);

/* Into a list, and out of whichever it is in. */
extern void nexus_dispatcher_push_queued(NexusCall *call);
extern void nexus_dispatcher_push_loaded(NexusCall *call);
extern void nexus_dispatcher_unlink(NexusCall *call);

/* What was loaded for it, which it owns from now on. */
extern void nexus_dispatcher_set_due(NexusCall *call, NexusDue *due);

/* Whether its input may be read into memory, beside "planned" bytes that are about to be. */
extern bool nexus_dispatcher_fits(const NexusCall *call, int64 planned, int64 planned_here);

extern NexusCall *nexus_dispatcher_find(const NexusDispatcher *dispatcher, const NexusUuid *id);
extern void nexus_dispatcher_forget(NexusDispatcher *dispatcher, NexusCall *call);

/* In no list any more, but not to be sent as it was loaded: QUEUED again. */
extern void nexus_dispatcher_put_back(NexusCall *call);

/* Leave it to the table until the catalogs change. */
extern void nexus_dispatcher_hold(NexusDispatcher *dispatcher, NexusCall *call);

/* Whether one more request to an endpoint may go out at this very moment. */
extern bool nexus_dispatcher_may_send(const NexusDispatcher *dispatcher, const NexusEndpointQueue *queue);

/* ---- endpoint_list.c ---- */

extern void nexus_dispatcher_init_queues(NexusDispatcher *dispatcher);

/* It has nothing to do: look at it again once it is roused. */
extern void nexus_dispatcher_let_rest(NexusDispatcher *dispatcher, NexusEndpointQueue *queue);

/* Forget an endpoint that is over. */
extern void nexus_dispatcher_drop_queue(NexusDispatcher *dispatcher, NexusEndpointQueue *queue);

/* ---- loading.c ---- */

/* Whether some of an endpoint's queue are to be loaded, since they could be sent. */
extern bool nexus_dispatcher_wants_load(const NexusDispatcher *dispatcher, const NexusEndpointQueue *queue);

/* ---- start_call.c ---- */

/* IN_FLIGHT is over: free its place; the call is SETTLING now. */
extern void nexus_dispatcher_leave_flight(NexusDispatcher *dispatcher, NexusCall *call);

/* Count a start request that ended and changes nothing any more. */
extern void nexus_dispatcher_count_attempt(NexusDispatcher *dispatcher, const NexusCall *call, int64 elapsed_us,
										   bool is_failure);

/* Count a request in flight, of the endpoint and of all. */
extern void nexus_dispatcher_add_in_flight(NexusDispatcher *dispatcher, NexusEndpointQueue *queue, int change);

/* Give a loaded operation the callback base that is known now, or hold it back. */
extern void nexus_dispatcher_give_base(NexusDispatcher *dispatcher, NexusCall *call);

/* Store the bases given since; in the same transaction, before anything is sent. */
extern void nexus_dispatcher_store_bases(NexusDispatcher *dispatcher);

/* Its callbacks would come to our own listener, which does not run. */
extern bool nexus_dispatcher_waits_for_listener(const NexusCall *call);

/* Send the start request of an operation that is in no list any more. */
extern void nexus_dispatcher_send(NexusDispatcher *dispatcher, NexusCall *call);

#endif							/* NEXUS_WORKER_DISPATCHER_INTERNAL_H */
