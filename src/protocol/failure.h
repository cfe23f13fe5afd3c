/*
 * failure.h
 *	  The Failure object of Nexus: decode, classify, encode.
 *
 * A failure lives here as JSON text (UTF-8, ASCII-escaped), the form in which
 * it is stored; json_t never leaves this folder.
 */
#ifndef NEXUS_PROTOCOL_FAILURE_H
#define NEXUS_PROTOCOL_FAILURE_H

#include "protocol/buffer.h"
#include "protocol/error.h"

#define NEXUS_FAILURE_MAX_DEPTH 100 /* of JSON; deeper ones are not read */

/* For the buffers of callers: ASCII escapes make a body up to six times as long. */
#define NEXUS_FAILURE_MAX_BYTES (128 * 1024 * 1024)

typedef enum NexusFailureKind
{
	NEXUS_FAILURE_PLAIN,		/* any other Failure object */
	NEXUS_FAILURE_HANDLER_ERROR,	/* metadata.type nexus.HandlerError */
	NEXUS_FAILURE_OPERATION_ERROR	/* metadata.type nexus.OperationError */
} NexusFailureKind;

typedef enum NexusRetryable
{
	NEXUS_RETRYABLE_UNSPECIFIED,
	NEXUS_RETRYABLE_YES,
	NEXUS_RETRYABLE_NO
} NexusRetryable;

typedef enum NexusOperationError
{
	NEXUS_OPERATION_ERROR_NONE,
	NEXUS_OPERATION_ERROR_FAILED,
	NEXUS_OPERATION_ERROR_CANCELED
} NexusOperationError;

/* What a decoded Failure says of itself. */
typedef struct NexusFailureInfo
{
	bool		is_parsed;		/* JSON of the right shape, whatever else is
								 * wrong */
	NexusFailureKind kind;
	char		type[64];		/* handler error type, "BAD_REQUEST"; else "" */
	NexusRetryable retryable;	/* retryableOverride of a handler error */
	NexusOperationError state;	/* details.state of an operation error */
} NexusFailureInfo;

/*
 * Read a Failure object and append it to "out", re-encoded.  False where it
 * is no JSON object (null counts as an empty one), is too deep, or is of one of
 * the two nexus types without an object as details (section 2.3).
 */
extern bool nexus_failure_decode(NexusText json, NexusFailureInfo *info, NexusBuffer *out, NexusError *error);

/*
 * Read the failure of an operation that did not succeed and append it to "out"
 * as an OperationError: one that is an OperationError already stays, without
 * the marker "unwrap-error", anything else becomes the cause of a new one.
 * *state comes in as what the headers say and goes out as what holds: details
 * of an OperationError win unless "is_header_stronger".  False as for
 * nexus_failure_decode, and where no state is known.
 */
extern bool nexus_failure_decode_outcome(NexusText json, bool is_header_stronger,
										 NexusOperationError *state, NexusBuffer *out, NexusError *error);

/* The state that a Nexus-Operation-State header names; NONE for any other value. */
extern NexusOperationError nexus_failure_state_of_name(NexusText name);

/*
 * Append a HandlerError: type, message, optional override, optional cause
 * (JSON text of a Failure; len 0 for none).
 */
extern bool nexus_failure_encode_handler_error(NexusBuffer *out, const char *type, NexusText message,
											   NexusRetryable retryable, NexusText cause);

/* Append an OperationError around a cause. */
extern bool nexus_failure_encode_operation_error(NexusBuffer *out, NexusOperationError state,
												 NexusText message, NexusText cause);

/* Append {"message": ...}; bytes that are not UTF-8 are replaced. */
extern bool nexus_failure_encode_message(NexusBuffer *out, NexusText message);

/* Which time ran out (temporal.api.enums.v1.TimeoutType). */
typedef enum NexusTimeoutType
{
	NEXUS_TIMEOUT_SCHEDULE_TO_CLOSE,
	NEXUS_TIMEOUT_SCHEDULE_TO_START,
	NEXUS_TIMEOUT_START_TO_CLOSE
} NexusTimeoutType;

/*
 * Failures of our own making, in the shape of temporal.api.failure.v1.Failure
 * so that a reader needs to know one vocabulary.
 */
extern bool nexus_failure_encode_timeout(NexusBuffer *out, NexusTimeoutType type, NexusText message);
extern bool nexus_failure_encode_canceled(NexusBuffer *out, NexusText message);
extern bool nexus_failure_encode_terminated(NexusBuffer *out, NexusText message, NexusText identity);

/* Handler error type of an HTTP status ("INTERNAL"); NULL where it has none. */
extern const char *nexus_failure_type_of_status(int status);

/* HTTP status of a handler error type; 500 for an unknown one. */
extern int	nexus_failure_status_of_type(NexusText type);

/* Whether a type is retried when nothing overrides it; unknown ones are. */
extern bool nexus_failure_is_retryable(const char *type);

#endif							/* NEXUS_PROTOCOL_FAILURE_H */
