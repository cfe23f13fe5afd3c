/*
 * outcome_row.c
 *	  Progress and close, written into the row of their operation.
 *
 * Columns are set in the table's order, in which they are found fastest.
 */
#include "postgres.h"

#include "store/outcome_row.h"

#include "access/table.h"
#include "store/relation.h"
#include "store/result.h"
#include "store/row.h"
#include "store/stat.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

static void
set_text(NexusRow *row, const char *column, const char *value)
{
	if (value == NULL)
		nexus_row_set_null(row, column);
	else
		nexus_row_set(row, column, CStringGetTextDatum(value));
}

/* 0 and the infinite ones are NULL. */
static void
set_time(NexusRow *row, const char *column, TimestampTz value)
{
	if (value == 0 || TIMESTAMP_NOT_FINITE(value))
		nexus_row_set_null(row, column);
	else
		nexus_row_set(row, column, TimestampTzGetDatum(value));
}

static void
set_datum(NexusRow *row, const char *column, Datum value)
{
	if (value == (Datum) 0)
		nexus_row_set_null(row, column);
	else
		nexus_row_set(row, column, value);
}

static bool
is_null(NexusRow *row, const char *column)
{
	bool		result;

	(void) nexus_row_get(row, column, &result);
	return result;
}

static TimestampTz
get_time(NexusRow *row, const char *column, TimestampTz if_null)
{
	bool		was_null;
	Datum		value = nexus_row_get(row, column, &was_null);

	return was_null ? if_null : DatumGetTimestampTz(value);
}

static bool
has_text(NexusRow *row, const char *column, const char *wanted)
{
	bool		was_null;
	Datum		value = nexus_row_get(row, column, &was_null);

	return !was_null && strcmp(TextDatumGetCString(value), wanted) == 0;
}

/* False where the operation is past it. */
static bool
set_progress(NexusRow *row, NexusOutcome *progress)
{
	bool		is_started = progress->state == NEXUS_STATE_STARTED;
	bool		cancel_waits;

	if (has_text(row, "state", nexus_state_name(NEXUS_STATE_STARTED)) || !is_null(row, "close_time"))
		return false;
	cancel_waits = is_started && has_text(row, "cancellation_state",
										  nexus_cancellation_state_name(NEXUS_CANCELLATION_REQUESTED));
	set_text(row, "state", nexus_state_name(progress->state));
	nexus_row_set(row, "attempt", Int32GetDatum(progress->attempt));
	set_time(row, "started_time", progress->started_time);
	set_time(row, "last_attempt_complete_time", progress->last_attempt_complete_time);
	set_time(row, "next_attempt_schedule_time", progress->next_attempt_schedule_time);
	set_time(row, "deadline", progress->deadline);
	set_text(row, "operation_token", progress->operation_token);
	set_datum(row, "last_attempt_failure", progress->failure);
	if (progress->links != (Datum) 0)
		nexus_row_set(row, "links", progress->links);
	if (cancel_waits)
		set_text(row, "cancellation_state", nexus_cancellation_state_name(NEXUS_CANCELLATION_SCHEDULED));
	progress->is_cancel_due = is_started && has_text(row, "cancellation_state",
													 nexus_cancellation_state_name(NEXUS_CANCELLATION_SCHEDULED));
	return true;
}

/* False where the operation is closed. */
static bool
set_close(NexusRow *row, const NexusOutcome *close)
{
	bool		had_started = !is_null(row, "started_time");
	bool		has_token = !is_null(row, "operation_token");
	bool		was_null;
	int32		attempt;

	if (!is_null(row, "close_time"))
		return false;
	attempt = DatumGetInt32(nexus_row_get(row, "attempt", &was_null));
	set_text(row, "state", nexus_state_name(close->state));
	nexus_row_set(row, "attempt", Int32GetDatum(Max(attempt, close->attempt)));
	if (!had_started)
		set_time(row, "started_time", close->started_time);
	set_time(row, "close_time", close->close_time);
	if (close->last_attempt_complete_time != 0)
		set_time(row, "last_attempt_complete_time", close->last_attempt_complete_time);
	nexus_row_set_null(row, "next_attempt_schedule_time");
	if (!has_token)
		set_text(row, "operation_token", close->operation_token);
	set_datum(row, "result", PointerGetDatum(close->result));
	set_text(row, "result_content_type", close->result_content_type);
	nexus_row_set(row, "result_is_json", BoolGetDatum(close->result_is_json));
	set_datum(row, "failure", close->failure);
	if (!had_started)
		set_datum(row, "links", close->links);
	set_time(row, "handler_close_time", close->handler_close_time);
	return true;
}

static void
count_closed(NexusRow *row, const NexusOutcome *close)
{
	bool		was_null;
	char	   *endpoint = TextDatumGetCString(nexus_row_get(row, "endpoint", &was_null));
	TimestampTz scheduled = get_time(row, "scheduled_time", close->close_time);
	bool		is_start = close->started_time != 0
	&& close->started_time == get_time(row, "started_time", DT_NOBEGIN);

	nexus_stat_count_closed(endpoint, close->state, close->close_time - scheduled, is_start);
}

/* One try; false where somebody else changed the row meanwhile. */
static bool
try_to_write(NexusRow *row, NexusOutcome *progress, NexusOutcome *close)
{
	const NexusUuid *id = close != NULL ? &close->id : &progress->id;
	bool		has_progressed;
	bool		has_closed;

	if (!nexus_row_find(row, nexus_uuid_datum(id)))
		return true;
	has_progressed = progress != NULL && set_progress(row, progress);
	has_closed = close != NULL && set_close(row, close);
	if ((has_progressed || has_closed) && !nexus_row_update(row))
		return false;
	if (has_progressed)
		progress->disposition = NEXUS_DISPOSITION_APPLIED;
	if (close != NULL)
		close->disposition = has_closed ? NEXUS_DISPOSITION_APPLIED : NEXUS_DISPOSITION_CLOSED_BEFORE;
	if (has_closed)
		count_closed(row, close);
	return true;
}

void
nexus_outcome_row_write(NexusOutcome *const *outcomes, int count)
{
	Relation	relation;
	NexusRow   *row;

	if (count == 0)
		return;
	relation = nexus_relation_open("operation", RowExclusiveLock);
	row = nexus_row_create(relation);
	nexus_row_begin_updates(row);
	for (int i = 0; i < count; i++)
	{
		bool		is_close = outcomes[i]->kind == NEXUS_OUTCOME_CLOSE;
		NexusOutcome *progress = is_close ? outcomes[i]->progress : outcomes[i];

		while (!try_to_write(row, progress, is_close ? outcomes[i] : NULL))
			;
	}
	nexus_row_end_updates(row);
	nexus_row_destroy(row);
	table_close(relation, NoLock);
}
