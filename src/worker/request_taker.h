/*
 * request_taker.h
 *	  What users asked of operations (cancel, terminate, retry) becomes outcomes.
 */
#ifndef NEXUS_WORKER_REQUEST_TAKER_H
#define NEXUS_WORKER_REQUEST_TAKER_H

#include "store/queue.h"
#include "worker/state.h"

/*
 * Take a request.  A cancel of an operation that was never sent closes it; any
 * other is kept until it is started and then delivered.  A retry makes due what backs off, be it the
 * operation or its cancel request.  The request row goes with the outcome.
 */
extern void nexus_request_taker_take(NexusWorker *worker, const NexusTakenRequest *request);

#endif							/* NEXUS_WORKER_REQUEST_TAKER_H */
