/*
 * waiting.c
 *	  Sleep until operations close, or are canceled as far as their waiters
 *	  want to see.
 *
 * Nothing polls: a sleeper is woken by the commit that ends its waiting,
 * because it says what it waits for before it reads (shared/waiters.h).
 */
#include "postgres.h"

#include "api/verdict.h"
#include "api/waiting.h"
#include "errcodes.h"
#include "miscadmin.h"
#include "shared/waiters.h"
#include "shared/worker_registry.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

static void
raise_unknown(const NexusUuid *id)
{
	char		text[NEXUS_UUID_TEXT_LEN + 1];

	nexus_uuid_format(id, text);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("operation %s does not exist", text),
			 errhint("Only members of its owner's role see an operation, and only as long as it is retained.")));
}

NexusOperationRow *
nexus_waiting_read(const NexusUuid *id)
{
	NexusOperationRow *row = nexus_operation_read(id);

	if (row == NULL || !has_privs_of_role(GetUserId(), row->owner))
		raise_unknown(id);
	return row;
}

void
nexus_waiting_refuse_own(const NexusOperationRow *row)
{
	char		text[NEXUS_UUID_TEXT_LEN + 1];

	if (!row->is_own_uncommitted || nexus_state_is_closed(row->state))
		return;
	nexus_uuid_format(&row->id, text);
	ereport(ERROR,
			(errcode(NEXUS_ERRCODE_OWN_TRANSACTION),
			 errmsg("operation %s was scheduled by this transaction and is not sent before it commits", text),
			 errhint("Commit first and await then, or use nexus.execute().")));
}

void
nexus_waiting_require_preload(void)
{
	if (nexus_worker_registry_is_available())
		return;
	ereport(ERROR,
			(errcode(NEXUS_ERRCODE_NO_WORKER),
			 errmsg("nexus_pg is not preloaded, so nothing sends operations"),
			 errhint("Add the line shared_preload_libraries = 'nexus_pg' to postgresql.conf and restart the server.")));
}

/* Sleep once; false at the deadline. */
static bool
sleep_until(TimestampTz deadline)
{
	/* Kept for look-ups by name, it would hold back vacuum while we sleep. */
	InvalidateCatalogSnapshotConditionally();
	if (deadline == DT_NOEND)
		return nexus_waiters_sleep(-1);
	(void) nexus_waiters_sleep(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline));
	return GetCurrentTimestamp() < deadline;
}

static bool
is_open(const NexusUuid *id)
{
	NexusState	state;

	return nexus_operation_read_state(id, &state) && !nexus_state_is_closed(state);
}

/* Sleep while any of them is so; false at the deadline. */
static bool
sleep_while(bool (*is_so) (const NexusUuid *id), const NexusUuid *ids, int count, TimestampTz deadline)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "nexus await", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(scratch);
	bool		is_in_time = true;
	int			done = 0;

	nexus_waiters_arm(ids, count);
	for (;;)
	{
		while (done < count && !is_so(&ids[done]))
			done++;
		if (done == count || !is_in_time)
			break;
		MemoryContextReset(scratch);
		is_in_time = sleep_until(deadline);
	}
	nexus_waiters_disarm();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
	return done == count;
}

bool
nexus_waiting_until_closed(const NexusUuid *ids, int count, TimestampTz deadline)
{
	return sleep_while(is_open, ids, count, deadline);
}

/* Whoever is interrupted can await it again by its id, execute()'s too. */
static void
add_context(void *arg)
{
	char		text[NEXUS_UUID_TEXT_LEN + 1];

	nexus_uuid_format(arg, text);
	errcontext("awaiting operation %s", text);
}

bool
nexus_waiting_until_ended(const NexusUuid *id, TimestampTz deadline)
{
	ErrorContextCallback context = {error_context_stack, add_context, unconstify(NexusUuid *, id)};
	bool		is_ended;

	error_context_stack = &context;
	is_ended = sleep_while(nexus_operation_is_awaited, id, 1, deadline);
	error_context_stack = context.previous;
	return is_ended;
}

void
nexus_waiting_raise_timeout(const NexusOperationRow *row)
{
	char		text[NEXUS_UUID_TEXT_LEN + 1];

	nexus_uuid_format(&row->id, text);
	ereport(ERROR,
			(errcode(NEXUS_ERRCODE_AWAIT_TIMED_OUT),
			 errmsg("awaiting operation \"%s\" of service \"%s\" at endpoint \"%s\" timed out",
					row->operation, row->service, row->endpoint),
			 errdetail_internal("%s", nexus_verdict_detail(row, true)),
			 errdetail_log("%s", nexus_verdict_detail(row, false)),
			 errhint("The operation goes on: await it again with nexus.await('%s'). "
					 "What it waits for is in nexus.pending_operations.", text)));
}
