/*
 * completion.h
 *	  A callback request: the outcome of an operation that was started.
 *
 * The Nexus specification, "Callback URLs"; doc/conformance.md, 44 to 58.
 */
#ifndef NEXUS_PROTOCOL_COMPLETION_H
#define NEXUS_PROTOCOL_COMPLETION_H

#include "protocol/failure.h"
#include "protocol/headers.h"
#include "protocol/payload.h"

typedef enum NexusCompletionState
{
	NEXUS_COMPLETION_SUCCEEDED,
	NEXUS_COMPLETION_FAILED,
	NEXUS_COMPLETION_CANCELED
} NexusCompletionState;

typedef struct NexusCompletion
{
	NexusCompletionState state;
	NexusText	token;			/* Nexus-Operation-Token, else -Id; len 0 =
								 * none */
	bool		has_start_time;
	int64_t		start_time;		/* microseconds since 1970 */
	bool		has_close_time;
	int64_t		close_time;
	NexusPayload payload;		/* of a success: views into the body */
	NexusBuffer failure;		/* of the others: JSON text, an OperationError */
	NexusBuffer links;			/* JSON array, empty where there were none */
} NexusCompletion;

extern void nexus_completion_init(NexusCompletion *completion);
extern void nexus_completion_free(NexusCompletion *completion);

/*
 * False, with the reason for a 400, where the request breaks the protocol:
 * bad state, times, links, an unsuccessful one that is not JSON, an over-long
 * token.  "completion" is reset first.
 */
extern bool nexus_completion_decode(const NexusHeaders *headers, NexusText body, size_t max_token_length,
									NexusCompletion *completion, NexusError *error);

#endif							/* NEXUS_PROTOCOL_COMPLETION_H */
