/*
 * outcomes.c
 *	  Outcomes that several parts of a worker make.
 */
#include "postgres.h"

#include "worker/outcomes.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define FAILURE_MAX (256 * 1024)	/* of failures of our own making */
#define CONTENT_TYPE_MAX (1024 * 1024)	/* far more than headers may be */

Datum
nexus_outcomes_jsonb(NexusWorker *worker, NexusText json)
{
	MemoryContext old;
	Datum		value;

	if (json.len == 0)
		return (Datum) 0;
	old = MemoryContextSwitchTo(nexus_group_context(worker->group));
	value = nexus_outcome_jsonb(json);
	MemoryContextSwitchTo(old);
	return value;
}

NexusOutcome *
nexus_outcomes_close(NexusWorker *worker, const NexusUuid *id, const char *endpoint, NexusState state,
					 NexusText failure)
{
	NexusOutcome *outcome = nexus_group_add(worker->group, NEXUS_OUTCOME_CLOSE, id, endpoint);

	outcome->state = state;
	outcome->failure = nexus_outcomes_jsonb(worker, failure);
	nexus_group_weigh(worker->group, outcome, failure.len);
	return outcome;
}

NexusOutcome *
nexus_outcomes_timed_out(NexusWorker *worker, const NexusUuid *id, const char *endpoint, NexusTimeoutType type)
{
	NexusOutcome *outcome;
	NexusBuffer failure;

	nexus_buffer_init(&failure, FAILURE_MAX);
	nexus_failure_encode_timeout(&failure, type, nexus_text_of("operation timed out"));
	outcome = nexus_outcomes_close(worker, id, endpoint, NEXUS_STATE_TIMED_OUT, nexus_buffer_view(&failure));
	nexus_buffer_free(&failure);
	return outcome;
}

/* NULL where nothing says what the data is. */
static const char *
content_type_of(NexusWorker *worker, const NexusPayload *payload)
{
	NexusBuffer type;
	char	   *text = NULL;

	nexus_buffer_init(&type, CONTENT_TYPE_MAX);
	if (nexus_payload_append_type(payload, &type) && type.len > 0)
		text = nexus_outcomes_text(worker, nexus_buffer_view(&type));
	nexus_buffer_free(&type);
	return text;
}

void
nexus_outcomes_set_payload(NexusWorker *worker, NexusOutcome *outcome, const NexusPayload *payload)
{
	MemoryContext context = nexus_group_context(worker->group);

	outcome->result_content_type = content_type_of(worker, payload);
	if (payload->kind == NEXUS_PAYLOAD_NULL)
		return;
	outcome->result = MemoryContextAllocHuge(context, payload->data.len + VARHDRSZ);
	SET_VARSIZE(outcome->result, payload->data.len + VARHDRSZ);
	if (payload->data.len > 0)
		memcpy(VARDATA(outcome->result), payload->data.data, payload->data.len);
	outcome->result_is_json = payload->kind == NEXUS_PAYLOAD_JSON && nexus_outcome_is_jsonb(payload->data);
	nexus_group_weigh(worker->group, outcome, payload->data.len);
}

char *
nexus_outcomes_text(NexusWorker *worker, NexusText text)
{
	char	   *copy = MemoryContextAlloc(nexus_group_context(worker->group), text.len + 1);

	/* header values: what is not ASCII has no agreed encoding */
	for (size_t i = 0; i < text.len; i++)
		copy[i] = IS_HIGHBIT_SET(text.data[i]) || text.data[i] == '\0' ? '?' : text.data[i];
	copy[text.len] = '\0';
	return copy;
}

char *
nexus_outcomes_token(NexusWorker *worker, NexusText token)
{
	char	   *copy = MemoryContextAlloc(nexus_group_context(worker->group), token.len + 1);
	bool		is_ascii = true;

	for (size_t i = 0; i < token.len; i++)
	{
		if (token.data[i] == '\0')
			return NULL;
		is_ascii &= !IS_HIGHBIT_SET(token.data[i]);
		copy[i] = token.data[i];
	}
	copy[token.len] = '\0';
	return is_ascii || GetDatabaseEncoding() == PG_UTF8 ? copy : NULL;
}

NexusTimeoutType
nexus_outcomes_timeout_type(NexusState state, TimestampTz scheduled_time, TimestampTz started_time,
							int64 schedule_to_close, int64 schedule_to_start, int64 start_to_close)
{
	TimestampTz close = schedule_to_close > 0 ? scheduled_time + schedule_to_close : DT_NOEND;

	if (state == NEXUS_STATE_STARTED)
		return start_to_close > 0 && started_time + start_to_close < close
			? NEXUS_TIMEOUT_START_TO_CLOSE : NEXUS_TIMEOUT_SCHEDULE_TO_CLOSE;
	return schedule_to_start > 0 && scheduled_time + schedule_to_start < close
		? NEXUS_TIMEOUT_SCHEDULE_TO_START : NEXUS_TIMEOUT_SCHEDULE_TO_CLOSE;
}
