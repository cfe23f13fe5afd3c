/*
 * callback.h
 *	  A complete callback request on its way from http_server to worker_link.
 *
 * http_server owns it.  From nexus_worker_link_take until it is answered,
 * worker_link keeps it in a list and nobody else touches it.
 */
#ifndef NEXUS_LISTENER_CALLBACK_H
#define NEXUS_LISTENER_CALLBACK_H

#include "protocol/frame.h"

typedef struct NexusCallback
{
	NexusCompletionFrame frame; /* what the worker is told */
	int64_t		deadline_ms;	/* for the answer, on the loop's clock */

	/* worker_link's */
	uint64_t	correlation;
	struct NexusCallback *next;
	struct NexusCallback *previous;
} NexusCallback;

/* Answer a callback: an HTTP status and, unless it is 200, the reason. */
typedef void (*NexusCallbackAnswer) (void *arg, NexusCallback *callback, int status, NexusText message);

#endif							/* NEXUS_LISTENER_CALLBACK_H */
