/*
 * cancellation.h
 *	  Cancel requests to handlers: sent once an operation is started, retried
 *	  until the handler takes or refuses them or the operation closes.
 */
#ifndef NEXUS_WORKER_CANCELLATION_H
#define NEXUS_WORKER_CANCELLATION_H

#include "worker/state.h"

typedef struct NexusCancellations NexusCancellations;

extern NexusCancellations *nexus_cancellations_create(NexusWorker *worker);

/* Send the cancel request of a started operation at "due" (0: now). */
extern void nexus_cancellation_schedule(NexusWorker *worker, const NexusUuid *id, const char *endpoint,
										TimestampTz due);

/* Whether something is due and may be sent: load it in a transaction, then start it. */
extern bool nexus_cancellations_need_transaction(NexusCancellations *cancellations);
extern void nexus_cancellations_prepare(NexusCancellations *cancellations);
extern void nexus_cancellations_start_due(NexusCancellations *cancellations);

/* When the next one is due; DT_NOEND for never. */
extern TimestampTz nexus_cancellations_next(const NexusCancellations *cancellations);

#endif							/* NEXUS_WORKER_CANCELLATION_H */
