/*
 * await.c
 *	  nexus.await(), wait(), await_all(), state() and result().
 */
#include "postgres.h"

#include "api/arguments.h"
#include "api/verdict.h"
#include "api/waiting.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#define AWAIT_ALL_COLUMNS 4

PG_FUNCTION_INFO_V1(nexus_await);
PG_FUNCTION_INFO_V1(nexus_wait);
PG_FUNCTION_INFO_V1(nexus_await_all);
PG_FUNCTION_INFO_V1(nexus_state);
PG_FUNCTION_INFO_V1(nexus_result);

static bool
is_awaited(const NexusOperationRow *row)
{
	return nexus_operation_await_end(row) == NEXUS_AWAIT_GOES_ON;
}

/* The row of an operation; awaiting it must end by the deadline. */
static NexusOperationRow *
await_row(const NexusUuid *id, TimestampTz deadline)
{
	NexusOperationRow *row = nexus_waiting_read(id);

	if (!is_awaited(row))
		return row;
	nexus_waiting_refuse_own(row);
	nexus_waiting_require_preload();
	(void) nexus_waiting_until_ended(id, deadline);
	row = nexus_waiting_read(id);
	if (is_awaited(row))
		nexus_waiting_raise_timeout(row);
	return row;
}

Datum
nexus_await(PG_FUNCTION_ARGS)
{
	TimestampTz deadline;
	NexusUuid	id;
	Datum		result;

	nexus_arguments_check_context("await");
	deadline = nexus_arguments_read_deadline(fcinfo, 1, "timeout");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	nexus_arguments_read_id(fcinfo, 0, &id);
	result = nexus_verdict_take(await_row(&id, deadline));
	if (result == (Datum) 0)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(result);
}

/* Whether this CALL may end its transaction. */
static bool
is_nonatomic_call(FunctionCallInfo fcinfo)
{
	return fcinfo->context != NULL && IsA(fcinfo->context, CallContext) &&
		!castNode(CallContext, fcinfo->context)->atomic;
}

/*
 * Sleep in a transaction that holds no snapshot: what any sleeper holds keeps
 * vacuum from removing what all others delete meanwhile.
 */
static void
sleep_without_snapshot(const NexusUuid *id, TimestampTz deadline)
{
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	SPI_commit();
	(void) nexus_waiting_until_ended(id, deadline);

	/* What the portal goes on with is read by a new one. */
	EnsurePortalSnapshotExists();
	SPI_finish();
}

static Datum
make_wait_result(FunctionCallInfo fcinfo, Datum result)
{
	TupleDesc	columns;
	bool		is_null = result == (Datum) 0;

	if (get_call_result_type(fcinfo, NULL, &columns) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	columns = BlessTupleDesc(columns);
	return HeapTupleGetDatum(heap_form_tuple(columns, &result, &is_null));
}

Datum
nexus_wait(PG_FUNCTION_ARGS)
{
	NexusOperationRow *row;
	TimestampTz deadline;
	NexusUuid	id;

	nexus_arguments_check_context("wait");
	deadline = nexus_arguments_read_deadline(fcinfo, 1, "timeout");
	if (PG_ARGISNULL(0))
		PG_RETURN_DATUM(make_wait_result(fcinfo, (Datum) 0));
	nexus_arguments_read_id(fcinfo, 0, &id);

	row = nexus_waiting_read(&id);
	if (is_awaited(row) && is_nonatomic_call(fcinfo))
	{
		nexus_waiting_refuse_own(row);
		nexus_waiting_require_preload();
		sleep_without_snapshot(&id, deadline);
		row = nexus_waiting_read(&id);
		if (is_awaited(row))
			nexus_waiting_raise_timeout(row);
	}
	PG_RETURN_DATUM(make_wait_result(fcinfo, nexus_verdict_take(await_row(&id, deadline))));
}

/*
 * The operations of an array without its NULLs, each seen by the user and not
 * its own; number read.  The current context is emptied.
 */
static int
check_awaited(const Datum *values, const bool *nulls, int count, NexusUuid *ids)
{
	int			found = 0;

	for (int i = 0; i < count; i++)
	{
		NexusOperationRow *row;

		if (nulls[i])
			continue;
		MemoryContextReset(CurrentMemoryContext);
		memcpy(ids[found].bytes, DatumGetUUIDP(values[i])->data, UUID_LEN);
		row = nexus_waiting_read(&ids[found]);
		if (nexus_state_is_closed(row->state))
			continue;
		nexus_waiting_refuse_own(row);
		found++;
	}
	return found;
}

static void
put_outcome(ReturnSetInfo *out, Datum id, bool is_null)
{
	Datum		values[AWAIT_ALL_COLUMNS] = {0};
	bool		nulls[AWAIT_ALL_COLUMNS] = {true, true, true, true};

	if (!is_null)
	{
		NexusOperationRow *row = nexus_waiting_read((const NexusUuid *) DatumGetUUIDP(id));

		values[0] = id;
		values[1] = CStringGetTextDatum(nexus_state_name(row->state));
		if (row->state == NEXUS_STATE_SUCCEEDED && row->result_is_json)
			values[2] = nexus_verdict_result(row);
		values[3] = row->failure;
		for (int i = 0; i < AWAIT_ALL_COLUMNS; i++)
			nulls[i] = values[i] == (Datum) 0;
	}
	tuplestore_putvalues(out->setResult, out->setDesc, values, nulls);
}

Datum
nexus_await_all(PG_FUNCTION_ARGS)
{
	TimestampTz deadline;
	Datum	   *values;
	bool	   *nulls;
	NexusUuid  *ids;
	int			count;
	int			open;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch;

	nexus_arguments_check_context("await_all");
	deadline = nexus_arguments_read_deadline(fcinfo, 1, "timeout");
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &values, &nulls, &count);
	ids = palloc(Max(count, 1) * sizeof(NexusUuid));

	/* All results together may be far more than one. */
	scratch = AllocSetContextCreate(caller, "nexus await_all", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(scratch);
	open = check_awaited(values, nulls, count, ids);
	if (open > 0)
	{
		nexus_waiting_require_preload();
		(void) nexus_waiting_until_closed(ids, open, deadline);
	}
	for (int i = 0; i < count; i++)
	{
		MemoryContextReset(scratch);
		put_outcome((ReturnSetInfo *) fcinfo->resultinfo, values[i], nulls[i]);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
	return (Datum) 0;
}

Datum
nexus_state(PG_FUNCTION_ARGS)
{
	NexusUuid	id;

	PreventCommandIfParallelMode("nexus.state()");
	nexus_arguments_read_id(fcinfo, 0, &id);
	PG_RETURN_TEXT_P(cstring_to_text(nexus_state_name(nexus_waiting_read(&id)->state)));
}

Datum
nexus_result(PG_FUNCTION_ARGS)
{
	NexusOperationRow *row;
	NexusUuid	id;
	Datum		result = (Datum) 0;

	PreventCommandIfParallelMode("nexus.result()");
	nexus_arguments_read_id(fcinfo, 0, &id);
	row = nexus_waiting_read(&id);
	if (row->state == NEXUS_STATE_SUCCEEDED)
		result = nexus_verdict_result(row);
	if (result == (Datum) 0)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(result);
}
