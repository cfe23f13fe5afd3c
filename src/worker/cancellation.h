/*
 * cancellation.h
 *	  Cancel requests to handlers: sent once an operation is started, retried
 *	  until the handler takes or refuses them or the operation closes.
 */
#ifndef NEXUS_WORKER_CANCELLATION_H
#define NEXUS_WORKER_CANCELLATION_H

#include "worker/endpoint_queue.h"

typedef struct NexusCancellations NexusCancellations;

extern NexusCancellations *nexus_cancellations_create(NexusWorker *worker);

/* Send the cancel request of a started operation at "due" (0: now). */
extern void nexus_cancellation_schedule(NexusWorker *worker, const NexusUuid *id, const char *endpoint,
										TimestampTz due);

/* Hand what is due now to the queues of its endpoints. */
extern void nexus_cancellations_take_due(NexusCancellations *cancellations);

/* When the next one will be due; DT_NOEND for never. */
extern TimestampTz nexus_cancellations_next(const NexusCancellations *cancellations);

/* Servers or roles changed: those that were not allowed may be now. */
extern void nexus_cancellations_catalog_changed(NexusCancellations *cancellations);

/* Whether the next one of an endpoint is to be read before it can be sent. */
extern bool nexus_cancellations_want_load(const NexusEndpointQueue *queue);

/* Read what may be sent next, in a transaction; the endpoints are read already. */
extern void nexus_cancellations_prepare(NexusCancellations *cancellations);

/* Start, or get rid of, the next one of an endpoint that may send; false where there is none. */
extern bool nexus_cancellations_start_one(NexusEndpointQueue *queue);

#endif							/* NEXUS_WORKER_CANCELLATION_H */
