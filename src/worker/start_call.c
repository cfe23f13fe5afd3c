/*
 * start_call.c
 *	  One start request and what its reply means.
 */
#include "postgres.h"

#include "config.h"
#include "protocol/url.h"
#include "shared/stats.h"
#include "shared/worker_registry.h"
#include "store/failure_reader.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/cancellation.h"
#include "worker/deadlines.h"
#include "worker/dispatcher_internal.h"
#include "worker/http_message.h"
#include "worker/outcomes.h"

#define FAILURE_MAX (64 * 1024) /* of failures of our own making */

/* ---- the count of what is in flight ---- */

void
nexus_dispatcher_leave_flight(NexusDispatcher *dispatcher, NexusCall *call)
{
	call->http = NULL;
	call->phase = NEXUS_CALL_SETTLING;
	dispatcher->starts_in_flight--;
	nexus_dispatcher_add_in_flight(dispatcher, call->queue, -1);
}

void
nexus_dispatcher_add_in_flight(NexusDispatcher *dispatcher, NexusEndpointQueue *queue, int change)
{
	dispatcher->in_flight += change;
	nexus_endpoint_queue_add_in_flight(queue, change);
}

void
nexus_dispatcher_count_attempt(NexusDispatcher *dispatcher, const NexusCall *call, int64 elapsed_us, bool is_failure)
{
	NexusGroup *group = dispatcher->worker->group;
	NexusOutcome *outcome = nexus_group_add(group, NEXUS_OUTCOME_NOTHING, &call->id, NULL);

	/* the call may be forgotten before the commit, and its endpoint with it */
	outcome->endpoint = MemoryContextStrdup(nexus_group_context(group), call->queue->name);
	outcome->attempts_made = 1;
	outcome->attempt_failed = is_failure;
	outcome->attempt_time_us = elapsed_us;
}

/* ---- callback bases that were not known at schedule ---- */

void
nexus_dispatcher_give_base(NexusDispatcher *dispatcher, NexusCall *call)
{
	NexusBuffer base;

	nexus_buffer_init(&base, NEXUS_CALLBACK_URL_MAX);
	if (nexus_endpoint_callback_base(call->queue->config, nexus_worker_registry_listener_port(), &base)
		&& dispatcher->baseless_count < BASELESS_MAX)
	{
		NexusDue   *due = nexus_due_with_base(call->due, base.data, dispatcher->context);

		/* of the same size, as far as its input goes */
		pfree(call->due);
		call->due = due;
		dispatcher->baseless[dispatcher->baseless_count] = call->id;
		dispatcher->baseless_queue[dispatcher->baseless_count++] = call->queue;
	}
	else
		nexus_dispatcher_hold(dispatcher, call);
	nexus_buffer_free(&base);
}

void
nexus_dispatcher_store_bases(NexusDispatcher *dispatcher)
{
	/* one endpoint's at a time: they share a base */
	for (int i = 0; i < dispatcher->baseless_count;)
	{
		NexusEndpointQueue *queue = dispatcher->baseless_queue[i];
		const NexusCall *call = nexus_dispatcher_find(dispatcher, &dispatcher->baseless[i]);
		int			n = 1;

		while (i + n < dispatcher->baseless_count && dispatcher->baseless_queue[i + n] == queue)
			n++;
		nexus_due_store_callback_base(&dispatcher->baseless[i], n, call->due->callback_base);
		i += n;
	}
}

void
nexus_dispatcher_undo_bases(NexusDispatcher *dispatcher)
{
	for (int i = 0; i < dispatcher->baseless_count; i++)
	{
		NexusCall  *call = nexus_dispatcher_find(dispatcher, &dispatcher->baseless[i]);

		if (call != NULL && call->phase == NEXUS_CALL_LOADED)
		{
			nexus_endpoint_queue_rewind(call->queue);
			nexus_dispatcher_forget(dispatcher, call);
		}
	}
	dispatcher->baseless_count = 0;
}

bool
nexus_dispatcher_waits_for_listener(const NexusCall *call)
{
	return call->queue->own_base != NULL && call->due->callback_base != NULL
		&& strcmp(call->queue->own_base, call->due->callback_base) == 0
		&& !nexus_worker_registry_listener_is_up();
}

/* ---- outcomes ---- */

static void
on_call_settled(NexusOutcome *outcome, void *arg)
{
	NexusDispatcher *dispatcher = arg;
	NexusCall  *call = nexus_dispatcher_find(dispatcher, &outcome->id);
	NexusEndpointQueue *queue = call->queue;

	/*
	 * not even its failure could be written: it stays in the table, to be
	 * tried when something changes
	 */
	if (outcome->disposition == NEXUS_DISPOSITION_REJECTED)
		queue->has_held = true;
	if (outcome->disposition == NEXUS_DISPOSITION_APPLIED)
	{
		if (outcome->kind == NEXUS_OUTCOME_PROGRESS && outcome->state == NEXUS_STATE_BACKING_OFF)
			nexus_endpoint_queue_note_retry(queue, outcome->next_attempt_schedule_time);
		else if (outcome->is_cancel_due)
			nexus_cancellation_schedule(dispatcher->worker, &outcome->id, queue->name, 0);
		if (outcome->kind == NEXUS_OUTCOME_PROGRESS)
			nexus_deadlines_note(dispatcher->worker->deadlines, outcome->deadline);
	}
	nexus_dispatcher_settled(dispatcher, &outcome->id);
}

/* An outcome of this call; it is settling until the commit. */
static NexusOutcome *
add_outcome(NexusDispatcher *dispatcher, NexusCall *call, NexusOutcomeKind kind, NexusState state)
{
	NexusOutcome *outcome = nexus_group_add(dispatcher->worker->group, kind, &call->id, call->queue->name);

	outcome->state = state;
	outcome->attempt = call->due->attempt + 1;
	outcome->on_settled = on_call_settled;
	outcome->arg = dispatcher;
	if (call->queue->queued_count + call->queue->loaded_count > 0)
		nexus_group_be_patient(dispatcher->worker->group, outcome);
	call->settling++;
	call->phase = NEXUS_CALL_SETTLING;
	return outcome;
}

/* Fail an operation for a reason of ours, without any attempt. */
static void
fail_unsent(NexusDispatcher *dispatcher, NexusCall *call, const char *type, const char *message)
{
	NexusOutcome *outcome = add_outcome(dispatcher, call, NEXUS_OUTCOME_CLOSE, NEXUS_STATE_FAILED);
	NexusBuffer failure;

	nexus_buffer_init(&failure, FAILURE_MAX);
	nexus_failure_encode_handler_error(&failure, type, nexus_text_of(message), NEXUS_RETRYABLE_NO,
									   nexus_text_make("", 0));
	outcome->attempt = call->due->attempt;
	outcome->failure = nexus_outcomes_jsonb(dispatcher->worker, nexus_buffer_view(&failure));
	nexus_buffer_free(&failure);
}

/* The endpoint's live "last failure": one sentence, kept as a hint. */
static void
note_failure(NexusEndpointQueue *queue, Datum failure, TimestampTz now)
{
	const char *message = nexus_failure_reader_message(failure);

	nexus_stats_set_failure(queue->stats_slot, message == NULL ? "" : message, now);
}

/* The attempt failed; it is tried again, or the operation fails with it. */
static void
attempt_failed(NexusDispatcher *dispatcher, NexusCall *call, const NexusHttpResult *result, NexusText failure,
			   bool is_retryable)
{
	TimestampTz now = GetCurrentTimestamp();
	NexusOutcome *outcome = add_outcome(dispatcher, call,
										is_retryable ? NEXUS_OUTCOME_PROGRESS : NEXUS_OUTCOME_CLOSE,
										is_retryable ? NEXUS_STATE_BACKING_OFF : NEXUS_STATE_FAILED);

	outcome->attempts_made = 1;
	outcome->attempt_failed = true;
	outcome->attempt_time_us = result->elapsed_us;
	outcome->last_attempt_complete_time = now;
	outcome->failure = nexus_outcomes_jsonb(dispatcher->worker, failure);
	outcome->deadline = call->due->deadline;
	if (is_retryable)
		outcome->next_attempt_schedule_time =
			nexus_endpoint_queue_next_attempt(call->queue, outcome->attempt, result->headers, now);
	outcome->failed_attempt.kind = "start";
	outcome->failed_attempt.attempt = outcome->attempt;
	outcome->failed_attempt.started_time = call->sent_time;
	outcome->failed_attempt.duration_us = result->elapsed_us;
	outcome->failed_attempt.http_status = result->status;
	outcome->failed_attempt.is_retryable = is_retryable;
	outcome->failed_attempt.failure = outcome->failure;
	note_failure(call->queue, outcome->failure, now);
	nexus_endpoint_queue_note_result(call->queue, call->ticket, is_retryable);
}

static void
transport_failed(NexusDispatcher *dispatcher, NexusCall *call, const NexusHttpResult *result)
{
	NexusBuffer failure;

	nexus_buffer_init(&failure, FAILURE_MAX);
	nexus_failure_encode_message(&failure, nexus_text_of(result->error));
	attempt_failed(dispatcher, call, result, nexus_buffer_view(&failure), result->outcome != NEXUS_HTTP_REFUSED);
	nexus_buffer_free(&failure);
}

static void
started(NexusDispatcher *dispatcher, NexusCall *call, const NexusHttpResult *result)
{
	const NexusReply *reply = &dispatcher->reply;
	const NexusDue *due = call->due;
	char	   *token = nexus_outcomes_token(dispatcher->worker, nexus_buffer_view(&reply->token));
	NexusOutcome *outcome;

	if (token == NULL)
	{
		attempt_failed(dispatcher, call, result,
					   nexus_text_of("{\"message\": \"the operation token cannot be stored in this database\"}"), true);
		return;
	}
	nexus_endpoint_queue_note_result(call->queue, call->ticket, false);
	outcome = add_outcome(dispatcher, call, NEXUS_OUTCOME_PROGRESS, NEXUS_STATE_STARTED);
	outcome->started_time = outcome->last_attempt_complete_time = GetCurrentTimestamp();
	outcome->operation_token = token;
	outcome->links = nexus_outcomes_jsonb(dispatcher->worker, nexus_buffer_view(&reply->links));
	outcome->deadline = nexus_operation_deadline(NEXUS_STATE_STARTED, due->scheduled_time, outcome->started_time,
												 due->schedule_to_close, due->schedule_to_start,
												 due->start_to_close);
	outcome->attempts_made = 1;
	outcome->attempt_time_us = result->elapsed_us;
}

static void
closed(NexusDispatcher *dispatcher, NexusCall *call, const NexusHttpResult *result, NexusState state)
{
	const NexusReply *reply = &dispatcher->reply;
	NexusOutcome *outcome = add_outcome(dispatcher, call, NEXUS_OUTCOME_CLOSE, state);

	nexus_endpoint_queue_note_result(call->queue, call->ticket, false);
	outcome->last_attempt_complete_time = GetCurrentTimestamp();
	outcome->links = nexus_outcomes_jsonb(dispatcher->worker, nexus_buffer_view(&reply->links));
	outcome->attempts_made = 1;
	outcome->attempt_time_us = result->elapsed_us;
	if (state == NEXUS_STATE_SUCCEEDED)
		nexus_outcomes_set_payload(dispatcher->worker, outcome, &reply->payload);
	else
		outcome->failure = nexus_outcomes_jsonb(dispatcher->worker, nexus_buffer_view(&reply->failure));
}

/* A result over the limit fails cleanly: trying again would bring it again. */
static bool
is_over_limit(NexusDispatcher *dispatcher, const NexusHttpResult *result)
{
	return result->outcome == NEXUS_HTTP_TOO_LARGE
		|| (result->status == 200 && dispatcher->reply.payload.data.len > (size_t) nexus_max_payload_size);
}

static void
too_large(NexusDispatcher *dispatcher, NexusCall *call, const NexusHttpResult *result)
{
	char	   *message = psprintf("the reply is larger than nexus_pg.max_payload_size (%d bytes)",
								   nexus_max_payload_size);
	NexusBuffer failure;

	nexus_buffer_init(&failure, FAILURE_MAX);
	nexus_failure_encode_message(&failure, nexus_text_of(message));
	attempt_failed(dispatcher, call, result, nexus_buffer_view(&failure), false);
	nexus_buffer_free(&failure);
}

static void
take_reply(NexusDispatcher *dispatcher, NexusCall *call, const NexusHttpResult *result)
{
	NexusReply *reply = &dispatcher->reply;
	NexusReplyLimits limits = {.max_token_length = nexus_max_token_length};

	nexus_reply_decode_start(result->status, result->headers, result->body, &limits, reply);
	if (is_over_limit(dispatcher, result))
	{
		too_large(dispatcher, call, result);
		return;
	}
	switch (reply->kind)
	{
		case NEXUS_REPLY_SUCCEEDED:
			closed(dispatcher, call, result, NEXUS_STATE_SUCCEEDED);
			break;
		case NEXUS_REPLY_STARTED:
			started(dispatcher, call, result);
			break;
		case NEXUS_REPLY_FAILED:
			closed(dispatcher, call, result, NEXUS_STATE_FAILED);
			break;
		case NEXUS_REPLY_CANCELED:
			closed(dispatcher, call, result, NEXUS_STATE_CANCELED);
			break;
		case NEXUS_REPLY_CANCEL_ACCEPTED:
		case NEXUS_REPLY_ERROR:
			attempt_failed(dispatcher, call, result, nexus_buffer_view(&reply->failure), reply->is_retryable);
			break;
	}
}

/* A reply that changes nothing any more, since a completion came first: it still is an attempt. */
static void
take_late_reply(NexusDispatcher *dispatcher, NexusCall *call, const NexusHttpResult *result)
{
	NexusReplyLimits limits = {.max_token_length = nexus_max_token_length};
	bool		is_failure = true;
	bool		is_down = result->outcome == NEXUS_HTTP_FAILED || result->outcome == NEXUS_HTTP_TIMED_OUT;

	if (result->outcome == NEXUS_HTTP_ANSWERED)
	{
		nexus_reply_decode_start(result->status, result->headers, result->body, &limits, &dispatcher->reply);
		is_failure = dispatcher->reply.kind == NEXUS_REPLY_ERROR;
		is_down = is_failure && dispatcher->reply.is_retryable;
	}
	nexus_dispatcher_count_attempt(dispatcher, call, result->elapsed_us, is_failure);
	nexus_endpoint_queue_note_result(call->queue, call->ticket, is_down);
}

static void
on_start_done(void *arg, const NexusHttpResult *result)
{
	NexusCall  *call = arg;
	NexusDispatcher *dispatcher = call->queue->dispatcher;
	MemoryContext old = MemoryContextSwitchTo(dispatcher->worker->scratch);

	nexus_dispatcher_leave_flight(dispatcher, call);
	if (call->is_closed)
	{
		/* the call goes with the outcome that came first, or now */
		take_late_reply(dispatcher, call, result);
		if (call->settling == 0)
			nexus_dispatcher_forget(dispatcher, call);
	}
	else if (result->outcome == NEXUS_HTTP_TOO_LARGE)
		too_large(dispatcher, call, result);
	else if (result->outcome == NEXUS_HTTP_ANSWERED)
		take_reply(dispatcher, call, result);
	else
		transport_failed(dispatcher, call, result);
	MemoryContextSwitchTo(old);
}

/* ---- sending ---- */

static void
send_request(NexusDispatcher *dispatcher, NexusCall *call, const NexusHttpRequest *request)
{
	call->http = nexus_http_client_start(dispatcher->worker->http, request, on_start_done, call);
	if (call->http == NULL)
	{
		NexusHttpResult result = {.outcome = NEXUS_HTTP_FAILED,.error = "out of memory"};

		transport_failed(dispatcher, call, &result);
		return;
	}
	call->phase = NEXUS_CALL_IN_FLIGHT;
	call->ticket = nexus_endpoint_queue_note_sent(call->queue, call->sent_time);
	dispatcher->starts_in_flight++;
	nexus_dispatcher_add_in_flight(dispatcher, call->queue, 1);
}

static void
time_out(NexusDispatcher *dispatcher, NexusCall *call)
{
	const NexusDue *due = call->due;
	NexusOutcome *outcome =
	nexus_outcomes_timed_out(dispatcher->worker, &call->id, call->queue->name,
							 nexus_outcomes_timeout_type(NEXUS_STATE_SCHEDULED, due->scheduled_time, 0,
														 due->schedule_to_close, due->schedule_to_start, 0));

	outcome->on_settled = on_call_settled;
	outcome->arg = dispatcher;
	call->settling++;
	call->phase = NEXUS_CALL_SETTLING;
}

void
nexus_dispatcher_send(NexusDispatcher *dispatcher, NexusCall *call)
{
	NexusEndpointQueue *queue = call->queue;
	NexusCaller *caller = nexus_endpoint_queue_known_caller(queue, call->due->owner);
	NexusHttpRequest request;
	NexusError	error = {false, ""};

	call->sent_time = GetCurrentTimestamp();
	if (queue->config == NULL)
		fail_unsent(dispatcher, call, "NOT_FOUND", "endpoint not registered");
	else if (caller == NULL || (caller->owner_exists && !caller->has_usage))
		nexus_dispatcher_put_back(call);	/* read anew, it is judged again */
	else if (!caller->owner_exists)
		fail_unsent(dispatcher, call, "UNAUTHORIZED", "the operation's owner no longer exists");
	else if (call->due->deadline <= call->sent_time)
		time_out(dispatcher, call);
	else if (caller->reason != NULL)
	{
		NexusHttpResult result = {.outcome = NEXUS_HTTP_FAILED,.error = caller->reason};

		transport_failed(dispatcher, call, &result);
	}
	else if (!nexus_http_message_start(dispatcher->worker, queue, caller, call->due, call->sent_time, &request, &error))
		fail_unsent(dispatcher, call, "BAD_REQUEST", error.message);
	else
		send_request(dispatcher, call, &request);
}
