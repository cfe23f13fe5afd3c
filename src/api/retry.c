/*
 * retry.c
 *	  nexus.retry(): take up an operation that stopped.
 *
 * What backs off is asked of the worker.  What has closed without success stays
 * as it is: a new operation like it is made, once, in the caller's transaction.
 */
#include "postgres.h"

#include "api/arguments.h"
#include "api/waiting.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "shared/worker_registry.h"
#include "store/incarnation.h"
#include "store/request.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

PG_FUNCTION_INFO_V1(nexus_retry);

static bool
is_backing_off(const NexusOperationRow *row)
{
	return row->state == NEXUS_STATE_BACKING_OFF
		|| row->cancellation_state == NEXUS_CANCELLATION_BACKING_OFF;
}

/* A later operation of the key must not be doubled by an earlier one. */
static void
refuse_behind(const NexusNewOperation *operation, const NexusUuid *retried, const NexusKeyRow *last)
{
	char		retried_text[NEXUS_UUID_TEXT_LEN + 1];
	char		last_text[NEXUS_UUID_TEXT_LEN + 1];
	NexusState	state;
	Oid			owner;

	if (last->generation == 0 || memcmp(&last->operation_id, retried, sizeof(NexusUuid)) == 0)
		return;
	if (!nexus_operation_read_owner(&last->operation_id, &state, &owner)
		|| (nexus_state_is_closed(state) && state != NEXUS_STATE_SUCCEEDED))
		return;
	nexus_uuid_format(retried, retried_text);
	nexus_uuid_format(&last->operation_id, last_text);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("operation %s cannot be retried: a later one has its key \"%s\"", retried_text,
					operation->operation_key),
			 has_privs_of_role(GetUserId(), owner) ? errdetail("The later one is %s.", last_text) : 0,
			 state == NEXUS_STATE_SUCCEEDED
			 ? errhint("That one succeeded. To do it once more, schedule it with "
					   "key_reuse_policy => 'allow_duplicate'.")
			 : errhint("That one is open: await it, or terminate it first.")));
}

/* A new one would fail for that when it is to be sent. */
static void
check_owner(const NexusNewOperation *operation, const NexusUuid *retried)
{
	char		text[NEXUS_UUID_TEXT_LEN + 1];

	if (SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(operation->owner)))
		return;
	nexus_uuid_format(retried, text);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("the owner of operation %s does not exist any more", text),
			 errhint("Schedule it as another role.")));
}

static void
take_key(NexusNewOperation *operation, const NexusUuid *retried)
{
	NexusKeyRow last;

	do
	{
		CHECK_FOR_INTERRUPTS();
		nexus_key_holder_follow(operation, DT_NOEND, &last);
		refuse_behind(operation, retried, &last);
	} while (!nexus_operation_key_insert(operation));
}

/* The operation that takes the place of a closed one: made now, or by an earlier call. */
static void
schedule_again(const NexusOperationRow *row, NexusUuid *id)
{
	NexusIncarnation incarnation;
	NexusNewOperation again;

	nexus_incarnation_ensure(&incarnation);
	nexus_operation_new_id(id);
	if (!nexus_request_insert_new(&row->id, &incarnation.id, id))
		return;
	if (!nexus_operation_read_again(&row->id, &again))
		(void) nexus_waiting_read(&row->id);	/* gone meanwhile: raises */
	again.id = *id;
	again.incarnation = incarnation.id;
	again.retry_of = &row->id;
	again.scheduled_time = GetCurrentTimestamp();
	check_owner(&again, &row->id);
	nexus_arguments_apply_endpoint(&again);
	if (again.operation_key != NULL)
		take_key(&again, &row->id);
	nexus_operation_insert(&again);
	nexus_worker_registry_wake_at_commit(NEXUS_WAKE_ARRIVALS);
}

Datum
nexus_retry(PG_FUNCTION_ARGS)
{
	NexusUuid  *id = palloc(sizeof(NexusUuid));
	NexusOperationRow *row;

	nexus_arguments_check_context("retry");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	nexus_arguments_read_id(fcinfo, 0, id);
	row = nexus_waiting_read(id);
	if (is_backing_off(row) && !nexus_state_is_closed(row->state))
	{
		if (nexus_request_insert(NEXUS_REQUEST_RETRY, id, &row->incarnation, NULL))
			nexus_worker_registry_wake_at_commit(NEXUS_WAKE_ARRIVALS);
	}
	else if (nexus_state_is_closed(row->state) && row->state != NEXUS_STATE_SUCCEEDED)
		schedule_again(row, id);
	else
		PG_RETURN_NULL();
	PG_RETURN_UUID_P((pg_uuid_t *) id);
}
