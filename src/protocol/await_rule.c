/*
 * await_rule.c
 *	  What a waiter sees of an operation that is being canceled.
 */
#include "protocol/await_rule.h"

#include <stddef.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static const char *const type_names[] = {
	[NEXUS_CANCELLATION_TYPE_WAIT_COMPLETED] = "wait_cancellation_completed",
	[NEXUS_CANCELLATION_TYPE_ABANDON] = "abandon",
	[NEXUS_CANCELLATION_TYPE_TRY_CANCEL] = "try_cancel",
	[NEXUS_CANCELLATION_TYPE_WAIT_REQUESTED] = "wait_cancellation_requested"
};

static const char *const state_names[] = {
	[NEXUS_CANCELLATION_NONE] = NULL,
	[NEXUS_CANCELLATION_REQUESTED] = "requested",
	[NEXUS_CANCELLATION_SCHEDULED] = "scheduled",
	[NEXUS_CANCELLATION_BACKING_OFF] = "backing_off",
	[NEXUS_CANCELLATION_SUCCEEDED] = "succeeded",
	[NEXUS_CANCELLATION_FAILED] = "failed",
	[NEXUS_CANCELLATION_ABANDONED] = "abandoned"
};

/* Who waits for the request to be delivered sees what became of the request. */
static NexusAwaitEnd
wait_requested(NexusCancellationState state)
{
	switch (state)
	{
		case NEXUS_CANCELLATION_SUCCEEDED:
		case NEXUS_CANCELLATION_ABANDONED:
			return NEXUS_AWAIT_CANCELED;
		case NEXUS_CANCELLATION_FAILED:
			return NEXUS_AWAIT_CANCEL_FAILED;
		case NEXUS_CANCELLATION_NONE:
		case NEXUS_CANCELLATION_REQUESTED:
		case NEXUS_CANCELLATION_SCHEDULED:
		case NEXUS_CANCELLATION_BACKING_OFF:
			break;
	}
	return NEXUS_AWAIT_GOES_ON;
}

NexusAwaitEnd
nexus_await_rule(bool is_closed, NexusCancellationType type, NexusCancellationState state)
{
	if (is_closed)
		return NEXUS_AWAIT_OUTCOME;
	switch (type)
	{
		case NEXUS_CANCELLATION_TYPE_WAIT_COMPLETED:
			break;
		case NEXUS_CANCELLATION_TYPE_ABANDON:
		case NEXUS_CANCELLATION_TYPE_TRY_CANCEL:
			return state == NEXUS_CANCELLATION_NONE ? NEXUS_AWAIT_GOES_ON : NEXUS_AWAIT_CANCELED;
		case NEXUS_CANCELLATION_TYPE_WAIT_REQUESTED:
			return wait_requested(state);
	}
	return NEXUS_AWAIT_GOES_ON;
}

const char *
nexus_cancellation_type_name(NexusCancellationType type)
{
	return type_names[type];
}

const char *
nexus_cancellation_state_name(NexusCancellationState state)
{
	return state_names[state];
}

NexusCancellationType
nexus_cancellation_type_of_name(const char *name)
{
	for (size_t i = 0; i < LENGTH(type_names); i++)
	{
		if (name != NULL && strcmp(type_names[i], name) == 0)
			return (NexusCancellationType) i;
	}
	return NEXUS_CANCELLATION_TYPE_WAIT_COMPLETED;
}

NexusCancellationState
nexus_cancellation_state_of_name(const char *name)
{
	for (size_t i = 0; i < LENGTH(state_names); i++)
	{
		if (name != NULL && state_names[i] != NULL && strcmp(state_names[i], name) == 0)
			return (NexusCancellationState) i;
	}
	return NEXUS_CANCELLATION_NONE;
}
