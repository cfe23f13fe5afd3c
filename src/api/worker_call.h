/*
 * worker_call.h
 *	  Ask this database's worker something over its local socket.
 */
#ifndef NEXUS_API_WORKER_CALL_H
#define NEXUS_API_WORKER_CALL_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "protocol/frame.h"

typedef enum NexusCallResult
{
	NEXUS_CALL_ANSWERED,
	NEXUS_CALL_LOST,			/* the connection: asked or not, nobody knows */
	NEXUS_CALL_TIMED_OUT
} NexusCallResult;

/*
 * A buffer for frames that is freed with the current memory context.  It holds
 * as much as a worker takes.
 */
extern NexusBuffer *nexus_worker_call_buffer(void);

/* The correlation of the next call. */
extern uint64 nexus_worker_call_next(void);

/*
 * Send one frame made with "correlation" and wait for its answer, which is a
 * view that holds until the next call.  A worker that is starting is waited for;
 * where it cannot run NX010 is raised, and nothing was sent by this call.
 * Interruptible: an error raised after sending has "doubt" as its DETAIL and
 * "remedy" as its HINT (both may be NULL).
 */
extern NexusCallResult nexus_worker_call(const NexusBuffer *frame, uint64 correlation, NexusFrameKind answer_kind,
										 TimestampTz deadline, const char *doubt, const char *remedy,
										 NexusFrame *answer);

#endif							/* NEXUS_API_WORKER_CALL_H */
