/*
 * stat.c
 *	  Monotonic counters of each endpoint.
 */
#include "postgres.h"

#include "store/stat.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "store/relation.h"
#include "store/result.h"
#include "store/row.h"
#include "store/transaction.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* What a transaction adds to one endpoint's row. */
typedef struct Delta
{
	const char *endpoint;
	int64		attempts;
	int64		attempt_failures;
	int64		attempt_time_us;
	int64		started;
	int64		closed[NEXUS_STATE_TERMINATED + 1];
	int64		schedule_to_close_us;
	char		status;			/* simplehash's own */
} Delta;

#define SH_PREFIX delta
#define SH_ELEMENT_TYPE Delta
#define SH_KEY_TYPE const char *
#define SH_KEY endpoint
#define SH_HASH_KEY(table, key) hash_bytes((const unsigned char *) (key), strlen(key))
#define SH_EQUAL(table, a, b) (strcmp(a, b) == 0)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef delta_hash Deltas;

#define FIRST_SIZE 8			/* most groups have few endpoints */

/* By endpoint, in the transaction's memory; NULL while nothing is counted. */
static Deltas *deltas = NULL;

/* What is returned is good until the next call. */
static Delta *
delta_of(const char *endpoint)
{
	Delta	   *delta;
	bool		found;

	if (deltas == NULL)
		deltas = delta_create(CurTransactionContext, FIRST_SIZE, NULL);
	delta = delta_insert(deltas, endpoint, &found);
	if (!found)
	{
		char		status = delta->status;

		memset(delta, 0, sizeof(*delta));
		delta->status = status;
		delta->endpoint = MemoryContextStrdup(CurTransactionContext, endpoint);
	}
	return delta;
}

void
nexus_stat_begin(void)
{
	deltas = NULL;
}

void
nexus_stat_count_attempt(const NexusOutcome *outcome)
{
	Delta	   *delta;

	if (outcome->attempts_made == 0)
		return;
	delta = delta_of(outcome->endpoint);
	delta->attempts += outcome->attempts_made;
	delta->attempt_time_us += outcome->attempt_time_us;
	if (outcome->attempt_failed)
		delta->attempt_failures++;
	if (outcome->kind == NEXUS_OUTCOME_PROGRESS && outcome->state == NEXUS_STATE_STARTED
		&& outcome->disposition == NEXUS_DISPOSITION_APPLIED)
		delta->started++;
}

void
nexus_stat_count_closed(const char *endpoint, NexusState state, int64 schedule_to_close_us, bool is_start)
{
	Delta	   *delta = delta_of(endpoint);

	delta->closed[state]++;
	delta->started += is_start;
	delta->schedule_to_close_us += schedule_to_close_us;
}

/* ---- writing: in the table's order of columns ---- */

static void
add_count(NexusRow *row, const char *column, int64 count)
{
	bool		is_null;
	int64		before = DatumGetInt64(nexus_row_get(row, column, &is_null));

	if (count != 0)
		nexus_row_set(row, column, Int64GetDatum(before + count));
}

static void
add_time(NexusRow *row, const char *column, int64 time_us)
{
	const double us_per_ms = 1000.0;
	bool		is_null;
	float8		before = DatumGetFloat8(nexus_row_get(row, column, &is_null));

	nexus_row_set(row, column, Float8GetDatum(before + time_us / us_per_ms));
}

static void
add_delta(NexusRow *row, const Delta *delta)
{
	add_count(row, "attempts", delta->attempts);
	add_count(row, "attempt_failures", delta->attempt_failures);
	add_time(row, "attempt_time", delta->attempt_time_us);
	add_count(row, "started", delta->started);
	add_count(row, "succeeded", delta->closed[NEXUS_STATE_SUCCEEDED]);
	add_count(row, "failed", delta->closed[NEXUS_STATE_FAILED]);
	add_count(row, "canceled", delta->closed[NEXUS_STATE_CANCELED]);
	add_count(row, "timed_out", delta->closed[NEXUS_STATE_TIMED_OUT]);
	add_count(row, "terminated", delta->closed[NEXUS_STATE_TERMINATED]);
	add_time(row, "schedule_to_close_time", delta->schedule_to_close_us);
}

/* False where the endpoint has no row yet. */
static bool
update_row(NexusRow *row, const Delta *delta)
{
	Datum		key = CStringGetTextDatum(delta->endpoint);

	do
	{
		if (!nexus_row_find(row, key))
			return false;
		add_delta(row, delta);
	} while (!nexus_row_update(row));
	return true;
}

/* False where somebody was faster. */
static bool
insert_row(Relation relation, const Delta *delta)
{
	NexusRow   *row = nexus_row_create(relation);
	bool		is_new;

	nexus_row_set(row, "endpoint", CStringGetTextDatum(delta->endpoint));
	add_delta(row, delta);
	nexus_row_set(row, "stats_reset", TimestampTzGetDatum(GetCurrentTimestamp()));
	is_new = nexus_row_insert_if_new(row);
	nexus_row_destroy(row);
	return is_new;
}

/* Those of the list that have a row are updated; the others, which are left in it, are counted. */
static int
update_rows(Relation relation, const Delta **list, int count)
{
	NexusRow   *row = nexus_row_create(relation);
	int			left = 0;

	nexus_row_begin_updates(row);
	for (int i = 0; i < count; i++)
		if (!update_row(row, list[i]))
			list[left++] = list[i];
	nexus_row_end_updates(row);
	nexus_row_destroy(row);
	return left;
}

/* The same for those that have none. */
static int
insert_rows(Relation relation, const Delta **list, int count)
{
	int			left = 0;

	for (int i = 0; i < count; i++)
		if (!insert_row(relation, list[i]))
			list[left++] = list[i];
	return left;
}

void
nexus_stat_write(void)
{
	Relation	relation;
	delta_iterator iterator;
	const Delta **list;
	const Delta *delta;
	int			count = 0;

	if (deltas == NULL)
		return;
	list = palloc(sizeof(Delta *) * deltas->members);
	delta_start_iterate(deltas, &iterator);
	while ((delta = delta_iterate(deltas, &iterator)) != NULL)
		list[count++] = delta;

	relation = nexus_relation_open("endpoint_stat", RowExclusiveLock);
	while ((count = update_rows(relation, list, count)) > 0)
		count = insert_rows(relation, list, count);
	table_close(relation, NoLock);
	deltas = NULL;
}

void
nexus_stat_note_deleted(const char *endpoint, TimestampTz close_time)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {TEXTOID, TIMESTAMPTZOID};
	Datum		values[] = {CStringGetTextDatum(endpoint), TimestampTzGetDatum(close_time)};

	nexus_transaction_plan(&plan,
						   "INSERT INTO nexus.endpoint_stat AS s (endpoint, deleted_close_time) VALUES ($1, $2) "
						   "ON CONFLICT (endpoint) DO UPDATE SET "
						   "deleted_close_time = GREATEST(s.deleted_close_time, EXCLUDED.deleted_close_time)",
						   lengthof(types), types);
	nexus_transaction_execute(plan, values, NULL, SPI_OK_INSERT);
}

static void
take_deleted(const NexusResultRow *row, void *arg)
{
	*(TimestampTz *) arg = nexus_result_time(row, 1, DT_NOBEGIN);
}

TimestampTz
nexus_stat_last_deleted(void)
{
	static SPIPlanPtr plan = NULL;
	TimestampTz last = DT_NOBEGIN;

	nexus_transaction_plan(&plan, "SELECT pg_catalog.max(s.deleted_close_time) FROM nexus.endpoint_stat s", 0, NULL);
	nexus_result_each(plan, NULL, take_deleted, &last);
	return last;
}
