/*
 * await_rule.h
 *	  What somebody who awaits an operation sees, by the cancellation type that
 *	  it was scheduled with.
 *
 * The types shape what a waiter sees, not what is stored.  The documentation
 * of Temporal's SDKs, "cancellation type" of a Nexus operation.
 */
#ifndef NEXUS_PROTOCOL_AWAIT_RULE_H
#define NEXUS_PROTOCOL_AWAIT_RULE_H

#include <stdbool.h>

/* What schedule() was told; its words are those of the argument. */
typedef enum NexusCancellationType
{
	NEXUS_CANCELLATION_TYPE_WAIT_COMPLETED, /* the default */
	NEXUS_CANCELLATION_TYPE_ABANDON,
	NEXUS_CANCELLATION_TYPE_TRY_CANCEL,
	NEXUS_CANCELLATION_TYPE_WAIT_REQUESTED
} NexusCancellationType;

/* How far the cancellation of an operation has come, as it is stored. */
typedef enum NexusCancellationState
{
	NEXUS_CANCELLATION_NONE,	/* nobody has asked */
	NEXUS_CANCELLATION_REQUESTED,	/* waits for the start */
	NEXUS_CANCELLATION_SCHEDULED,
	NEXUS_CANCELLATION_BACKING_OFF,
	NEXUS_CANCELLATION_SUCCEEDED,	/* the handler has taken the request */
	NEXUS_CANCELLATION_FAILED,	/* it cannot be delivered, or was refused */
	NEXUS_CANCELLATION_ABANDONED	/* asked, and the handler is not told */
} NexusCancellationState;

typedef enum NexusAwaitEnd
{
	NEXUS_AWAIT_GOES_ON,
	NEXUS_AWAIT_OUTCOME,		/* the stored one */
	NEXUS_AWAIT_CANCELED,		/* canceled, although the operation goes on */
	NEXUS_AWAIT_CANCEL_FAILED	/* an error: the cancel request came to
								 * nothing, and the operation goes on */
} NexusAwaitEnd;

/*
 * Whether and how awaiting ends.  What has ended once never goes on again,
 * since no cancellation leaves the states "succeeded", "failed" and "abandoned".
 */
extern NexusAwaitEnd nexus_await_rule(bool is_closed, NexusCancellationType type, NexusCancellationState state);

/* The words for them; a state of nobody's asking has none: NULL. */
extern const char *nexus_cancellation_type_name(NexusCancellationType type);
extern const char *nexus_cancellation_state_name(NexusCancellationState state);

/* And back; a word that is none of them means the default, and that nobody asked. */
extern NexusCancellationType nexus_cancellation_type_of_name(const char *name);
extern NexusCancellationState nexus_cancellation_state_of_name(const char *name);

#endif							/* NEXUS_PROTOCOL_AWAIT_RULE_H */
