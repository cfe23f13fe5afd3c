/*
 * reception.c
 *	  Frames in: completions and operations of execute().
 */
#include "postgres.h"

#include "worker/reception.h"

#include "config.h"
#include "mb/pg_wchar.h"
#include "protocol/completion.h"
#include "shared/waiters.h"
#include "shared/worker_registry.h"
#include "store/due.h"
#include "store/transaction.h"
#include "store/unix_time.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/deadlines.h"
#include "worker/dispatcher.h"
#include "worker/incarnation_watch.h"
#include "worker/outcomes.h"
#include "worker/retention.h"

#define FRAME_HEADERS_MAX (64 * 1024)	/* of a callback request: the listener
										 * allows less */
#define ANSWER_MAX (16 * 1024)

/* Whom to answer once an outcome has settled; in the group's memory. */
typedef struct Asker
{
	NexusWorker *worker;
	uint64		connection;
	uint64		correlation;
	NexusDue   *due;			/* of an execute */
} Asker;

static Asker *
make_asker(NexusWorker *worker, const NexusLocalPeer *peer, const NexusFrame *frame)
{
	Asker	   *asker = MemoryContextAllocZero(nexus_group_context(worker->group), sizeof(Asker));

	asker->worker = worker;
	asker->connection = peer->connection;
	asker->correlation = frame->correlation;
	return asker;
}

/* ---- completions ---- */

static void
answer_completion(NexusWorker *worker, uint64 connection, uint64 correlation, uint16 status, bool is_duplicate,
				  const char *message)
{
	NexusCompletionAnswerFrame answer = {status, is_duplicate, nexus_text_of(message)};
	NexusBuffer bytes;

	nexus_buffer_init(&bytes, ANSWER_MAX);
	if (nexus_frame_encode_completion_answer(&bytes, correlation, &answer))
		(void) nexus_local_socket_reply(worker->server, connection, nexus_buffer_view(&bytes));
	nexus_buffer_free(&bytes);
}

static void
on_completion_settled(NexusOutcome *outcome, void *arg)
{
	Asker	   *asker = arg;
	NexusWorker *worker = asker->worker;

	switch (outcome->disposition)
	{
		case NEXUS_DISPOSITION_APPLIED:
			answer_completion(worker, asker->connection, asker->correlation, 200, false, "");
			break;
		case NEXUS_DISPOSITION_CLOSED_BEFORE:
			answer_completion(worker, asker->connection, asker->correlation, 200, true, "");
			break;
		case NEXUS_DISPOSITION_MISSING:
			/* or never there, or lost by a restore */
			if (nexus_retention_may_have_deleted(worker->retention, &outcome->id))
				answer_completion(worker, asker->connection, asker->correlation, 200, true, "");
			else
				answer_completion(worker, asker->connection, asker->correlation, 404, false, "operation not found");
			break;
		case NEXUS_DISPOSITION_KEY_TAKEN:
		case NEXUS_DISPOSITION_REJECTED:
			answer_completion(worker, asker->connection, asker->correlation, 503, false,
							  "the completion could not be recorded");
			break;
	}
	nexus_dispatcher_settled(worker->dispatcher, &outcome->id);
}

static NexusState
state_of_completion(NexusCompletionState state)
{
	switch (state)
	{
		case NEXUS_COMPLETION_SUCCEEDED:
			return NEXUS_STATE_SUCCEEDED;
		case NEXUS_COMPLETION_FAILED:
			return NEXUS_STATE_FAILED;
		case NEXUS_COMPLETION_CANCELED:
			return NEXUS_STATE_CANCELED;
	}
	return NEXUS_STATE_FAILED;
}

static void
add_completion(NexusWorker *worker, const NexusUuid *id, const NexusCompletion *completion, Asker *asker)
{
	NexusOutcome *outcome = nexus_outcomes_close(worker, id, NULL, state_of_completion(completion->state),
												 nexus_buffer_view(&completion->failure));

	/* it may have come before the reply to the start, and then tells of it */
	outcome->operation_token = completion->token.len > 0 ? nexus_outcomes_token(worker, completion->token) : NULL;
	outcome->started_time = completion->has_start_time
		? nexus_timestamp_of_unix_us(completion->start_time) : GetCurrentTimestamp();
	outcome->links = nexus_outcomes_jsonb(worker, nexus_buffer_view(&completion->links));
	if (completion->has_close_time)
		outcome->handler_close_time = nexus_timestamp_of_unix_us(completion->close_time);
	if (completion->state == NEXUS_COMPLETION_SUCCEEDED)
		nexus_outcomes_set_payload(worker, outcome, &completion->payload);
	outcome->on_settled = on_completion_settled;
	outcome->arg = asker;
	nexus_dispatcher_settling(worker->dispatcher, id, false);
}

/* Why a completion is refused; 0 where it was taken. */
static uint16
take_completion(NexusWorker *worker, const NexusLocalPeer *peer, const NexusFrame *frame,
				NexusCompletionFrame *completion, NexusError *error)
{
	NexusText	token = nexus_text_make("", 0);
	NexusCompletion decoded;
	bool		ok;

	(void) nexus_token_find(&completion->headers, &token);
	switch (nexus_incarnation_watch_check_token(worker, token, &completion->incarnation, &completion->operation_id))
	{
		case NEXUS_TOKEN_WRONG:
			nexus_error_set(error, "invalid callback token");
			return 401;
		case NEXUS_TOKEN_COPIED:
			nexus_error_set(error, "the database is a copy and has not adopted its operations");
			return 503;
		case NEXUS_TOKEN_GOOD:
			break;
	}
	if (completion->body.len > (size_t) nexus_max_payload_size)
	{
		nexus_error_set(error, "the body is larger than %d bytes", nexus_max_payload_size);
		return 413;
	}
	if (nexus_group_is_full(worker->group))
	{
		nexus_error_set(error, "the database does not take completions at the moment");
		return 503;
	}
	nexus_completion_init(&decoded);
	ok = nexus_completion_decode(&completion->headers, completion->body, nexus_max_token_length, &decoded, error);
	if (ok)
		add_completion(worker, &completion->operation_id, &decoded, make_asker(worker, peer, frame));
	nexus_completion_free(&decoded);
	return ok ? 0 : 400;
}

static void
take_completion_frame(NexusWorker *worker, const NexusLocalPeer *peer, const NexusFrame *frame)
{
	NexusCompletionFrame completion;
	NexusError	error = {false, ""};
	uint16		status = 400;

	nexus_headers_init(&completion.headers, FRAME_HEADERS_MAX);
	if (nexus_frame_decode_completion(frame->body, &completion))
		status = take_completion(worker, peer, frame, &completion, &error);
	else
		nexus_error_set(&error, "malformed completion frame");
	nexus_headers_free(&completion.headers);
	if (status != 0)
		answer_completion(worker, peer->connection, frame->correlation, status, false, error.message);
}

/* ---- execute ---- */

static void
answer_execute(NexusWorker *worker, uint64 connection, uint64 correlation, NexusExecuteResult result,
			   int sqlerrcode, const char *message)
{
	NexusExecuteAnswerFrame answer = {.result = result,.message = nexus_text_of(message)};
	NexusBuffer bytes;

	strlcpy(answer.sqlstate, unpack_sql_state(sqlerrcode), sizeof(answer.sqlstate));
	nexus_buffer_init(&bytes, ANSWER_MAX);
	if (nexus_frame_encode_execute_answer(&bytes, correlation, &answer))
		(void) nexus_local_socket_reply(worker->server, connection, nexus_buffer_view(&bytes));
	nexus_buffer_free(&bytes);
}

static void
refuse_execute(NexusWorker *worker, const NexusLocalPeer *peer, const NexusFrame *frame, int sqlerrcode,
			   const char *message)
{
	answer_execute(worker, peer->connection, frame->correlation, NEXUS_EXECUTE_REFUSED, sqlerrcode, message);
}

static void
on_execute_settled(NexusOutcome *outcome, void *arg)
{
	Asker	   *asker = arg;
	NexusWorker *worker = asker->worker;

	if (outcome->disposition == NEXUS_DISPOSITION_REJECTED)
	{
		answer_execute(worker, asker->connection, asker->correlation, NEXUS_EXECUTE_REFUSED, outcome->sqlerrcode,
					   outcome->error);
		return;
	}
	answer_execute(worker, asker->connection, asker->correlation,
				   outcome->disposition == NEXUS_DISPOSITION_KEY_TAKEN ? NEXUS_EXECUTE_KEY_TAKEN
				   : NEXUS_EXECUTE_COMMITTED, 0, "");

	/*
	 * posted twice: the first post goes its way, or has gone it; or not at
	 * all
	 */
	if (outcome->disposition != NEXUS_DISPOSITION_APPLIED)
		return;
	nexus_deadlines_note(worker->deadlines, asker->due->deadline);
	nexus_dispatcher_arrive_loaded(worker->dispatcher, asker->due);
}

static const char *
optional(NexusText text)
{
	return text.len == 0 ? NULL : pnstrdup(text.data, text.len);
}

static bytea *
bytea_of(NexusText text)
{
	bytea	   *bytes = palloc(text.len + VARHDRSZ);

	SET_VARSIZE(bytes, text.len + VARHDRSZ);
	if (text.len > 0)
		memcpy(VARDATA(bytes), text.data, text.len);
	return bytes;
}

/* What accept_execute() needs, to be run in a transaction or without. */
typedef struct ExecuteRead
{
	NexusWorker *worker;
	const NexusExecuteFrame *frame;
	Oid			owner;
	Asker	   *asker;
} ExecuteRead;

static void
accept_execute(void *arg)
{
	ExecuteRead *read = arg;
	NexusWorker *worker = read->worker;
	const NexusExecuteFrame *frame = read->frame;
	MemoryContext old = MemoryContextSwitchTo(nexus_group_context(worker->group));
	NexusNewOperation *insert = palloc0(sizeof(NexusNewOperation));
	NexusOutcome *outcome;

	insert->id = frame->operation_id;
	insert->incarnation = worker->incarnation.id;
	insert->endpoint = pnstrdup(frame->endpoint.data, frame->endpoint.len);
	insert->service = pnstrdup(frame->service.data, frame->service.len);
	insert->operation = pnstrdup(frame->operation.data, frame->operation.len);
	insert->owner = read->owner;
	insert->scheduled_time = frame->scheduled_time;
	insert->schedule_to_close_timeout = frame->schedule_to_close_timeout;
	insert->schedule_to_start_timeout = frame->schedule_to_start_timeout;
	insert->start_to_close_timeout = frame->start_to_close_timeout;
	insert->cancellation_type = pnstrdup(frame->cancellation_type.data, frame->cancellation_type.len);
	insert->callback_base = optional(frame->callback_base);
	insert->operation_key = optional(frame->operation_key);
	insert->key_generation = frame->key_generation;
	insert->key_predecessor = frame->key_predecessor;
	insert->summary = optional(frame->summary);
	if (frame->headers_json.len > 0)
		insert->headers = DirectFunctionCall1(jsonb_in, CStringGetDatum(optional(frame->headers_json)));
	insert->input = frame->has_input ? bytea_of(frame->input) : NULL;
	insert->input_content_type = optional(frame->input_content_type);
	insert->input_is_json = frame->input_is_json;
	read->asker->due = nexus_due_of_frame(frame, read->owner, insert->headers);

	outcome = nexus_group_add(worker->group, NEXUS_OUTCOME_INSERT, &frame->operation_id, insert->endpoint);
	outcome->insert = insert;
	outcome->on_settled = on_execute_settled;
	outcome->arg = read->asker;
	nexus_group_weigh(worker->group, outcome, frame->input.len);
	MemoryContextSwitchTo(old);
}

/* The kernel says who posts; its slot says as whom and in which database. */
static bool
identify(NexusWorker *worker, const NexusLocalPeer *peer, const NexusUuid *operation_id, Oid *owner)
{
	Oid			database;

	return nexus_waiters_identity(peer->pid, operation_id, &database, owner) && database == worker->database;
}

static void
take_execute_frame(NexusWorker *worker, const NexusLocalPeer *peer, const NexusFrame *frame)
{
	NexusExecuteFrame execute;
	ExecuteRead read = {.worker = worker,.frame = &execute};
	NexusSqlError error;

	if (!nexus_frame_decode_execute(frame->body, &execute))
		refuse_execute(worker, peer, frame, ERRCODE_PROTOCOL_VIOLATION, "malformed execute frame");
	else if (!identify(worker, peer, &execute.operation_id, &read.owner))
		refuse_execute(worker, peer, frame, ERRCODE_INSUFFICIENT_PRIVILEGE,
					   "execute() is for sessions of this database");
	else if (nexus_group_is_full(worker->group) || !nexus_incarnation_watch_ensure(worker))
		refuse_execute(worker, peer, frame, ERRCODE_CANNOT_CONNECT_NOW,
					   "the database does not take operations at the moment");
	else
	{
		read.asker = make_asker(worker, peer, frame);
		/* only a conversion of the encoding reads catalogs */
		if (GetDatabaseEncoding() == PG_UTF8)
			accept_execute(&read);
		else if (!nexus_transaction_run("accept an operation", accept_execute, &read, &error))
			refuse_execute(worker, peer, frame, error.sqlerrcode, error.message);
	}
}

void
nexus_reception_take(void *arg, const NexusLocalPeer *peer, const NexusFrame *frame)
{
	NexusWorker *worker = arg;
	MemoryContext old = MemoryContextSwitchTo(worker->scratch);
	bool		is_listener = peer->pid == nexus_worker_registry_listener_pid();

	if (frame->kind == NEXUS_FRAME_COMPLETION)
		take_completion_frame(worker, peer, frame);
	else if (frame->kind == NEXUS_FRAME_EXECUTE && !is_listener)
		take_execute_frame(worker, peer, frame);
	MemoryContextSwitchTo(old);
}
