/*
 * dispatcher.h
 *	  From a due operation to a start request and from its reply to an outcome.
 *
 * Owns the table of operations in memory.  Nothing is written before sending:
 * a dead worker's requests are simply sent again under the same request id.
 */
#ifndef NEXUS_WORKER_DISPATCHER_H
#define NEXUS_WORKER_DISPATCHER_H

#include "store/queue.h"
#include "worker/endpoint_queue.h"

typedef struct NexusDispatcher NexusDispatcher;

extern NexusDispatcher *nexus_dispatcher_create(NexusWorker *worker);

/* The queue of an endpoint, made if need be. */
extern NexusEndpointQueue *nexus_dispatcher_queue(NexusDispatcher *dispatcher, const char *endpoint);

/* An operation that has come by a transaction; "due" already if known, else NULL. */
extern void nexus_dispatcher_arrive(NexusDispatcher *dispatcher, const NexusArrival *arrival);
extern void nexus_dispatcher_arrive_loaded(NexusDispatcher *dispatcher, NexusDue *due);

/* Whether its start request was sent, or may have been, by this worker. */
extern bool nexus_dispatcher_was_sent(const NexusDispatcher *dispatcher, const NexusUuid *id);

/*
 * An outcome that is not the reply's is about to close this operation: keep it
 * from being sent until nexus_dispatcher_settled().  With "abort" a request in
 * flight is given up, otherwise its reply is dropped.
 */
extern void nexus_dispatcher_settling(NexusDispatcher *dispatcher, const NexusUuid *id, bool abort);

/* The same with "abort" for an operation whose time is over. */
extern void nexus_dispatcher_overdue(NexusDispatcher *dispatcher, const NexusUuid *id);
extern void nexus_dispatcher_settled(NexusDispatcher *dispatcher, const NexusUuid *id);

/* Servers, mappings or settings changed: read them again, send what may go now. */
extern void nexus_dispatcher_catalog_changed(NexusDispatcher *dispatcher);

/* Whether nexus_dispatcher_prepare() has something to do in a transaction. */
extern bool nexus_dispatcher_needs_transaction(NexusDispatcher *dispatcher);
extern void nexus_dispatcher_prepare(NexusDispatcher *dispatcher);

/* The transaction of nexus_dispatcher_prepare() failed: what it stored is not. */
extern void nexus_dispatcher_undo_bases(NexusDispatcher *dispatcher);

/* Send what is loaded, as far as the limits allow. */
extern void nexus_dispatcher_start_due(NexusDispatcher *dispatcher);

/* When something can be sent, or read in order to; DT_NOEND for never. */
extern TimestampTz nexus_dispatcher_next_deadline(const NexusDispatcher *dispatcher);

/* Requests in flight, cancel requests among them, against nexus_pg.max_in_flight. */
extern int	nexus_dispatcher_in_flight(const NexusDispatcher *dispatcher);

/* Operations in memory of which no start request is in flight. */
extern int	nexus_dispatcher_queued(const NexusDispatcher *dispatcher);

#endif							/* NEXUS_WORKER_DISPATCHER_H */
