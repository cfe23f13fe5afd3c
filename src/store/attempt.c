/*
 * attempt.c
 *	  The log of failed attempts, the last 20 of each operation.
 */
#include "postgres.h"

#include "store/attempt.h"

#include "catalog/pg_type.h"
#include "store/result.h"
#include "store/transaction.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

static void
append_one(const NexusOutcome *outcome)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, TEXTOID, INT4OID, TIMESTAMPTZOID, INTERVALOID, INT4OID, BOOLOID, JSONBOID};
	const NexusFailedAttempt *attempt = &outcome->failed_attempt;
	char		nulls[lengthof(types) + 1] = "        ";
	Datum		values[lengthof(types)];

	nexus_transaction_plan(&plan,
						   "INSERT INTO nexus.failed_attempt "
						   "(operation_id, kind, attempt, started_time, duration, http_status, retryable, failure) "
						   "SELECT $1, $2, $3, $4, $5, $6, $7, $8 "
						   "WHERE EXISTS (SELECT 1 FROM nexus.operation o WHERE o.id OPERATOR(pg_catalog.=) $1) "
						   "ON CONFLICT DO NOTHING", lengthof(types), types);
	values[0] = nexus_uuid_datum(&outcome->id);
	values[1] = CStringGetTextDatum(attempt->kind);
	values[2] = Int32GetDatum(attempt->attempt);
	values[3] = TimestampTzGetDatum(attempt->started_time);
	values[4] = IntervalPGetDatum(nexus_operation_interval(attempt->duration_us));
	values[5] = Int32GetDatum(attempt->http_status);
	if (attempt->http_status == 0)
		nulls[5] = 'n';
	values[6] = BoolGetDatum(attempt->is_retryable);
	values[7] = attempt->failure;
	nexus_transaction_execute(plan, values, nulls, SPI_OK_INSERT);
}

static void
drop_oldest(const NexusOutcome *outcome)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, TEXTOID, INT4OID};
	Datum		values[lengthof(types)];

	nexus_transaction_plan(&plan,
						   "DELETE FROM nexus.failed_attempt AS a WHERE a.operation_id OPERATOR(pg_catalog.=) $1 "
						   "AND a.kind OPERATOR(pg_catalog.=) $2 AND a.attempt OPERATOR(pg_catalog.<=) $3",
						   lengthof(types), types);
	values[0] = nexus_uuid_datum(&outcome->id);
	values[1] = CStringGetTextDatum(outcome->failed_attempt.kind);
	values[2] = Int32GetDatum(outcome->failed_attempt.attempt - NEXUS_ATTEMPTS_KEPT);
	nexus_transaction_execute(plan, values, NULL, SPI_OK_DELETE);
}

void
nexus_attempt_append(NexusOutcome *const *outcomes, int count)
{
	for (int i = 0; i < count; i++)
	{
		/* without memory for it there is no failure to log */
		if (outcomes[i]->failed_attempt.kind == NULL || outcomes[i]->failed_attempt.failure == (Datum) 0)
			continue;
		append_one(outcomes[i]);
		if (outcomes[i]->failed_attempt.attempt > NEXUS_ATTEMPTS_KEPT)
			drop_oldest(outcomes[i]);
	}
}
