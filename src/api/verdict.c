/*
 * verdict.c
 *	  Turn the row of an operation into a value or an error.
 */
#include "postgres.h"

#include "api/verdict.h"
#include "errcodes.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "protocol/failure.h"
#include "store/failure_reader.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#define TIMEOUT_TYPE_PREFIX "TIMEOUT_TYPE_"
#define CONTENT_TYPE_SHOWN 200	/* of what a handler made arbitrarily long; it
								 * is ASCII */
#define FAILURE_MAX 1024		/* of failures of our own making */

#define CANCEL_FAILED "its cancel request failed"
#define GOES_ON \
	"The operation goes on; nexus.state(), nexus.await_all() and nexus.operations show what becomes of it."

static void
append_member(StringInfo json, const char *name, const char *value)
{
	appendStringInfo(json, "%s\"%s\": ", json->len == 0 ? "{" : ", ", name);
	if (value != NULL)
		escape_json(json, value);
	else
		appendStringInfoString(json, "null");
}

/* Why an operation that is still open counts as canceled for its waiters. */
static const char *
describe_cancellation(const NexusOperationRow *row)
{
	switch (row->cancellation_state)
	{
		case NEXUS_CANCELLATION_ABANDONED:
			return "it was abandoned";
		case NEXUS_CANCELLATION_SUCCEEDED:
			return "its handler was asked to cancel it";
		case NEXUS_CANCELLATION_NONE:
		case NEXUS_CANCELLATION_REQUESTED:
		case NEXUS_CANCELLATION_SCHEDULED:
		case NEXUS_CANCELLATION_BACKING_OFF:
		case NEXUS_CANCELLATION_FAILED:
			break;
	}
	return "its cancellation was requested";
}

static void
append_jsonb(StringInfo json, Datum value)
{
	if (value == (Datum) 0)
		appendStringInfoString(json, "null");
	else
		(void) JsonbToCString(json, &DatumGetJsonbP(value)->root, VARSIZE(DatumGetJsonbP(value)));
}

/* The failure of a waiter, which where the operation goes on is of our own making. */
static void
append_failure(StringInfo json, const NexusOperationRow *row)
{
	NexusBuffer failure;

	switch (nexus_operation_await_end(row))
	{
		case NEXUS_AWAIT_GOES_ON:
		case NEXUS_AWAIT_OUTCOME:
			append_jsonb(json, row->failure);
			break;
		case NEXUS_AWAIT_CANCELED:
			nexus_buffer_init(&failure, FAILURE_MAX);
			nexus_failure_encode_canceled(&failure, nexus_text_of(describe_cancellation(row)));
			appendBinaryStringInfo(json, failure.data, failure.len);
			nexus_buffer_free(&failure);
			break;
		case NEXUS_AWAIT_CANCEL_FAILED:
			appendStringInfoString(json, "{\"message\": \"" CANCEL_FAILED "\", \"cause\": ");
			append_jsonb(json, row->cancellation_failure);
			appendStringInfoChar(json, '}');
			break;
	}
}

const char *
nexus_verdict_detail(const NexusOperationRow *row, bool with_failure)
{
	StringInfoData json;
	char		id[NEXUS_UUID_TEXT_LEN + 1];

	nexus_uuid_format(&row->id, id);
	initStringInfo(&json);
	append_member(&json, "operation_id", id);
	append_member(&json, "endpoint", row->endpoint);
	append_member(&json, "service", row->service);
	append_member(&json, "operation", row->operation);
	if (with_failure)
	{
		append_member(&json, "operation_token", row->operation_token);
		appendStringInfoString(&json, ", \"failure\": ");
		append_failure(&json, row);
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}

/* What happened first, as far as somebody put it into words: ": words". */
static const char *
describe_cause(Datum failure)
{
	const char *message = nexus_failure_reader_message(failure);

	return message == NULL ? "" : psprintf(": %s", message);
}

/* Which time ran out, in the words of schedule()'s arguments. */
static const char *
describe_timeout(const NexusOperationRow *row)
{
	char	   *type = nexus_failure_reader_timeout_type(row->failure);

	if (type == NULL || strncmp(type, TIMEOUT_TYPE_PREFIX, strlen(TIMEOUT_TYPE_PREFIX)) != 0)
		return describe_cause(row->failure);
	type += strlen(TIMEOUT_TYPE_PREFIX);
	for (char *letter = type; *letter != '\0'; letter++)
		*letter = pg_ascii_tolower((unsigned char) *letter);
	return psprintf(": %s_timeout", type);
}

static void
raise_outcome(const NexusOperationRow *row, int code, const char *what, const char *why, const char *hint)
{
	ereport(ERROR,
			(errcode(code),
			 errmsg("operation \"%s\" of service \"%s\" at endpoint \"%s\" %s%s",
					row->operation, row->service, row->endpoint, what, why),
			 errdetail_internal("%s", nexus_verdict_detail(row, true)),
			 errdetail_log("%s", nexus_verdict_detail(row, false)),
			 errhint("%s", hint)));
}

Datum
nexus_verdict_result(const NexusOperationRow *row)
{
	char	   *text;

	if (row->result == NULL)
		return (Datum) 0;
	if (!row->result_is_json)
		raise_outcome(row, NEXUS_ERRCODE_RESULT_NOT_JSON, "has a result that cannot be jsonb",
					  row->result_content_type == NULL ? ""
					  : psprintf(": %.*s", CONTENT_TYPE_SHOWN, row->result_content_type),
					  "Read it from nexus.operations.result_bytes.");
	text = pnstrdup(VARDATA_ANY(row->result), VARSIZE_ANY_EXHDR(row->result));
	text = pg_any_to_server(text, strlen(text), PG_UTF8);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

/* The outcome of a closed one. */
static Datum
take_outcome(const NexusOperationRow *row)
{
	switch (row->state)
	{
		case NEXUS_STATE_SUCCEEDED:
			return nexus_verdict_result(row);
		case NEXUS_STATE_FAILED:
			raise_outcome(row, NEXUS_ERRCODE_FAILED, "failed", describe_cause(row->failure),
						  "The failure is in DETAIL and in nexus.operations.");
			break;
		case NEXUS_STATE_CANCELED:
			raise_outcome(row, NEXUS_ERRCODE_CANCELED, "was canceled", describe_cause(row->failure),
						  "nexus.operation_history shows who asked for it, if anybody here did.");
			break;
		case NEXUS_STATE_TIMED_OUT:
			raise_outcome(row, NEXUS_ERRCODE_TIMED_OUT, "timed out", describe_timeout(row),
						  "nexus.failed_attempts shows what was tried; schedule it again with a longer timeout.");
			break;
		case NEXUS_STATE_TERMINATED:
			raise_outcome(row, NEXUS_ERRCODE_TERMINATED, "was terminated", describe_cause(row->failure),
						  "nexus.operation_history shows who did it; its handler may still be at work.");
			break;
		case NEXUS_STATE_SCHEDULED:
		case NEXUS_STATE_BACKING_OFF:
		case NEXUS_STATE_STARTED:
			break;
	}
	elog(ERROR, "operation is not closed");
}

Datum
nexus_verdict_take(const NexusOperationRow *row)
{
	switch (nexus_operation_await_end(row))
	{
		case NEXUS_AWAIT_OUTCOME:
			return take_outcome(row);
		case NEXUS_AWAIT_CANCELED:
			raise_outcome(row, NEXUS_ERRCODE_CANCELED, "was canceled", psprintf(": %s", describe_cancellation(row)),
						  GOES_ON);
			break;
		case NEXUS_AWAIT_CANCEL_FAILED:
			raise_outcome(row, NEXUS_ERRCODE_CANCEL_FAILED, "could not be canceled",
						  describe_cause(row->cancellation_failure), GOES_ON);
			break;
		case NEXUS_AWAIT_GOES_ON:
			break;
	}
	elog(ERROR, "operation is still awaited");
}
