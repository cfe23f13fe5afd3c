/*
 * complete.c
 *	  nexus.complete(): a completion request that came another way than through
 *	  the listener.
 */
#include "postgres.h"

#include "api/arguments.h"
#include "api/worker_call.h"
#include "config.h"
#include "errcodes.h"
#include "fmgr.h"
#include "shared/waiters.h"
#include "store/incarnation.h"
#include "store/operation.h"
#include "utils/timestamp.h"

/* As the listener takes them: headers of one request. */
#define COMPLETION_HEADERS_MAX (16 * 1024)

/* Between losing a worker and asking its successor. */
#define LOST_PAUSE_MS 20

#define HTTP_OK 200
#define HTTP_BAD_REQUEST 400
#define HTTP_UNAUTHORIZED 401
#define HTTP_NOT_FOUND 404
#define HTTP_TOO_LARGE 413

PG_FUNCTION_INFO_V1(nexus_complete);

/* The path of a callback request names it; here the operation's row does. */
static void
find_incarnation(const NexusUuid *id, NexusUuid *incarnation)
{
	NexusOperationRow *row = nexus_operation_read(id);
	NexusIncarnation ours;

	if (row != NULL)
		*incarnation = row->incarnation;
	else if (nexus_incarnation_find(&ours))
		*incarnation = ours.id;
	else
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("no operation was ever scheduled in this database")));
}

static NexusBuffer *
encode_completion(uint64 correlation, const NexusCompletionFrame *completion)
{
	NexusBuffer *frame = nexus_worker_call_buffer();

	if (!nexus_frame_encode_completion(frame, correlation, completion))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("completion is too long")));
	return frame;
}

static NexusBuffer *
make_frame(FunctionCallInfo fcinfo, uint64 correlation)
{
	NexusCompletionFrame completion;
	NexusBuffer *volatile frame = NULL;
	bytea	   *body = PG_ARGISNULL(2) ? NULL : PG_GETARG_BYTEA_PP(2);

	nexus_arguments_read_id(fcinfo, 0, &completion.operation_id);
	find_incarnation(&completion.operation_id, &completion.incarnation);
	completion.body = nexus_text_make("", 0);
	if (body != NULL)
		completion.body = nexus_text_make(VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body));
	nexus_arguments_check_payload("body", completion.body.len);

	nexus_headers_init(&completion.headers, COMPLETION_HEADERS_MAX);
	PG_TRY();
	{
		nexus_arguments_read_headers(fcinfo, 1, &completion.headers);
		frame = encode_completion(correlation, &completion);
	}
	PG_FINALLY();
	{
		nexus_headers_free(&completion.headers);
	}
	PG_END_TRY();
	return frame;
}

static int
sqlstate_of_status(int status)
{
	switch (status)
	{
		case HTTP_BAD_REQUEST:
			return ERRCODE_INVALID_PARAMETER_VALUE;
		case HTTP_UNAUTHORIZED:
			return ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
		case HTTP_NOT_FOUND:
			return ERRCODE_UNDEFINED_OBJECT;
		case HTTP_TOO_LARGE:
			return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		default:
			return NEXUS_ERRCODE_NO_WORKER;
	}
}

/* True where it changed something. */
static bool
take_answer(const NexusFrame *frame)
{
	NexusCompletionAnswerFrame answer;
	char	   *message;

	if (!nexus_frame_decode_completion_answer(frame->body, &answer))
		elog(ERROR, "malformed answer of the worker");
	if (answer.status == HTTP_OK)
		return !answer.is_duplicate;
	message = pnstrdup(answer.message.data, answer.message.len);
	ereport(ERROR,
			(errcode(sqlstate_of_status(answer.status)),
			 errmsg("completion was refused%s%s", message[0] != '\0' ? ": " : "", message),
			 errdetail("A handler would have been answered with the HTTP status %d.", answer.status)));
}

Datum
nexus_complete(PG_FUNCTION_ARGS)
{
	uint64		correlation = nexus_worker_call_next();
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), nexus_request_deadline);
	NexusBuffer *frame;
	NexusFrame	answer;

	nexus_arguments_check_context("complete");
	frame = make_frame(fcinfo, correlation);
	for (;;)
	{
		switch (nexus_worker_call(frame, correlation, NEXUS_FRAME_COMPLETION_ANSWER, deadline,
								  "The completion may have been taken.", "Delivering it again is safe.", &answer))
		{
			case NEXUS_CALL_ANSWERED:
				PG_RETURN_BOOL(take_answer(&answer));
			case NEXUS_CALL_TIMED_OUT:
				ereport(ERROR,
						(errcode(NEXUS_ERRCODE_NO_WORKER),
						 errmsg("the worker of this database did not answer in time"),
						 errdetail("The completion may have been taken."),
						 errhint("Delivering it again is safe.")));
				break;
			case NEXUS_CALL_LOST:
				/* What was taken already is a duplicate then. */
				(void) nexus_waiters_sleep(LOST_PAUSE_MS);
				break;
		}
	}
}
