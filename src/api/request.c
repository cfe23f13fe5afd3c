/*
 * request.c
 *	  nexus.cancel() and terminate(): ask something of an operation.
 */
#include "postgres.h"

#include "api/arguments.h"
#include "api/waiting.h"
#include "fmgr.h"
#include "shared/worker_registry.h"
#include "store/request.h"

PG_FUNCTION_INFO_V1(nexus_cancel);
PG_FUNCTION_INFO_V1(nexus_terminate);

static bool
is_worth_asking(const NexusOperationRow *row, NexusRequestKind kind)
{
	return !nexus_state_is_closed(row->state)
		&& (kind != NEXUS_REQUEST_CANCEL || row->cancellation_state == NEXUS_CANCELLATION_NONE);
}

/* Ask in this transaction; false where there is nothing left to ask. */
static bool
ask(FunctionCallInfo fcinfo, NexusRequestKind kind)
{
	const char *reason = nexus_arguments_read_reason(fcinfo, 1);
	NexusOperationRow *row;
	NexusUuid	id;

	nexus_arguments_read_id(fcinfo, 0, &id);
	row = nexus_waiting_read(&id);
	if (!is_worth_asking(row, kind) || !nexus_request_insert(kind, &id, &row->incarnation, reason))
		return false;
	nexus_worker_registry_wake_at_commit(NEXUS_WAKE_ARRIVALS);

	/*
	 * the same asked by somebody else may have been taken since, which made
	 * room for this row
	 */
	return is_worth_asking(nexus_waiting_read(&id), kind);
}

Datum
nexus_cancel(PG_FUNCTION_ARGS)
{
	nexus_arguments_check_context("cancel");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_BOOL(ask(fcinfo, NEXUS_REQUEST_CANCEL));
}

Datum
nexus_terminate(PG_FUNCTION_ARGS)
{
	nexus_arguments_check_context("terminate");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_BOOL(ask(fcinfo, NEXUS_REQUEST_TERMINATE));
}
