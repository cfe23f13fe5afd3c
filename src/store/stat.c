/*
 * stat.c
 *	  Monotonic counters of each endpoint.
 */
#include "postgres.h"

#include "store/stat.h"

#include "catalog/pg_type.h"
#include "store/result.h"
#include "store/transaction.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define MAX_ENDPOINT_NAME 1024	/* names are foreign servers': NAMEDATALEN at
								 * most */

/* What a transaction adds to one endpoint's row; a group has few of them. */
typedef struct Delta
{
	struct Delta *next;
	int64		attempts;
	int64		attempt_failures;
	int64		attempt_time_us;
	int64		started;
	int64		closed[NEXUS_STATE_TERMINATED + 1];
	int64		schedule_to_close_us;
	char		endpoint[FLEXIBLE_ARRAY_MEMBER];
} Delta;

static Delta *deltas = NULL;	/* in the transaction's memory */

static Delta *
delta_of(const char *endpoint)
{
	Size		len = strnlen(endpoint, MAX_ENDPOINT_NAME);
	Delta	   *delta;

	for (delta = deltas; delta != NULL; delta = delta->next)
		if (strcmp(delta->endpoint, endpoint) == 0)
			return delta;
	delta = MemoryContextAllocZero(CurTransactionContext, offsetof(Delta, endpoint) + len + 1);
	memcpy(delta->endpoint, endpoint, len);
	delta->next = deltas;
	deltas = delta;
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

static void
write_delta(const Delta *delta)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {TEXTOID, INT8OID, INT8OID, FLOAT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID,
	INT8OID, FLOAT8OID};
	Datum		values[lengthof(types)];
	const double us_per_ms = 1000.0;

	nexus_transaction_plan(&plan,
						   "INSERT INTO nexus.endpoint_stat AS s (endpoint, attempts, attempt_failures, attempt_time, "
						   "started, succeeded, failed, canceled, timed_out, terminated, schedule_to_close_time) "
						   "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) "
						   "ON CONFLICT (endpoint) DO UPDATE SET "
						   "attempts = s.attempts OPERATOR(pg_catalog.+) EXCLUDED.attempts, "
						   "attempt_failures = s.attempt_failures OPERATOR(pg_catalog.+) EXCLUDED.attempt_failures, "
						   "attempt_time = s.attempt_time OPERATOR(pg_catalog.+) EXCLUDED.attempt_time, "
						   "started = s.started OPERATOR(pg_catalog.+) EXCLUDED.started, "
						   "succeeded = s.succeeded OPERATOR(pg_catalog.+) EXCLUDED.succeeded, "
						   "failed = s.failed OPERATOR(pg_catalog.+) EXCLUDED.failed, "
						   "canceled = s.canceled OPERATOR(pg_catalog.+) EXCLUDED.canceled, "
						   "timed_out = s.timed_out OPERATOR(pg_catalog.+) EXCLUDED.timed_out, "
						   "terminated = s.terminated OPERATOR(pg_catalog.+) EXCLUDED.terminated, "
						   "schedule_to_close_time = s.schedule_to_close_time "
						   "OPERATOR(pg_catalog.+) EXCLUDED.schedule_to_close_time", lengthof(types), types);
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
	nexus_transaction_execute(plan, values, NULL, SPI_OK_INSERT);
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

void
nexus_stat_write(void)
{
	for (const Delta *delta = deltas; delta != NULL; delta = delta->next)
		write_delta(delta);
	deltas = NULL;
}
