/*
 * cancellation.c
 *	  Cancel requests to handlers.
 *
 * They share the limits of their endpoint with its start requests, and its
 * retry policy.  A cancellation that cannot be delivered leaves its operation
 * as it is.
 */
#include "postgres.h"

#include "worker/cancellation.h"

#include "config.h"
#include "protocol/reply.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/dispatcher_internal.h"
#include "worker/http_message.h"
#include "worker/outcomes.h"

#define FAILURE_MAX (64 * 1024) /* of failures of our own making */

/* A cancel request that is to be sent, or on its way. */
typedef struct Cancel
{
	NexusUuid	id;				/* key */
	dlist_node	node;
	NexusEndpointQueue *queue;
	TimestampTz due;
	NexusDue   *operation;		/* loaded, about to be sent or in flight */
	bool		is_busy;		/* in flight, or its outcome in the group */
	TimestampTz sent_time;
	NexusBreakerTicket ticket;	/* what it was sent under; 0 = not sent */
	NexusWorker *worker;
} Cancel;

struct NexusCancellations
{
	NexusWorker *worker;
	HTAB	   *cancels;
	dlist_head	waiting;		/* not in flight, in no order */
	NexusReply	reply;
	TimestampTz next;			/* when the earliest that is not due yet will
								 * be */
	bool		has_due;		/* some are due, and were held back at the
								 * last look */
};

NexusCancellations *
nexus_cancellations_create(NexusWorker *worker)
{
	NexusCancellations *cancellations = palloc0(sizeof(NexusCancellations));
	HASHCTL		control = {.keysize = sizeof(NexusUuid),.entrysize = sizeof(Cancel),
	.hcxt = CurrentMemoryContext};

	cancellations->worker = worker;
	cancellations->cancels = hash_create("nexus cancellations", 64, &control,
										 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	cancellations->next = DT_NOEND;
	nexus_reply_init(&cancellations->reply);
	dlist_init(&cancellations->waiting);
	return cancellations;
}

static void
push_waiting(Cancel *cancel)
{
	dlist_push_tail(&cancel->worker->cancellations->waiting, &cancel->node);
	cancel->queue->cancels++;
}

static void
unlink_waiting(Cancel *cancel)
{
	dlist_delete(&cancel->node);
	cancel->queue->cancels--;
}

void
nexus_cancellation_schedule(NexusWorker *worker, const NexusUuid *id, const char *endpoint, TimestampTz due)
{
	NexusCancellations *cancellations = worker->cancellations;
	bool		found;
	Cancel	   *cancel = hash_search(cancellations->cancels, id, HASH_ENTER, &found);

	if (!found)
	{
		memset((char *) cancel + sizeof(NexusUuid), 0, sizeof(Cancel) - sizeof(NexusUuid));
		cancel->worker = worker;
		cancel->queue = nexus_dispatcher_queue(worker->dispatcher, endpoint);
		cancel->queue->users++;
		push_waiting(cancel);
	}
	cancel->due = due;
	cancellations->next = Min(cancellations->next, due);
}

static void
forget(Cancel *cancel)
{
	if (cancel->operation != NULL)
		pfree(cancel->operation);
	if (!cancel->is_busy)
		unlink_waiting(cancel);
	cancel->queue->users--;
	hash_search(cancel->worker->cancellations->cancels, &cancel->id, HASH_REMOVE, NULL);
}

/* All that is needed to send it is at hand, and as new as the catalogs. */
static bool
is_loaded(const Cancel *cancel)
{
	return cancel->operation != NULL && !cancel->queue->is_stale
		&& (cancel->queue->config == NULL || cancel->operation->is_closed
			|| nexus_endpoint_queue_known_caller(cancel->queue, cancel->operation->owner) != NULL);
}

/* Its time has come, and its endpoint takes requests. */
static bool
is_sendable(const Cancel *cancel, TimestampTz now)
{
	return cancel->due <= now && nexus_endpoint_queue_admits(cancel->queue, cancel->worker);
}

bool
nexus_cancellations_need_transaction(NexusCancellations *cancellations)
{
	TimestampTz now = GetCurrentTimestamp();
	dlist_iter	iter;

	if (cancellations->next > now && !cancellations->has_due)
		return false;
	dlist_foreach(iter, &cancellations->waiting)
	{
		Cancel	   *cancel = dlist_container(Cancel, node, iter.cur);

		if (!is_loaded(cancel) && is_sendable(cancel, now))
			return true;
	}
	return false;
}

static void
take_operation(NexusDue *due, void *arg)
{
	NexusCancellations *cancellations = arg;
	Cancel	   *cancel = hash_search(cancellations->cancels, &due->id, HASH_FIND, NULL);

	if (cancel == NULL || cancel->is_busy)
	{
		pfree(due);
		return;
	}
	cancel->operation = due;
	if (!due->is_closed && cancel->queue->config != NULL)
		(void) nexus_endpoint_queue_caller(cancel->queue, due->owner);
}

void
nexus_cancellations_prepare(NexusCancellations *cancellations)
{
	NexusUuid  *ids = palloc(sizeof(NexusUuid) * LOAD_BATCH);
	TimestampTz now = GetCurrentTimestamp();
	int			count = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &cancellations->waiting)
	{
		Cancel	   *cancel = dlist_container(Cancel, node, iter.cur);

		if (is_loaded(cancel) || count == LOAD_BATCH || !is_sendable(cancel, now))
			continue;
		if (cancel->operation != NULL)
			pfree(cancel->operation);
		cancel->operation = NULL;
		ids[count++] = cancel->id;
	}
	if (count > 0)
		nexus_due_load(ids, count, 0, cancellations->worker->context, take_operation, cancellations);
	for (int i = 0; i < count; i++)
	{
		Cancel	   *cancel = hash_search(cancellations->cancels, &ids[i], HASH_FIND, NULL);

		if (cancel->operation == NULL)
			forget(cancel);		/* the row is gone */
	}
}

/* ---- outcomes ---- */

static void
on_cancel_settled(NexusOutcome *outcome, void *arg)
{
	NexusWorker *worker = arg;
	NexusCancellations *cancellations = worker->cancellations;
	Cancel	   *cancel = hash_search(cancellations->cancels, &outcome->id, HASH_FIND, NULL);

	if (cancel == NULL)
		return;
	if (outcome->disposition != NEXUS_DISPOSITION_APPLIED || outcome->cancellation_next_time == 0)
	{
		forget(cancel);
		return;
	}
	cancel->is_busy = false;
	push_waiting(cancel);
	nexus_cancellation_schedule(worker, &outcome->id, cancel->queue->name, outcome->cancellation_next_time);
}

static NexusOutcome *
add_outcome(Cancel *cancel, const char *state)
{
	NexusOutcome *outcome = nexus_group_add(cancel->worker->group, NEXUS_OUTCOME_CANCELLATION, &cancel->id,
											cancel->queue->name);

	outcome->cancellation_state = state;
	outcome->cancellation_attempt = cancel->operation->cancellation_attempt + 1;
	outcome->cancellation_complete_time = GetCurrentTimestamp();
	outcome->on_settled = on_cancel_settled;
	outcome->arg = cancel->worker;
	pfree(cancel->operation);
	cancel->operation = NULL;
	nexus_endpoint_queue_note_result(cancel->queue, cancel->ticket, strcmp(state, "backing_off") == 0);
	return outcome;
}

static void
attempt_failed(Cancel *cancel, const NexusHttpResult *result, NexusText failure, bool is_retryable)
{
	NexusOutcome *outcome = add_outcome(cancel, is_retryable ? "backing_off" : "failed");

	outcome->cancellation_failure = nexus_outcomes_jsonb(cancel->worker, failure);
	if (is_retryable)
		outcome->cancellation_next_time =
			nexus_endpoint_queue_next_attempt(cancel->queue, outcome->cancellation_attempt, result->headers,
											  outcome->cancellation_complete_time);
	outcome->failed_attempt.kind = "cancel";
	outcome->failed_attempt.attempt = outcome->cancellation_attempt;
	outcome->failed_attempt.started_time = cancel->sent_time;
	outcome->failed_attempt.duration_us = result->elapsed_us;
	outcome->failed_attempt.http_status = result->status;
	outcome->failed_attempt.is_retryable = is_retryable;
	outcome->failed_attempt.failure = outcome->cancellation_failure;
}

static void
fail_with_message(Cancel *cancel, const NexusHttpResult *result, bool is_retryable)
{
	NexusBuffer failure;

	nexus_buffer_init(&failure, FAILURE_MAX);
	nexus_failure_encode_message(&failure, nexus_text_of(result->error));
	attempt_failed(cancel, result, nexus_buffer_view(&failure), is_retryable);
	nexus_buffer_free(&failure);
}

/* It cannot be sent at all: a handler error of our own making. */
static void
refuse(Cancel *cancel, const char *type, const char *message)
{
	NexusHttpResult result = {.outcome = NEXUS_HTTP_REFUSED,.error = message};
	NexusBuffer failure;

	nexus_buffer_init(&failure, FAILURE_MAX);
	nexus_failure_encode_handler_error(&failure, type, nexus_text_of(message), NEXUS_RETRYABLE_NO,
									   nexus_text_make("", 0));
	attempt_failed(cancel, &result, nexus_buffer_view(&failure), false);
	nexus_buffer_free(&failure);
}

/* The time of its operation ran out first. */
static void
time_out(Cancel *cancel)
{
	const NexusDue *operation = cancel->operation;
	NexusHttpResult result = {.outcome = NEXUS_HTTP_REFUSED,.error = ""};
	NexusTimeoutType type = nexus_outcomes_timeout_type(NEXUS_STATE_STARTED, operation->scheduled_time,
														operation->started_time, operation->schedule_to_close, 0,
														operation->start_to_close);
	NexusBuffer failure;

	nexus_buffer_init(&failure, FAILURE_MAX);
	nexus_failure_encode_timeout(&failure, type,
								 nexus_text_of("operation timed out before cancellation could be delivered"));
	attempt_failed(cancel, &result, nexus_buffer_view(&failure), false);
	nexus_buffer_free(&failure);
}

static void
on_cancel_done(void *arg, const NexusHttpResult *result)
{
	Cancel	   *cancel = arg;
	NexusWorker *worker = cancel->worker;
	NexusReply *reply = &worker->cancellations->reply;
	MemoryContext old = MemoryContextSwitchTo(worker->scratch);

	nexus_dispatcher_add_in_flight(worker->dispatcher, cancel->queue, -1);
	if (result->outcome != NEXUS_HTTP_ANSWERED)
		fail_with_message(cancel, result, result->outcome != NEXUS_HTTP_REFUSED);
	else
	{
		nexus_reply_decode_cancel(result->status, result->headers, result->body, reply);
		if (reply->kind == NEXUS_REPLY_CANCEL_ACCEPTED)
			(void) add_outcome(cancel, "succeeded");
		else
			attempt_failed(cancel, result, nexus_buffer_view(&reply->failure), reply->is_retryable);
	}
	MemoryContextSwitchTo(old);
}

/* ---- sending ---- */

static void
send_cancel(Cancel *cancel, const NexusHttpRequest *request)
{
	NexusHttpResult result = {.outcome = NEXUS_HTTP_FAILED,.error = "out of memory"};

	if (nexus_http_client_start(cancel->worker->http, request, on_cancel_done, cancel) == NULL)
		fail_with_message(cancel, &result, true);
	else
	{
		cancel->ticket = nexus_endpoint_queue_note_sent(cancel->queue, cancel->sent_time);
		nexus_dispatcher_add_in_flight(cancel->worker->dispatcher, cancel->queue, 1);
	}
}

/* False where it must wait for another turn. */
static bool
start(Cancel *cancel)
{
	NexusDue   *operation = cancel->operation;
	NexusEndpointQueue *queue = cancel->queue;
	NexusCaller *caller;
	NexusHttpRequest request;
	NexusError	error = {false, ""};

	if (operation->is_closed || operation->state != NEXUS_STATE_STARTED)
	{
		forget(cancel);
		return true;
	}
	caller = nexus_endpoint_queue_known_caller(queue, operation->owner);
	if (!is_loaded(cancel) || (caller != NULL && caller->owner_exists && !caller->has_usage))
		return false;

	unlink_waiting(cancel);
	cancel->is_busy = true;
	cancel->ticket = 0;
	cancel->sent_time = GetCurrentTimestamp();
	if (queue->config == NULL)
		refuse(cancel, "NOT_FOUND", "endpoint not registered");
	else if (!caller->owner_exists)
		refuse(cancel, "UNAUTHORIZED", "the operation's owner no longer exists");
	else if (operation->deadline <= cancel->sent_time)
		time_out(cancel);
	else if (caller->reason != NULL)
	{
		NexusHttpResult result = {.outcome = NEXUS_HTTP_FAILED,.error = caller->reason};

		fail_with_message(cancel, &result, true);
	}
	else if (!nexus_http_message_cancel(cancel->worker, queue, caller, operation, cancel->sent_time, &request, &error))
		refuse(cancel, "BAD_REQUEST", error.message);
	else
		send_cancel(cancel, &request);
	return true;
}

void
nexus_cancellations_start_due(NexusCancellations *cancellations)
{
	TimestampTz now = GetCurrentTimestamp();
	dlist_mutable_iter iter;

	if (cancellations->next > now && !cancellations->has_due)
		return;
	cancellations->next = DT_NOEND;
	cancellations->has_due = false;
	dlist_foreach_modify(iter, &cancellations->waiting)
	{
		Cancel	   *cancel = dlist_container(Cancel, node, iter.cur);
		TimestampTz due = cancel->due;

		if (cancel->operation != NULL && is_sendable(cancel, now)
			&& nexus_dispatcher_in_flight(cancellations->worker->dispatcher) < nexus_max_in_flight && start(cancel))
			continue;
		if (due > now)
			cancellations->next = Min(cancellations->next, due);
		else if (!is_loaded(cancel) && is_sendable(cancel, now))
			cancellations->next = now;	/* beyond the batch, or the catalogs
										 * changed: read it */
		else
			cancellations->has_due = true;	/* looked at each turn: no time of
											 * its own */
	}
}

TimestampTz
nexus_cancellations_next(const NexusCancellations *cancellations)
{
	return cancellations->next;
}
