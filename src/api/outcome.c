/*
 * outcome.c
 *	  Turn the row of a closed operation into a value or an error.
 */
#include "postgres.h"

#include "api/outcome.h"
#include "errcodes.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

/* More of a cause than this is no message any more; DETAIL has it whole. */
#define CAUSE_MAX 1000

#define TIMEOUT_TYPE_PREFIX "TIMEOUT_TYPE_"

static void
append_member(StringInfo json, const char *name, const char *value)
{
	appendStringInfo(json, "%s\"%s\": ", json->len == 0 ? "{" : ", ", name);
	if (value != NULL)
		escape_json(json, value);
	else
		appendStringInfoString(json, "null");
}

const char *
nexus_outcome_detail(const NexusOperationRow *row, bool with_failure)
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
		if (row->failure == (Datum) 0)
			appendStringInfoString(&json, "null");
		else
			(void) JsonbToCString(&json, &DatumGetJsonbP(row->failure)->root, VARSIZE(DatumGetJsonbP(row->failure)));
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}

/* A member of an object; NULL where there is none, or it is no object. */
static JsonbValue *
find_member(JsonbContainer *container, const char *name)
{
	if (container == NULL || !JsonContainerIsObject(container))
		return NULL;
	return getKeyJsonValueFromContainer(container, name, strlen(name), NULL);
}

static JsonbContainer *
find_object(JsonbContainer *container, const char *name)
{
	JsonbValue *value = find_member(container, name);

	return value != NULL && value->type == jbvBinary ? value->val.binary.data : NULL;
}

/* A string member, cut off where it gets long; NULL where there is none. */
static char *
find_string(JsonbContainer *container, const char *name)
{
	JsonbValue *value = find_member(container, name);
	int			len;

	if (value == NULL || value->type != jbvString || value->val.string.len == 0)
		return NULL;
	len = pg_mbcliplen(value->val.string.val, value->val.string.len, CAUSE_MAX);
	return pnstrdup(value->val.string.val, len);
}

static JsonbContainer *
failure_of(const NexusOperationRow *row)
{
	return row->failure == (Datum) 0 ? NULL : &DatumGetJsonbP(row->failure)->root;
}

/* What happened first, as far as somebody put it into words: ": words". */
static const char *
describe_cause(const NexusOperationRow *row)
{
	const char *innermost = NULL;

	for (JsonbContainer *failure = failure_of(row); failure != NULL; failure = find_object(failure, "cause"))
	{
		const char *message = find_string(failure, "message");

		if (message != NULL)
			innermost = message;
	}
	return innermost == NULL ? "" : psprintf(": %s", innermost);
}

/* Which time ran out, in the words of schedule()'s arguments. */
static const char *
describe_timeout(const NexusOperationRow *row)
{
	JsonbContainer *details = find_object(failure_of(row), "details");
	char	   *type = find_string(find_object(details, "timeoutFailureInfo"), "timeoutType");

	if (type == NULL || strncmp(type, TIMEOUT_TYPE_PREFIX, strlen(TIMEOUT_TYPE_PREFIX)) != 0)
		return describe_cause(row);
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
			 errdetail_internal("%s", nexus_outcome_detail(row, true)),
			 errdetail_log("%s", nexus_outcome_detail(row, false)),
			 errhint("%s", hint)));
}

Datum
nexus_outcome_result(const NexusOperationRow *row)
{
	char	   *text;

	if (row->result == NULL)
		return (Datum) 0;
	if (!row->result_is_json)
		raise_outcome(row, NEXUS_ERRCODE_RESULT_NOT_JSON, "has a result that is not JSON",
					  row->result_content_type == NULL ? "" : psprintf(": %s", row->result_content_type),
					  "Read it from nexus.operations.result_bytes.");
	text = pnstrdup(VARDATA_ANY(row->result), VARSIZE_ANY_EXHDR(row->result));
	text = pg_any_to_server(text, strlen(text), PG_UTF8);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

Datum
nexus_outcome_take(const NexusOperationRow *row)
{
	switch (row->state)
	{
		case NEXUS_STATE_SUCCEEDED:
			return nexus_outcome_result(row);
		case NEXUS_STATE_FAILED:
			raise_outcome(row, NEXUS_ERRCODE_FAILED, "failed", describe_cause(row),
						  "The failure is in DETAIL and in nexus.operations.");
			break;
		case NEXUS_STATE_CANCELED:
			raise_outcome(row, NEXUS_ERRCODE_CANCELED, "was canceled", describe_cause(row),
						  "nexus.operation_history shows who asked for it.");
			break;
		case NEXUS_STATE_TIMED_OUT:
			raise_outcome(row, NEXUS_ERRCODE_TIMED_OUT, "timed out", describe_timeout(row),
						  "nexus.failed_attempts shows what was tried; schedule it again with a longer timeout.");
			break;
		case NEXUS_STATE_TERMINATED:
			raise_outcome(row, NEXUS_ERRCODE_TERMINATED, "was terminated", describe_cause(row),
						  "nexus.operation_history shows who did it; its handler may still be at work.");
			break;
		case NEXUS_STATE_SCHEDULED:
		case NEXUS_STATE_BACKING_OFF:
		case NEXUS_STATE_STARTED:
			break;
	}
	elog(ERROR, "operation is not closed");
}
