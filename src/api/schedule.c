/*
 * schedule.c
 *	  nexus.schedule() and nexus.schedule_bytes(): insert an operation in the
 *	  caller's transaction.
 */
#include "postgres.h"

#include "api/arguments.h"
#include "fmgr.h"
#include "shared/worker_registry.h"
#include "store/incarnation.h"
#include "utils/uuid.h"

PG_FUNCTION_INFO_V1(nexus_schedule);
PG_FUNCTION_INFO_V1(nexus_schedule_bytes);

static Datum
schedule(FunctionCallInfo fcinfo, bool is_bytes)
{
	NexusNewOperation operation;
	NexusIncarnation incarnation;
	pg_uuid_t  *id;

	nexus_arguments_check_context(is_bytes ? "schedule_bytes" : "schedule");
	nexus_arguments_read_operation(fcinfo, is_bytes, &operation);
	nexus_incarnation_ensure(&incarnation);
	operation.incarnation = incarnation.id;
	nexus_operation_insert(&operation);
	nexus_worker_registry_wake_at_commit(NEXUS_WAKE_ARRIVALS);

	id = palloc(sizeof(pg_uuid_t));
	memcpy(id->data, operation.id.bytes, UUID_LEN);
	PG_RETURN_UUID_P(id);
}

Datum
nexus_schedule(PG_FUNCTION_ARGS)
{
	return schedule(fcinfo, false);
}

Datum
nexus_schedule_bytes(PG_FUNCTION_ARGS)
{
	return schedule(fcinfo, true);
}
