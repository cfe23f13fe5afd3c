/*
 * transaction.c
 *	  The worker's transaction bracket, written once.
 */
#include "postgres.h"

#include "store/transaction.h"

#include "access/xact.h"
#include "config.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "shared/worker_registry.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

static void
transaction_begin(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
}

static void
transaction_commit(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	/* without this, autovacuum never learns that our tables change */
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* Describe the error that is being handled, log it and end its transaction. */
static void
transaction_abort(const char *activity, MemoryContext context, NexusSqlError *error)
{
	ErrorData  *edata;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	FlushErrorState();
	AbortOutOfAnyTransaction();
	pgstat_report_activity(STATE_IDLE, NULL);

	error->sqlerrcode = edata->sqlerrcode;
	strlcpy(error->message, edata->message ? edata->message : "", sizeof(error->message));
	ereport(WARNING,
			(errcode(edata->sqlerrcode),
			 errmsg("%s could not %s: %s", MyBgworkerEntry->bgw_name, activity, error->message),
			 edata->detail ? errdetail_log("%s", edata->detail) : 0,
			 edata->context ? errcontext("%s", edata->context) : 0));
	FreeErrorData(edata);
}

bool
nexus_transaction_run(const char *activity, void (*work) (void *arg), void *arg, NexusSqlError *volatile error)
{
	MemoryContext context = CurrentMemoryContext;
	NexusSqlError ignored;
	NexusSqlError *const report = error == NULL ? &ignored : error;
	volatile bool ok = true;

	report->sqlerrcode = 0;

	PG_TRY();
	{
		transaction_begin(activity);
		work(arg);
		transaction_commit();
	}
	PG_CATCH();
	{
		transaction_abort(activity, context, report);
		if (error == NULL)
			nexus_worker_registry_set_error(report->message);
		ok = false;
	}
	PG_END_TRY();

	MemoryContextSwitchTo(context);
	return ok;
}

bool
nexus_transaction_is_environment_error(int sqlerrcode)
{
	static const char classes[][3] = {"08", "40", "53", "55", "57", "58"};
	const char *state = unpack_sql_state(sqlerrcode);

	/* the extension is being dropped, or its update is due */
	if (sqlerrcode == ERRCODE_UNDEFINED_TABLE || sqlerrcode == ERRCODE_UNDEFINED_COLUMN
		|| sqlerrcode == ERRCODE_INVALID_SCHEMA_NAME)
		return true;
	for (size_t i = 0; i < lengthof(classes); i++)
		if (strncmp(state, classes[i], 2) == 0)
			return true;
	return false;
}

void
nexus_transaction_apply_synchronous_commit(void)
{
	SetConfigOption("synchronous_commit", nexus_synchronous_commit == SYNCHRONOUS_COMMIT_ON ? "on" : "local",
					PGC_SUSET, PGC_S_OVERRIDE);
}

void
nexus_transaction_fix_session(void)
{
	/*
	 * Planner switches: a plan made while the table was empty would be a
	 * sequential scan, and stay one after the table has grown.
	 */
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"statement_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"lock_timeout", "1s"},
		{"jit", "off"},
		{"enable_seqscan", "off"},
		{"enable_hashjoin", "off"},
		{"enable_mergejoin", "off"},
		{"enable_bitmapscan", "off"},
		{"enable_material", "off"},
		{"enable_nestloop", "on"},
		{"enable_indexscan", "on"},
		{"enable_sort", "on"},
		{"max_parallel_workers_per_gather", "0"},
		{"plan_cache_mode", "force_generic_plan"},
#ifdef USE_LZ4
		{"default_toast_compression", "lz4"},	/* a third of pglz's time */
#endif
		{"session_replication_role", "origin"},
		{"row_security", "on"},
		{"bytea_output", "hex"},
		{"IntervalStyle", "postgres"},
		{"DateStyle", "ISO"},
	};

	for (size_t i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
	nexus_transaction_apply_synchronous_commit();
}

SPIPlanPtr
nexus_transaction_plan(SPIPlanPtr *plan, const char *sql, int nargs, const Oid *types)
{
	if (*plan == NULL)
	{
		SPIPlanPtr	made = SPI_prepare(sql, nargs, unconstify(Oid *, types));

		if (made == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		if (SPI_keepplan(made) != 0)
			elog(ERROR, "SPI_keepplan failed");
		*plan = made;
	}
	return *plan;
}

void
nexus_transaction_execute(SPIPlanPtr plan, Datum *values, const char *nulls, int expected)
{
	int			code = SPI_execute_plan(plan, values, nulls, false, 0);

	if (code != expected)
		elog(ERROR, "SPI_execute_plan returned %s", SPI_result_code_string(code));
}
