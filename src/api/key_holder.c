/*
 * key_holder.c
 *	  Whether a business id makes a new operation, or means one that is there.
 */
#include "postgres.h"

#include "api/key_holder.h"
#include "errcodes.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

static void
raise_timeout(const NexusNewOperation *operation)
{
	ereport(ERROR,
			(errcode(NEXUS_ERRCODE_AWAIT_TIMED_OUT),
			 errmsg("waiting for operation key \"%s\" of operation \"%s\" of service \"%s\" at endpoint \"%s\" "
					"timed out", operation->operation_key, operation->operation, operation->service,
					operation->endpoint),
			 errdetail("A transaction that has not ended yet scheduled an operation with this key."),
			 errhint("Nothing was scheduled here; try again once it has committed or rolled back.")));
}

/*
 * The wait for a transaction knows no time limit but lock_timeout, so the
 * deadline takes the place of a later one.
 */
static void
wait_for_writer(const NexusNewOperation *operation, const NexusKeyRow *row, TimestampTz deadline)
{
	MemoryContext context = CurrentMemoryContext;
	int			user_timeout = LockTimeout;
	long		left = deadline == DT_NOEND ? -1 : TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

	/* Kept for look-ups by name, it would hold back vacuum meanwhile. */
	InvalidateCatalogSnapshotConditionally();
	if (left == 0)
		raise_timeout(operation);
	PG_TRY();
	{
		if (left > 0 && (user_timeout == 0 || left < user_timeout))
			LockTimeout = (int) Min(left, PG_INT32_MAX);
		nexus_operation_key_wait(row);
	}
	PG_CATCH();
	{
		LockTimeout = user_timeout;
		if (geterrcode() == ERRCODE_LOCK_NOT_AVAILABLE && GetCurrentTimestamp() >= deadline)
		{
			MemoryContextSwitchTo(context);
			FlushErrorState();
			raise_timeout(operation);
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	LockTimeout = user_timeout;
}

void
nexus_key_holder_follow(NexusNewOperation *operation, TimestampTz deadline, NexusKeyRow *last)
{
	for (;;)
	{
		nexus_operation_key_look(operation, last);
		if (!TransactionIdIsValid(last->writer))
			break;
		wait_for_writer(operation, last, deadline);
	}
	operation->key_generation = last->generation + 1;
	operation->key_predecessor = last->operation_id;
}

static bool
gives_way(NexusState state, NexusKeyPolicy policy)
{
	if (!nexus_state_is_closed(state))
		return false;
	switch (policy)
	{
		case NEXUS_KEY_ALLOW_DUPLICATE_FAILED_ONLY:
			return state != NEXUS_STATE_SUCCEEDED;
		case NEXUS_KEY_ALLOW_DUPLICATE:
			return true;
		case NEXUS_KEY_REJECT_DUPLICATE:
			return false;
	}
	return false;
}

bool
nexus_key_holder_find(NexusNewOperation *operation, NexusKeyPolicy policy, TimestampTz deadline, NexusUuid *id)
{
	NexusKeyRow last;
	NexusState	state;
	Oid			owner;

	nexus_key_holder_follow(operation, deadline, &last);

	/* one whose operation is gone holds nothing */
	if (last.generation == 0 || !nexus_operation_read_owner(&last.operation_id, &state, &owner)
		|| gives_way(state, policy))
		return false;
	if (!has_privs_of_role(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("operation key \"%s\" of operation \"%s\" of service \"%s\" at endpoint \"%s\" is used by "
						"another role", operation->operation_key, operation->operation, operation->service,
						operation->endpoint),
				 errhint("Only members of the role that owns the operation may share its key; choose another key.")));
	*id = last.operation_id;
	return true;
}
