/*
 * outcome.c
 *	  A group of outcomes: what is common goes straight into the rows, what is
 *	  rare by array statements.
 *
 * Order inside of a group: inserts, cancellations, progress, what is due by
 * request, closes, so that a cancel, a start and a completion that meet in one
 * group all leave their mark, and a cancel that waits for the start is found by it.
 * Progress of an operation that closes in the same group comes with the close.
 */
#include "postgres.h"

#include "store/outcome.h"

#include "catalog/pg_type.h"
#include "store/attempt.h"
#include "store/operation_key.h"
#include "store/outcome_arrays.h"
#include "store/outcome_row.h"
#include "store/result.h"
#include "store/stat.h"
#include "store/transaction.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define EACH(name) "pg_catalog.unnest(" name ")"
#define EACH_1_TO_5 EACH("$1") ", " EACH("$2") ", " EACH("$3") ", " EACH("$4") ", " EACH("$5")
#define EACH_6_TO_9 EACH("$6") ", " EACH("$7") ", " EACH("$8") ", " EACH("$9")

/* The outcomes of one kind, in the order in which they came. */
static NexusOutcome **
select_kind(NexusOutcome *const *outcomes, int count, NexusOutcomeKind kind, int *selected)
{
	NexusOutcome **list = palloc(sizeof(NexusOutcome *) * (count + 1));

	*selected = 0;
	for (int i = 0; i < count; i++)
		if (outcomes[i]->kind == kind)
			list[(*selected)++] = outcomes[i];
	return list;
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(&(*(NexusOutcome *const *) a)->id, &(*(NexusOutcome *const *) b)->id, sizeof(NexusUuid));
}

static NexusOutcome **
search_id(NexusOutcome **sorted, int count, const NexusUuid *id)
{
	NexusOutcome wanted;
	NexusOutcome *key = &wanted;

	wanted.id = *id;
	return bsearch(&key, sorted, count, sizeof(NexusOutcome *), compare_ids);
}

static NexusOutcome *
find_by_id(NexusOutcome **sorted, int count, const NexusUuid *id)
{
	NexusOutcome **found = search_id(sorted, count, id);

	return found == NULL ? NULL : *found;
}

/* For outcomes of several kinds, of which one operation may have more than one. */
static void
mark_all(NexusOutcome **sorted, int count, const NexusUuid *id, NexusDisposition disposition)
{
	NexusOutcome **found = search_id(sorted, count, id);

	while (found > sorted && compare_ids(found - 1, found) == 0)
		found--;
	for (; found < sorted + count && memcmp(&(*found)->id, id, sizeof(NexusUuid)) == 0; found++)
		(*found)->disposition = disposition;
}

/* Waits for nobody: where a user's transaction writes the same key, the caller does. */
static NexusDisposition
apply_insert(const NexusNewOperation *operation)
{
	if (operation->operation_key != NULL && !nexus_operation_key_insert_executed(operation))
		return NEXUS_DISPOSITION_KEY_TAKEN;
	return nexus_operation_insert_executed(operation) ? NEXUS_DISPOSITION_APPLIED : NEXUS_DISPOSITION_CLOSED_BEFORE;
}

static void
apply_inserts(NexusOutcome *const *outcomes, int count)
{
	for (int i = 0; i < count; i++)
		if (outcomes[i]->kind == NEXUS_OUTCOME_INSERT)
			outcomes[i]->disposition = apply_insert(outcomes[i]->insert);
}

/*
 * Run an UPDATE of a list and mark as applied what it returned, of which column
 * 1 is the id.  The list is in the order of ids afterwards.
 */
static void
update_and_mark(SPIPlanPtr plan, NexusOutcomeArrays *arrays, NexusOutcome **list, int count,
				void (*note) (NexusOutcome *outcome, const NexusResultRow *row))
{
	SPITupleTable *table;

	nexus_transaction_execute(plan, nexus_outcome_arrays_values(arrays), NULL, SPI_OK_UPDATE_RETURNING);
	qsort(list, count, sizeof(NexusOutcome *), compare_ids);
	table = SPI_tuptable;
	for (uint64 i = 0; i < table->numvals; i++)
	{
		NexusResultRow row = {table->vals[i], table->tupdesc};
		NexusOutcome *outcome;
		NexusUuid	id;

		nexus_result_uuid(&row, 1, &id);
		outcome = find_by_id(list, count, &id);
		outcome->disposition = NEXUS_DISPOSITION_APPLIED;
		note(outcome, &row);
	}
	SPI_freetuptable(table);
}

#define ROWS_OF_IDS "SELECT o.id FROM nexus.operation o WHERE o.id OPERATOR(pg_catalog.=) ANY ($1) "

/*
 * Give a disposition to the outcomes whose rows are there, or those of them that nobody has
 * locked.  The list is in the order of ids afterwards.
 */
static void
mark_rows(NexusOutcome **list, int count, bool unlocked_only, NexusDisposition disposition)
{
	static SPIPlanPtr present = NULL;
	static SPIPlanPtr unlocked = NULL;
	static const Oid types[] = {UUIDARRAYOID};
	NexusOutcomeArrays *arrays = nexus_outcome_arrays_create(list, count, lengthof(types));
	SPITupleTable *table;

	nexus_transaction_plan(&present, ROWS_OF_IDS, lengthof(types), types);
	nexus_transaction_plan(&unlocked, ROWS_OF_IDS "FOR UPDATE SKIP LOCKED", lengthof(types), types);
	nexus_outcome_arrays_id(arrays, 0);
	nexus_transaction_execute(unlocked_only ? unlocked : present, nexus_outcome_arrays_values(arrays), NULL,
							  SPI_OK_SELECT);
	qsort(list, count, sizeof(NexusOutcome *), compare_ids);
	table = SPI_tuptable;
	for (uint64 i = 0; i < table->numvals; i++)
	{
		NexusResultRow row = {table->vals[i], table->tupdesc};
		NexusUuid	id;

		nexus_result_uuid(&row, 1, &id);
		mark_all(list, count, &id, disposition);
	}
	SPI_freetuptable(table);
}

/* Column 2 tells whether a cancel request can be, and has to be, sent now. */
static void
note_cancel_due(NexusOutcome *outcome, const NexusResultRow *row)
{
	outcome->is_cancel_due = nexus_result_int(row, 2, 0) != 0;
}

/* Progress and a close that meet in one group are written at once. */
static void
pair_up(NexusOutcome *const *outcomes, int count)
{
	int			n;
	NexusOutcome **progress = select_kind(outcomes, count, NEXUS_OUTCOME_PROGRESS, &n);

	qsort(progress, n, sizeof(NexusOutcome *), compare_ids);
	for (int i = 0; i < n; i++)
		progress[i]->has_close = false;
	for (int i = 0; i < count; i++)
	{
		if (outcomes[i]->kind != NEXUS_OUTCOME_CLOSE)
			continue;
		outcomes[i]->progress = find_by_id(progress, n, &outcomes[i]->id);
		if (outcomes[i]->progress != NULL)
			outcomes[i]->progress->has_close = true;
	}
}

static void
apply_progress(NexusOutcome *const *outcomes, int count)
{
	int			n;
	NexusOutcome **list = select_kind(outcomes, count, NEXUS_OUTCOME_PROGRESS, &n);
	int			alone = 0;

	for (int i = 0; i < n; i++)
		if (!list[i]->has_close)
			list[alone++] = list[i];
	nexus_outcome_row_write(list, alone);
}

/* What somebody asked to be tried again, as far as it backs off. */
static void
apply_due(NexusOutcome *const *outcomes, int count)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDARRAYOID, TIMESTAMPTZARRAYOID};
	NexusOutcomeArrays *arrays;
	int			n;
	NexusOutcome **list = select_kind(outcomes, count, NEXUS_OUTCOME_DUE, &n);

	if (n == 0)
		return;
	nexus_transaction_plan(&plan,
						   "UPDATE nexus.operation AS o SET "
						   "next_attempt_schedule_time = CASE WHEN o.state OPERATOR(pg_catalog.=) 'backing_off' "
						   "THEN u.due ELSE o.next_attempt_schedule_time END, "
						   "cancellation_next_attempt_schedule_time = CASE WHEN o.cancellation_state "
						   "OPERATOR(pg_catalog.=) 'backing_off' THEN u.due "
						   "ELSE o.cancellation_next_attempt_schedule_time END "
						   "FROM ROWS FROM (" EACH("$1") ", " EACH("$2") ") AS u (id, due) "
						   "WHERE o.id OPERATOR(pg_catalog.=) u.id AND o.close_time IS NULL "
						   "AND (o.state OPERATOR(pg_catalog.=) 'backing_off' "
						   "OR o.cancellation_state OPERATOR(pg_catalog.=) 'backing_off') "
						   "RETURNING o.id, CASE WHEN o.cancellation_state OPERATOR(pg_catalog.=) 'backing_off' "
						   "THEN 1 ELSE 0 END", lengthof(types), types);
	arrays = nexus_outcome_arrays_create(list, n, lengthof(types));
	nexus_outcome_arrays_id(arrays, 0);
	NEXUS_OUTCOME_TIME(arrays, 1, next_attempt_schedule_time);
	update_and_mark(plan, arrays, list, n, note_cancel_due);
}

static void
apply_closes(NexusOutcome *const *outcomes, int count, TimestampTz *last_close_time)
{
	int			n;
	NexusOutcome **list = select_kind(outcomes, count, NEXUS_OUTCOME_CLOSE, &n);
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < n; i++)
	{
		*last_close_time = Max(now, *last_close_time + 1);
		list[i]->close_time = *last_close_time;
	}
	nexus_outcome_row_write(list, n);
}

/* Columns 3 and 4: the type, and what the state is now. */
static void
note_cancellation(NexusOutcome *outcome, const NexusResultRow *row)
{
	NexusCancellationType type = nexus_cancellation_type_of_name(nexus_result_text(row, 3));
	NexusCancellationState state = nexus_cancellation_state_of_name(nexus_result_text(row, 4));

	note_cancel_due(outcome, row);
	outcome->ends_waiting = nexus_await_rule(false, type, state) != NEXUS_AWAIT_GOES_ON;
}

static void
apply_cancellations(NexusOutcome *const *outcomes, int count)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	INT4ARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, JSONBARRAYOID};
	NexusOutcomeArrays *arrays;
	int			n;
	NexusOutcome **list = select_kind(outcomes, count, NEXUS_OUTCOME_CANCELLATION, &n);

	if (n == 0)
		return;
	nexus_transaction_plan(&plan,
						   "UPDATE nexus.operation AS o SET cancellation_state = "
						   "CASE WHEN u.state OPERATOR(pg_catalog.=) 'requested' "
						   "AND o.state OPERATOR(pg_catalog.=) 'started' THEN 'scheduled' ELSE u.state END, "
						   "cancellation_requested_time = COALESCE(o.cancellation_requested_time, u.requested_time), "
						   "cancellation_reason = COALESCE(o.cancellation_reason, u.reason), "
						   "cancellation_identity = COALESCE(o.cancellation_identity, u.identity), "
						   "cancellation_attempt = u.attempt, "
						   "cancellation_last_attempt_complete_time = u.complete_time, "
						   "cancellation_next_attempt_schedule_time = u.next_time, "
						   "cancellation_last_attempt_failure = u.failure "
						   "FROM ROWS FROM (" EACH_1_TO_5 ", "
						   EACH_6_TO_9 ") "
						   "AS u (id, state, requested_time, reason, identity, attempt, complete_time, "
						   "next_time, failure) "
						   "WHERE o.id OPERATOR(pg_catalog.=) u.id AND o.close_time IS NULL "
						   "RETURNING o.id, CASE WHEN o.state OPERATOR(pg_catalog.=) 'started' "
						   "AND u.state OPERATOR(pg_catalog.=) 'requested' THEN 1 ELSE 0 END, "
						   "o.cancellation_type, o.cancellation_state", lengthof(types), types);
	arrays = nexus_outcome_arrays_create(list, n, lengthof(types));
	nexus_outcome_arrays_id(arrays, 0);
	NEXUS_OUTCOME_TEXT(arrays, 1, cancellation_state);
	NEXUS_OUTCOME_TIME(arrays, 2, cancellation_requested_time);
	NEXUS_OUTCOME_TEXT(arrays, 3, cancellation_reason);
	NEXUS_OUTCOME_TEXT(arrays, 4, cancellation_identity);
	NEXUS_OUTCOME_INT(arrays, 5, cancellation_attempt);
	NEXUS_OUTCOME_TIME(arrays, 6, cancellation_complete_time);
	NEXUS_OUTCOME_TIME(arrays, 7, cancellation_next_time);
	NEXUS_OUTCOME_JSONB(arrays, 8, cancellation_failure);
	update_and_mark(plan, arrays, list, n, note_cancellation);
}

static void
delete_done_requests(NexusOutcome *const *outcomes, int count)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDARRAYOID, TEXTARRAYOID};
	NexusOutcomeArrays *arrays;
	NexusOutcome **list = palloc(sizeof(NexusOutcome *) * (count + 1));
	int			n = 0;

	for (int i = 0; i < count; i++)
		if (outcomes[i]->done_request != NULL)
			list[n++] = outcomes[i];
	if (n == 0)
		return;
	nexus_transaction_plan(&plan, "DELETE FROM nexus.request AS r USING ROWS FROM (" EACH("$1") ", " EACH("$2") ") "
						   "AS u (id, kind) WHERE r.operation_id OPERATOR(pg_catalog.=) u.id "
						   "AND r.kind OPERATOR(pg_catalog.=) u.kind", lengthof(types), types);
	arrays = nexus_outcome_arrays_create(list, n, lengthof(types));
	nexus_outcome_arrays_id(arrays, 0);
	NEXUS_OUTCOME_TEXT(arrays, 1, done_request);
	nexus_transaction_execute(plan, nexus_outcome_arrays_values(arrays), NULL, SPI_OK_DELETE);
}

void
nexus_outcome_apply(NexusOutcome *const *outcomes, int count, TimestampTz *last_close_time)
{
	nexus_stat_begin();
	for (int i = 0; i < count; i++)
	{
		outcomes[i]->disposition = NEXUS_DISPOSITION_MISSING;
		outcomes[i]->is_cancel_due = false;
	}
	pair_up(outcomes, count);
	apply_inserts(outcomes, count);
	apply_cancellations(outcomes, count);
	apply_progress(outcomes, count);
	apply_due(outcomes, count);
	apply_closes(outcomes, count, last_close_time);
	nexus_attempt_append(outcomes, count);
	delete_done_requests(outcomes, count);
	for (int i = 0; i < count; i++)
		nexus_stat_count_attempt(outcomes[i]);
	nexus_stat_write();
}

void
nexus_outcome_probe_locks(NexusOutcome *const *outcomes, int count, bool *is_free)
{
	NexusOutcome **list = palloc(sizeof(NexusOutcome *) * (count + 1));

	memcpy(list, outcomes, sizeof(NexusOutcome *) * count);
	for (int i = 0; i < count; i++)
		outcomes[i]->disposition = NEXUS_DISPOSITION_APPLIED;

	/*
	 * a row that is not there is free; one that is there and is skipped is
	 * not
	 */
	mark_rows(list, count, false, NEXUS_DISPOSITION_MISSING);
	mark_rows(list, count, true, NEXUS_DISPOSITION_APPLIED);
	for (int i = 0; i < count; i++)
		is_free[i] = outcomes[i]->disposition == NEXUS_DISPOSITION_APPLIED;
}
