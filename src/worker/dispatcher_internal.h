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
#define LOAD_AHEAD 128			/* loaded beyond what can be sent at once */

struct NexusDispatcher
{
	NexusWorker *worker;
	MemoryContext context;		/* of queues and loaded operations */
	HTAB	   *calls;			/* id -> NexusCall */
	dlist_head	queues;
	NexusEndpointQueue *last_queue; /* found last */
	int			in_flight;		/* start and cancel requests */
	NexusReply	reply;			/* reused */
	NexusUuid	baseless[LOAD_BATCH];	/* got a callback base just now ... */
	NexusEndpointQueue *baseless_queue[LOAD_BATCH];
	int			baseless_count;
};

extern NexusCall *nexus_dispatcher_find(const NexusDispatcher *dispatcher, const NexusUuid *id);
extern void nexus_dispatcher_forget(NexusDispatcher *dispatcher, NexusCall *call);

/* In no list any more, but not to be sent as it was loaded: QUEUED again. */
extern void nexus_dispatcher_put_back(NexusCall *call);

/* Leave it to the table until the catalogs change. */
extern void nexus_dispatcher_hold(NexusDispatcher *dispatcher, NexusCall *call);

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
