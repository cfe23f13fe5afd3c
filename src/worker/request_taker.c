/*
 * request_taker.c
 *	  What users asked of operations becomes outcomes.
 */
#include "postgres.h"

#include "worker/request_taker.h"

#include "store/encoding.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/cancellation.h"
#include "worker/dispatcher.h"
#include "worker/outcomes.h"
#include "worker/pausing.h"

#define FAILURE_MAX (64 * 1024) /* of failures of our own making */

static void
on_close_settled(NexusOutcome *outcome, void *arg)
{
	NexusWorker *worker = arg;

	nexus_dispatcher_settled(worker->dispatcher, &outcome->id);
}

static void
on_cancel_settled(NexusOutcome *outcome, void *arg)
{
	NexusWorker *worker = arg;

	if (outcome->disposition == NEXUS_DISPOSITION_APPLIED && outcome->is_cancel_due)
		nexus_cancellation_schedule(worker, &outcome->id, outcome->endpoint, 0);
}

static NexusOutcome *
close_operation(NexusWorker *worker, const NexusTakenRequest *request, NexusState state, const NexusBuffer *failure)
{
	NexusOutcome *outcome = nexus_outcomes_close(worker, &request->operation_id, request->endpoint, state,
												 nexus_buffer_view(failure));

	outcome->on_settled = on_close_settled;
	outcome->arg = worker;
	nexus_dispatcher_settling(worker->dispatcher, &request->operation_id, true);
	return outcome;
}

static const char *
kept(NexusWorker *worker, const char *text)
{
	return text == NULL ? NULL : MemoryContextStrdup(nexus_group_context(worker->group), text);
}

static void
ask_for_cancel(NexusWorker *worker, const NexusTakenRequest *request, NexusCancellationState state)
{
	NexusOutcome *outcome = nexus_group_add(worker->group, NEXUS_OUTCOME_CANCELLATION, &request->operation_id,
											request->endpoint);

	outcome->cancellation_state = nexus_cancellation_state_name(state);
	outcome->cancellation_requested_time = request->requested_time;
	outcome->cancellation_reason = kept(worker, request->reason);
	outcome->cancellation_identity = kept(worker, request->identity);
	outcome->on_settled = on_cancel_settled;
	outcome->arg = worker;
}

/* Nobody knows of it yet: it is closed here, and nothing is sent. */
static bool
was_never_sent(NexusWorker *worker, const NexusTakenRequest *request)
{
	return request->state == NEXUS_STATE_SCHEDULED && request->attempt == 0 && !request->may_have_been_sent
		&& !nexus_dispatcher_was_sent(worker->dispatcher, &request->operation_id);
}

static void
take_cancel(NexusWorker *worker, const NexusTakenRequest *request)
{
	NexusBuffer failure;

	if (request->is_cancel_requested)
		return;
	if (!was_never_sent(worker, request))
	{
		ask_for_cancel(worker, request, request->cancellation_type == NEXUS_CANCELLATION_TYPE_ABANDON
					   ? NEXUS_CANCELLATION_ABANDONED : NEXUS_CANCELLATION_REQUESTED);
		return;
	}
	ask_for_cancel(worker, request, NEXUS_CANCELLATION_REQUESTED);
	nexus_buffer_init(&failure, FAILURE_MAX);
	nexus_failure_encode_canceled(&failure, nexus_text_of("operation canceled before it was sent"));
	(void) close_operation(worker, request, NEXUS_STATE_CANCELED, &failure);
	nexus_buffer_free(&failure);
}

static void
take_terminate(NexusWorker *worker, const NexusTakenRequest *request)
{
	const char *reason = request->reason == NULL ? "operation terminated" : request->reason;
	NexusBuffer failure;

	nexus_buffer_init(&failure, FAILURE_MAX);
	nexus_failure_encode_terminated(&failure, nexus_encoding_to_utf8(nexus_text_of(reason)),
									nexus_encoding_to_utf8(nexus_text_of(request->identity)));
	(void) close_operation(worker, request, NEXUS_STATE_TERMINATED, &failure);
	nexus_buffer_free(&failure);
}

static void
on_due_settled(NexusOutcome *outcome, void *arg)
{
	NexusWorker *worker = arg;

	if (outcome->disposition != NEXUS_DISPOSITION_APPLIED)
		return;
	if (outcome->is_cancel_due)
		nexus_cancellation_schedule(worker, &outcome->id, outcome->endpoint, 0);
	else
		nexus_endpoint_queue_note_retry(nexus_dispatcher_queue(worker->dispatcher, outcome->endpoint),
										outcome->next_attempt_schedule_time);
}

static void
take_retry(NexusWorker *worker, const NexusTakenRequest *request)
{
	NexusOutcome *outcome;

	if (request->state != NEXUS_STATE_BACKING_OFF && !request->is_cancel_backing_off)
		return;
	outcome = nexus_group_add(worker->group, NEXUS_OUTCOME_DUE, &request->operation_id, request->endpoint);
	outcome->next_attempt_schedule_time = GetCurrentTimestamp();
	outcome->on_settled = on_due_settled;
	outcome->arg = worker;
}

static void
take(NexusWorker *worker, const NexusTakenRequest *request)
{
	switch (request->kind)
	{
		case NEXUS_REQUEST_CANCEL:
			take_cancel(worker, request);
			break;
		case NEXUS_REQUEST_TERMINATE:
			take_terminate(worker, request);
			break;
		case NEXUS_REQUEST_RETRY:
			take_retry(worker, request);
			break;
		case NEXUS_REQUEST_RETRY_AS_NEW:
		case NEXUS_REQUEST_PAUSE:
		case NEXUS_REQUEST_RESUME:
			break;
	}
}

void
nexus_request_taker_take(NexusWorker *worker, const NexusTakenRequest *request)
{
	NexusOutcome *done;

	if (request->kind == NEXUS_REQUEST_PAUSE || request->kind == NEXUS_REQUEST_RESUME)
	{
		/* of no operation; deleted by the commit that carries it out */
		nexus_pausing_take(worker->pausing, request);
		return;
	}
	if (request->is_found && !nexus_state_is_closed(request->state))
		take(worker, request);
	done = nexus_group_add(worker->group, NEXUS_OUTCOME_NOTHING, &request->operation_id, NULL);
	done->done_request = nexus_request_kind_name(request->kind);
}
