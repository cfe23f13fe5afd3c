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

#include "lib/pairingheap.h"
#include "protocol/reply.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/dispatcher_internal.h"
#include "worker/http_message.h"
#include "worker/outcomes.h"

#define FAILURE_MAX (64 * 1024) /* of failures of our own making */

typedef enum CancelPhase
{
	CANCEL_DELAYED,				/* in delayed, until it is due */
	CANCEL_DUE,					/* in its endpoint's list */
	CANCEL_HELD,				/* in held, until the catalogs change */
	CANCEL_BUSY					/* in flight, or its outcome in the group */
} CancelPhase;

/* A cancel request that is to be sent, or on its way. */
typedef struct Cancel
{
	NexusUuid	id;				/* key */
	CancelPhase phase;
	dlist_node	node;			/* DUE, HELD */
	pairingheap_node delayed;	/* DELAYED */
	NexusEndpointQueue *queue;
	TimestampTz due;
	NexusDue   *operation;		/* loaded, about to be sent or in flight */
	TimestampTz sent_time;
	NexusBreakerTicket ticket;	/* what it was sent under; 0 = not sent */
	NexusWorker *worker;
} Cancel;

struct NexusCancellations
{
	NexusWorker *worker;
	HTAB	   *cancels;
	pairingheap *delayed;		/* the earliest one first */
	dlist_head	held;			/* their owners have no USAGE */
	NexusReply	reply;
};

static int
compare_due(const pairingheap_node * a, const pairingheap_node * b, void *arg)
{
	TimestampTz due_a = pairingheap_const_container(Cancel, delayed, a)->due;
	TimestampTz due_b = pairingheap_const_container(Cancel, delayed, b)->due;

	return due_a < due_b ? 1 : due_a > due_b ? -1 : 0;
}

NexusCancellations *
nexus_cancellations_create(NexusWorker *worker)
{
	NexusCancellations *cancellations = palloc0(sizeof(NexusCancellations));
	HASHCTL		control = {.keysize = sizeof(NexusUuid),.entrysize = sizeof(Cancel),
	.hcxt = CurrentMemoryContext};

	cancellations->worker = worker;
	cancellations->cancels = hash_create("nexus cancellations", 64, &control,
										 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	cancellations->delayed = pairingheap_allocate(compare_due, NULL);
	nexus_reply_init(&cancellations->reply);
	dlist_init(&cancellations->held);
	return cancellations;
}

static void
push_delayed(Cancel *cancel)
{
	cancel->phase = CANCEL_DELAYED;
	pairingheap_add(cancel->worker->cancellations->delayed, &cancel->delayed);
}

static void
push_due(Cancel *cancel)
{
	cancel->phase = CANCEL_DUE;
	dlist_push_tail(&cancel->queue->cancels, &cancel->node);
	cancel->queue->cancel_count++;
	nexus_endpoint_queue_rouse(cancel->queue);
}

static void
push_held(Cancel *cancel)
{
	cancel->phase = CANCEL_HELD;
	dlist_push_tail(&cancel->worker->cancellations->held, &cancel->node);
}

/* Out of wherever it waits. */
static void
take_out(Cancel *cancel)
{
	switch (cancel->phase)
	{
		case CANCEL_DELAYED:
			pairingheap_remove(cancel->worker->cancellations->delayed, &cancel->delayed);
			break;
		case CANCEL_DUE:
			dlist_delete(&cancel->node);
			cancel->queue->cancel_count--;
			break;
		case CANCEL_HELD:
			dlist_delete(&cancel->node);
			break;
		case CANCEL_BUSY:
			break;
	}
	cancel->phase = CANCEL_BUSY;
}

void
nexus_cancellation_schedule(NexusWorker *worker, const NexusUuid *id, const char *endpoint, TimestampTz due)
{
	bool		found;
	Cancel	   *cancel = hash_search(worker->cancellations->cancels, id, HASH_ENTER, &found);

	if (!found)
	{
		memset((char *) cancel + sizeof(NexusUuid), 0, sizeof(Cancel) - sizeof(NexusUuid));
		cancel->worker = worker;
		cancel->queue = nexus_dispatcher_queue(worker->dispatcher, endpoint);
		cancel->queue->users++;
	}
	else if (cancel->phase != CANCEL_DELAYED)
		return;					/* it is already due, or on its way */
	else
		take_out(cancel);
	cancel->due = due;
	push_delayed(cancel);
}

static void
forget(Cancel *cancel)
{
	if (cancel->operation != NULL)
		pfree(cancel->operation);
	take_out(cancel);
	cancel->queue->users--;
	hash_search(cancel->worker->cancellations->cancels, &cancel->id, HASH_REMOVE, NULL);
}

static Cancel *
first_delayed(const NexusCancellations *cancellations)
{
	if (pairingheap_is_empty(cancellations->delayed))
		return NULL;
	return pairingheap_container(Cancel, delayed, pairingheap_first(cancellations->delayed));
}

void
nexus_cancellations_take_due(NexusCancellations *cancellations)
{
	TimestampTz now = GetCurrentTimestamp();
	Cancel	   *cancel;

	while ((cancel = first_delayed(cancellations)) != NULL && cancel->due <= now)
	{
		take_out(cancel);
		push_due(cancel);
	}
}

TimestampTz
nexus_cancellations_next(const NexusCancellations *cancellations)
{
	const Cancel *cancel = first_delayed(cancellations);

	return cancel == NULL ? DT_NOEND : cancel->due;
}

void
nexus_cancellations_catalog_changed(NexusCancellations *cancellations)
{
	while (!dlist_is_empty(&cancellations->held))
	{
		Cancel	   *cancel = dlist_head_element(Cancel, node, &cancellations->held);

		take_out(cancel);
		push_due(cancel);
	}
}

/* ---- loading ---- */

static Cancel *
first_due(const NexusEndpointQueue *queue)
{
	return queue->cancel_count == 0 ? NULL
		: dlist_container(Cancel, node, dlist_head_node(unconstify(dlist_head *, &queue->cancels)));
}

/* All that is needed to send it is at hand, and as new as the catalogs. */
static bool
is_loaded(const Cancel *cancel)
{
	return cancel->operation != NULL && !cancel->queue->is_stale
		&& (cancel->queue->config == NULL || cancel->operation->is_closed
			|| nexus_endpoint_queue_known_caller(cancel->queue, cancel->operation->owner) != NULL);
}

bool
nexus_cancellations_want_load(const NexusEndpointQueue *queue)
{
	const Cancel *cancel = first_due(queue);

	return cancel != NULL && !is_loaded(cancel);
}

static void
take_operation(NexusDue *due, void *arg)
{
	NexusCancellations *cancellations = arg;
	Cancel	   *cancel = hash_search(cancellations->cancels, &due->id, HASH_FIND, NULL);

	if (cancel == NULL || cancel->phase == CANCEL_BUSY)
	{
		pfree(due);
		return;
	}
	cancel->operation = due;
	if (!due->is_closed && cancel->queue->config != NULL)
		(void) nexus_endpoint_queue_caller(cancel->queue, due->owner);
}

/* Those of one endpoint that are next, and are not loaded. */
static int
collect_of(const NexusEndpointQueue *queue, NexusUuid *ids, int max)
{
	int			left = nexus_endpoint_queue_room(queue) + LOAD_AHEAD;
	int			count = 0;
	dlist_iter	iter;

	dlist_foreach(iter, unconstify(dlist_head *, &queue->cancels))
	{
		Cancel	   *cancel = dlist_container(Cancel, node, iter.cur);

		if (left-- == 0 || count == max)
			break;
		if (is_loaded(cancel))
			continue;
		if (cancel->operation != NULL)
			pfree(cancel->operation);
		cancel->operation = NULL;
		ids[count++] = cancel->id;
	}
	return count;
}

void
nexus_cancellations_prepare(NexusCancellations *cancellations)
{
	NexusUuid  *ids = palloc(sizeof(NexusUuid) * LOAD_BATCH);
	NexusDispatcher *dispatcher = cancellations->worker->dispatcher;
	int			count = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &dispatcher->queues)
	{
		NexusEndpointQueue *queue = dlist_container(NexusEndpointQueue, node, iter.cur);

		if (nexus_cancellations_want_load(queue) && nexus_dispatcher_may_send(dispatcher, queue))
			count += collect_of(queue, ids + count, LOAD_BATCH - count);
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
	cancel->due = outcome->cancellation_next_time;
	push_delayed(cancel);
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

static void
start(Cancel *cancel, const NexusCaller *caller)
{
	NexusDue   *operation = cancel->operation;
	NexusEndpointQueue *queue = cancel->queue;
	NexusHttpRequest request;
	NexusError	error = {false, ""};

	take_out(cancel);
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
}

bool
nexus_cancellations_start_one(NexusEndpointQueue *queue)
{
	Cancel	   *cancel = first_due(queue);
	const NexusCaller *caller;

	if (cancel == NULL || !is_loaded(cancel))
		return false;
	caller = nexus_endpoint_queue_known_caller(queue, cancel->operation->owner);
	if (cancel->operation->is_closed || cancel->operation->state != NEXUS_STATE_STARTED)
		forget(cancel);
	else if (caller != NULL && caller->owner_exists && !caller->has_usage)
	{
		take_out(cancel);
		push_held(cancel);
	}
	else
		start(cancel, caller);
	return true;
}
