/*
 * stat.c
 *	  Monotonic counters of each endpoint.
 */
#include "postgres.h"

#include "store/stat.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "store/result.h"
#include "store/transaction.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

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

#define COLUMNS \
	"endpoint, attempts, attempt_failures, attempt_time, started, " \
	"succeeded, failed, canceled, timed_out, terminated, schedule_to_close_time"
#define ADD(column) column " = s." column " OPERATOR(pg_catalog.+) EXCLUDED." column
#define INSERT_INTO "INSERT INTO nexus.endpoint_stat AS s (" COLUMNS ") "
#define OR_ADD \
	" ON CONFLICT (endpoint) DO UPDATE SET " \
	ADD("attempts") ", " ADD("attempt_failures") ", " ADD("attempt_time") ", " ADD("started") ", " \
	ADD("succeeded") ", " ADD("failed") ", " ADD("canceled") ", " ADD("timed_out") ", " ADD("terminated") ", " \
	ADD("schedule_to_close_time")
#define EACH(name) "pg_catalog.unnest(" name ")"

static const Oid column_types[] = {TEXTOID, INT8OID, INT8OID, FLOAT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID,
INT8OID, FLOAT8OID};

#define COLUMN_COUNT ((int) lengthof(column_types))

static void
get_columns(const Delta *delta, Datum *values)
{
	const double us_per_ms = 1000.0;

	values[0] = CStringGetTextDatum(delta->endpoint);
	values[1] = Int64GetDatum(delta->attempts);
	values[2] = Int64GetDatum(delta->attempt_failures);
	values[3] = Float8GetDatum(delta->attempt_time_us / us_per_ms);
	values[4] = Int64GetDatum(delta->started);
	values[5] = Int64GetDatum(delta->closed[NEXUS_STATE_SUCCEEDED]);
	values[6] = Int64GetDatum(delta->closed[NEXUS_STATE_FAILED]);
	values[7] = Int64GetDatum(delta->closed[NEXUS_STATE_CANCELED]);
	values[8] = Int64GetDatum(delta->closed[NEXUS_STATE_TIMED_OUT]);
	values[9] = Int64GetDatum(delta->closed[NEXUS_STATE_TERMINATED]);
	values[10] = Float8GetDatum(delta->schedule_to_close_us / us_per_ms);
}

static void
write_one(const Delta *delta)
{
	static SPIPlanPtr plan = NULL;
	Datum		values[COLUMN_COUNT];

	nexus_transaction_plan(&plan, INSERT_INTO "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)" OR_ADD,
						   COLUMN_COUNT, column_types);
	get_columns(delta, values);
	nexus_transaction_execute(plan, values, NULL, SPI_OK_INSERT);
}

static Datum
array_of(Datum *elements, int count, Oid type)
{
	int16		length;
	bool		by_value;
	char		alignment;

	get_typlenbyvalalign(type, &length, &by_value, &alignment);
	return PointerGetDatum(construct_array(elements, count, type, length, by_value, alignment));
}

static void
write_many(Delta *const *list, int count)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID, FLOAT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
	INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, FLOAT8ARRAYOID};
	Datum	   *rows = palloc(sizeof(Datum) * COLUMN_COUNT * count);
	Datum	   *elements = palloc(sizeof(Datum) * count);
	Datum		values[COLUMN_COUNT];

	StaticAssertStmt(lengthof(types) == lengthof(column_types), "each column needs its array");
	nexus_transaction_plan(&plan,
						   INSERT_INTO "SELECT " COLUMNS " FROM ROWS FROM ("
						   EACH("$1") ", " EACH("$2") ", " EACH("$3") ", " EACH("$4") ", " EACH("$5") ", "
						   EACH("$6") ", " EACH("$7") ", " EACH("$8") ", " EACH("$9") ", " EACH("$10") ", " EACH("$11")
						   ") AS u (" COLUMNS ")" OR_ADD, COLUMN_COUNT, types);
	for (int i = 0; i < count; i++)
		get_columns(list[i], rows + i * COLUMN_COUNT);
	for (int column = 0; column < COLUMN_COUNT; column++)
	{
		for (int i = 0; i < count; i++)
			elements[i] = rows[i * COLUMN_COUNT + column];
		values[column] = array_of(elements, count, column_types[column]);
	}
	nexus_transaction_execute(plan, values, NULL, SPI_OK_INSERT);
}

void
nexus_stat_write(void)
{
	delta_iterator iterator;
	Delta	  **list;
	Delta	   *delta;
	int			count = 0;

	if (deltas == NULL)
		return;
	list = palloc(sizeof(Delta *) * deltas->members);
	delta_start_iterate(deltas, &iterator);
	while ((delta = delta_iterate(deltas, &iterator)) != NULL)
		list[count++] = delta;
	/* arrays cost more to set up than the one row */
	if (count == 1)
		write_one(list[0]);
	else
		write_many(list, count);
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
