/*
 * http_message.h
 *	  The HTTP requests of an operation: start and cancel.
 *
 * Buffers are kept and reused, so one message can be under construction at a
 * time; nexus_http_client_start() copies what it needs.
 */
#ifndef NEXUS_WORKER_HTTP_MESSAGE_H
#define NEXUS_WORKER_HTTP_MESSAGE_H

#include "store/due.h"
#include "worker/endpoint_queue.h"

/*
 * Fill in "request" for a start of "due" at "now"; the timeout is the
 * endpoint's, capped by what is left of the operation.  False, with a reason,
 * where the operation's own data make no valid request.
 */
extern bool nexus_http_message_start(const NexusWorker *worker, const NexusEndpointQueue *queue,
									 const NexusCaller *caller, const NexusDue *due, TimestampTz now,
									 NexusHttpRequest *request, NexusError *error);

/* The same for a cancel request. */
extern bool nexus_http_message_cancel(const NexusWorker *worker, const NexusEndpointQueue *queue,
									  const NexusCaller *caller, const NexusDue *due, TimestampTz now,
									  NexusHttpRequest *request, NexusError *error);

#endif							/* NEXUS_WORKER_HTTP_MESSAGE_H */
