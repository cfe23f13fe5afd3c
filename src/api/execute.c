/*
 * execute.c
 *	  nexus.execute(): the worker schedules the operation, outside of the
 *	  caller's transaction, and the caller awaits it.
 *
 * All checks are made here, as for schedule().  The transaction of the caller
 * writes nothing and its snapshot is left alone, as that of any long query.
 */
#include "postgres.h"

#include "api/arguments.h"
#include "api/verdict.h"
#include "api/waiting.h"
#include "api/worker_call.h"
#include "errcodes.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "shared/waiters.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* Behind the arguments of schedule(). */
#define ARG_AWAIT_TIMEOUT 13

/* Between losing a worker and asking its successor. */
#define LOST_PAUSE_MS 20

PG_FUNCTION_INFO_V1(nexus_execute);

static NexusText
text_or_nothing(const char *string)
{
	return string == NULL ? nexus_text_make("", 0) : nexus_text_of(string);
}

static NexusBuffer *
make_frame(const NexusNewOperation *operation, uint64 correlation)
{
	NexusBuffer *frame = nexus_worker_call_buffer();
	NexusExecuteFrame execute = {
		.operation_id = operation->id,
		.scheduled_time = operation->scheduled_time,
		.schedule_to_close_timeout = operation->schedule_to_close_timeout,
		.schedule_to_start_timeout = operation->schedule_to_start_timeout,
		.start_to_close_timeout = operation->start_to_close_timeout,
		.has_input = operation->input != NULL,
		.input_is_json = operation->input_is_json,
		.endpoint = nexus_text_of(operation->endpoint),
		.service = nexus_text_of(operation->service),
		.operation = nexus_text_of(operation->operation),
		.cancellation_type = nexus_text_of(operation->cancellation_type),
		.summary = text_or_nothing(operation->summary),
		.input_content_type = text_or_nothing(operation->input_content_type),
		.callback_base = text_or_nothing(operation->callback_base),
		.operation_key = text_or_nothing(operation->operation_key),
		.key_generation = operation->key_generation,
		.key_predecessor = operation->key_predecessor
	};

	if (operation->headers != (Datum) 0)
		execute.headers_json = nexus_text_of(JsonbToCString(NULL, &DatumGetJsonbP(operation->headers)->root, 0));
	if (operation->input != NULL)
		execute.input = nexus_text_make(VARDATA(operation->input), VARSIZE(operation->input) - VARHDRSZ);
	if (!nexus_frame_encode_execute(frame, correlation, &execute))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("operation with all its arguments is too long to be executed"),
				 errhint("Shorten its headers, or use nexus.schedule() and nexus.await().")));
	return frame;
}

/* Raise what the worker had against it; false where somebody else has its key. */
static bool
take_answer(const NexusFrame *frame)
{
	NexusExecuteAnswerFrame answer;

	if (!nexus_frame_decode_execute_answer(frame->body, &answer))
		elog(ERROR, "malformed answer of the worker");
	if (answer.result != NEXUS_EXECUTE_REFUSED)
		return answer.result == NEXUS_EXECUTE_COMMITTED;
	ereport(ERROR,
			(errcode(MAKE_SQLSTATE(answer.sqlstate[0], answer.sqlstate[1], answer.sqlstate[2],
								   answer.sqlstate[3], answer.sqlstate[4])),
			 errmsg("%s", pnstrdup(answer.message.data, answer.message.len))));
}

static void
raise_unanswered(const char *doubt, const char *remedy)
{
	ereport(ERROR,
			(errcode(NEXUS_ERRCODE_AWAIT_TIMED_OUT),
			 errmsg("the worker of this database did not answer in time"),
			 errdetail("%s", doubt),
			 errhint("%s", remedy)));
}

/*
 * Return once the operation is scheduled; false where it is not, because its key
 * is not what it was when we looked.
 */
static bool
post(const NexusNewOperation *operation, TimestampTz deadline)
{
	uint64		correlation = nexus_worker_call_next();
	NexusBuffer *frame = make_frame(operation, correlation);
	char		id[NEXUS_UUID_TEXT_LEN + 1];
	char	   *doubt;
	char	   *remedy;
	NexusState	state;
	NexusFrame	answer;

	nexus_uuid_format(&operation->id, id);
	doubt = psprintf("Operation %s may have been scheduled.", id);
	remedy = psprintf("SELECT nexus.state('%s') shows whether it was.", id);

	/* Under one id, so that two posts make one operation. */
	for (;;)
	{
		switch (nexus_worker_call(frame, correlation, NEXUS_FRAME_EXECUTE_ANSWER, deadline, doubt, remedy, &answer))
		{
			case NEXUS_CALL_ANSWERED:
				/* it may have been an earlier post that took the key */
				return take_answer(&answer) || nexus_operation_read_state(&operation->id, &state);
			case NEXUS_CALL_TIMED_OUT:
				raise_unanswered(doubt, remedy);
				break;
			case NEXUS_CALL_LOST:
				if (nexus_operation_read_state(&operation->id, &state))
					return true;
				(void) nexus_waiters_sleep(LOST_PAUSE_MS);
				break;
		}
	}
}

/* We would wait for our own commit. */
static void
refuse_own(const NexusNewOperation *operation, const NexusUuid *holder)
{
	char		id[NEXUS_UUID_TEXT_LEN + 1];

	if (!nexus_waiting_read(holder)->is_own_uncommitted)
		return;
	nexus_uuid_format(holder, id);
	ereport(ERROR,
			(errcode(NEXUS_ERRCODE_OWN_TRANSACTION),
			 errmsg("operation key \"%s\" is that of operation %s, which was scheduled by this transaction and is not "
					"sent before it commits", operation->operation_key, id),
			 errhint("Commit first and await that operation then.")));
}

/*
 * Schedule the operation, or find the one that holds its key; returns which one to await.  It is
 * us who wait for a transaction that is just writing this key, not the worker.
 */
static const NexusUuid *
schedule(NexusNewOperation *operation, NexusKeyPolicy policy, TimestampTz deadline)
{
	NexusUuid  *holder = palloc(sizeof(NexusUuid));

	nexus_waiters_publish_identity(&operation->id);
	nexus_waiters_arm(&operation->id, 1);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (operation->operation_key != NULL && nexus_key_holder_find(operation, policy, deadline, holder))
		{
			refuse_own(operation, holder);
			return holder;
		}
		if (post(operation, deadline))
			return &operation->id;
	}
}

Datum
nexus_execute(PG_FUNCTION_ARGS)
{
	NexusNewOperation operation;
	NexusKeyPolicy policy;
	NexusOperationRow *row;
	TimestampTz deadline;
	const NexusUuid *id;
	Datum		result;

	nexus_arguments_check_context("execute");
	nexus_waiting_require_preload();
	deadline = nexus_arguments_read_deadline(fcinfo, ARG_AWAIT_TIMEOUT, "await_timeout");
	nexus_arguments_read_operation(fcinfo, false, &operation, &policy);
	id = schedule(&operation, policy, deadline);

	(void) nexus_waiting_until_ended(id, deadline);
	row = nexus_waiting_read(id);
	if (nexus_operation_await_end(row) == NEXUS_AWAIT_GOES_ON)
		nexus_waiting_raise_timeout(row);
	result = nexus_verdict_take(row);
	if (result == (Datum) 0)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(result);
}
