/*
 * schedule.c
 *	  nexus.schedule() and nexus.schedule_bytes(): insert an operation in the
 *	  caller's transaction.
 */
#include "postgres.h"

#include "api/arguments.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "shared/worker_registry.h"
#include "store/incarnation.h"
#include "utils/uuid.h"

PG_FUNCTION_INFO_V1(nexus_schedule);
PG_FUNCTION_INFO_V1(nexus_schedule_bytes);

/* Whether the key of the operation is its own now; else *holder is whose it is. */
static bool
take_key(NexusNewOperation *operation, NexusKeyPolicy policy, NexusUuid *holder)
{
	do
	{
		CHECK_FOR_INTERRUPTS();
		if (nexus_key_holder_find(operation, policy, DT_NOEND, holder))
			return false;
	} while (!nexus_operation_key_insert(operation));
	return true;
}

static Datum
schedule(FunctionCallInfo fcinfo, bool is_bytes)
{
	NexusNewOperation operation;
	NexusIncarnation incarnation;
	NexusKeyPolicy policy;
	NexusUuid  *id = palloc(sizeof(NexusUuid));

	nexus_arguments_check_context(is_bytes ? "schedule_bytes" : "schedule");
	nexus_arguments_read_operation(fcinfo, is_bytes, &operation, &policy);
	/* before the key: what waits for this one holds no key meanwhile */
	nexus_incarnation_ensure(&incarnation);
	if (operation.operation_key == NULL || take_key(&operation, policy, id))
	{
		operation.incarnation = incarnation.id;
		nexus_operation_insert(&operation);
		nexus_worker_registry_wake_at_commit(NEXUS_WAKE_ARRIVALS);
		*id = operation.id;
	}
	PG_RETURN_UUID_P((pg_uuid_t *) id);
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
