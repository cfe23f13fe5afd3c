/*
 * worker_registry.c
 *	  Slots of workers in shared memory, and how they are woken and sent away.
 *
 * A process that ends by an error clears what it has set here by a
 * before_shmem_exit callback; one that crashes takes the shared memory with it,
 * since the postmaster then starts everything anew.  Latches are those of
 * PGPROC entries: setting one whose owner has just changed costs somebody a
 * needless turn, no more.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "shared/worker_registry_internal.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

/* Databases that have something to show but no process. */
#define SPARE_SLOTS 32

NexusWorkerRegistry *nexus_worker_registry = NULL;

/* What this backend does when its transaction ends. */
static uint32 pending_reasons = 0;
static uint32 committed_reasons = 0;	/* told after its invalidations */
static bool pending_request = false;
static Oid	pending_database = InvalidOid;	/* InvalidOid: all */
static bool has_marks = false;
static bool is_transaction_watched = false;

/* In a worker: its database and, once attached, its slot. */
static Oid	own_database = InvalidOid;
static NexusWorkerSlot *own_slot = NULL;

static int
count_slots(void)
{
	return max_worker_processes + SPARE_SLOTS;
}

Size
nexus_worker_registry_size(void)
{
	return add_size(offsetof(NexusWorkerRegistry, slots), mul_size(count_slots(), sizeof(NexusWorkerSlot)));
}

void
nexus_worker_registry_init(void)
{
	bool		found;

	nexus_worker_registry = ShmemInitStruct("nexus_worker_registry", nexus_worker_registry_size(), &found);
	if (!found)
	{
		memset(nexus_worker_registry, 0, nexus_worker_registry_size());
		nexus_worker_registry->tranche = LWLockNewTrancheId();
		LWLockInitialize(&nexus_worker_registry->lock, nexus_worker_registry->tranche);
		ConditionVariableInit(&nexus_worker_registry->detached);
		nexus_worker_registry->slot_count = count_slots();
		for (int i = 0; i < nexus_worker_registry->slot_count; i++)
			pg_atomic_init_u32(&nexus_worker_registry->slots[i].wake, 0);
	}
	LWLockRegisterTranche(nexus_worker_registry->tranche, "nexus_worker_registry");
}

bool
nexus_worker_registry_is_available(void)
{
	return nexus_worker_registry != NULL;
}

NexusWorkerSlot *
nexus_worker_registry_find(Oid database)
{
	for (int i = 0; i < nexus_worker_registry->slot_count; i++)
	{
		if (nexus_worker_registry->slots[i].database == database)
			return &nexus_worker_registry->slots[i];
	}
	return NULL;
}

/* One that has only a past, where no free one is left. */
static NexusWorkerSlot *
find_slot_to_give_up(void)
{
	for (int i = 0; i < nexus_worker_registry->slot_count; i++)
	{
		NexusWorkerSlot *slot = &nexus_worker_registry->slots[i];

		if (slot->pid == 0 && slot->state != NEXUS_PROCESS_STARTING)
			return slot;
	}
	return NULL;
}

NexusWorkerSlot *
nexus_worker_registry_find_or_make(Oid database)
{
	NexusWorkerSlot *slot = nexus_worker_registry_find(database);

	if (slot != NULL)
		return slot;
	slot = nexus_worker_registry_find(InvalidOid);
	if (slot == NULL)
		slot = find_slot_to_give_up();
	if (slot == NULL)
		return NULL;
	slot->database = database;
	slot->pid = 0;
	slot->state = NEXUS_PROCESS_STARTING;
	slot->has_ended = false;
	slot->in_flight = slot->queued = 0;
	slot->error.time = 0;
	slot->error.message[0] = '\0';
	pg_atomic_write_u32(&slot->wake, 0);
	return slot;
}

bool
nexus_worker_registry_is_alive(pid_t pid)
{
	return pid != 0 && BackendPidGetProc(pid) != NULL;
}

bool
nexus_worker_registry_has_mark(Oid database)
{
	for (int i = 0; i < NEXUS_LEAVE_MARKS_MAX; i++)
	{
		NexusLeaveMark *mark = &nexus_worker_registry->marks[i];

		if (mark->database == database && nexus_worker_registry_is_alive(mark->pid))
			return true;
	}
	return false;
}

void
nexus_worker_registry_fill_error(NexusLastError *error, const char *message)
{
	strlcpy(error->message, message, sizeof(error->message));
	error->time = GetCurrentTimestamp();
}

bool
nexus_worker_registry_worker_state(Oid database, NexusProcessState *state)
{
	NexusWorkerSlot *slot;

	if (nexus_worker_registry == NULL)
		return false;
	LWLockAcquire(&nexus_worker_registry->lock, LW_SHARED);
	slot = nexus_worker_registry_find(database);
	if (slot != NULL)
		*state = slot->state;
	LWLockRelease(&nexus_worker_registry->lock);
	return slot != NULL;
}

/* ---- asking the launcher ---- */

static void
add_request(Oid database)
{
	for (int i = 0; i < nexus_worker_registry->request_count; i++)
	{
		if (nexus_worker_registry->requests[i] == database)
			return;
	}
	if (OidIsValid(database) && nexus_worker_registry->request_count < NEXUS_REQUESTS_MAX)
		nexus_worker_registry->requests[nexus_worker_registry->request_count++] = database;
	else
		nexus_worker_registry->looks_at_all = true;
}

static void
wake_launcher(void)
{
	if (nexus_worker_registry->launcher_pid != 0)
		SetLatch(nexus_worker_registry->launcher_latch);
}

void
nexus_worker_registry_request(Oid database)
{
	if (nexus_worker_registry == NULL)
		return;
	LWLockAcquire(&nexus_worker_registry->lock, LW_EXCLUSIVE);
	add_request(database);
	wake_launcher();
	LWLockRelease(&nexus_worker_registry->lock);
}

/* ---- waking ---- */

/* True where a worker was woken, or the launcher is about to try one anyway. */
static bool
wake_worker(Oid database, uint32 reasons)
{
	NexusWorkerSlot *slot;
	bool		is_cared_for = false;

	LWLockAcquire(&nexus_worker_registry->lock, LW_SHARED);
	slot = nexus_worker_registry_find(database);
	if (slot != NULL && slot->pid != 0)
	{
		pg_atomic_fetch_or_u32(&slot->wake, reasons);
		SetLatch(slot->latch);
		is_cared_for = true;
	}
	else if (slot != NULL)
		is_cared_for = slot->state == NEXUS_PROCESS_NO_SLOT || slot->state == NEXUS_PROCESS_FAILED;
	LWLockRelease(&nexus_worker_registry->lock);
	return is_cared_for;
}

void
nexus_worker_registry_wake(Oid database, uint32 reasons)
{
	if (nexus_worker_registry != NULL && !wake_worker(database, reasons))
		nexus_worker_registry_request(database);
}

/* Free the marks of this backend: of one database, or all (InvalidOid). */
static void
free_marks(Oid database)
{
	LWLockAcquire(&nexus_worker_registry->lock, LW_EXCLUSIVE);
	for (int i = 0; i < NEXUS_LEAVE_MARKS_MAX; i++)
	{
		NexusLeaveMark *mark = &nexus_worker_registry->marks[i];

		if (mark->pid != MyProcPid || !OidIsValid(mark->database))
			continue;
		if (OidIsValid(database) && mark->database != database)
			continue;
		add_request(mark->database);
		mark->database = InvalidOid;
	}
	wake_launcher();
	LWLockRelease(&nexus_worker_registry->lock);
}

/* Runs after the commit, where an error would be a PANIC: nothing here raises. */
static void
end_transaction(XactEvent event, void *arg)
{
	bool		requests = pending_request;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	committed_reasons = event == XACT_EVENT_COMMIT ? pending_reasons : 0;
	pending_reasons = 0;
	pending_request = false;
	if (has_marks)
	{
		has_marks = false;
		free_marks(InvalidOid);
	}
	if (requests && event == XACT_EVENT_COMMIT)
		nexus_worker_registry_request(pending_database);
}

/*
 * The other callback comes before the commit's invalidations are sent: a worker
 * that is woken then finds nothing changed.  Nothing here raises either.
 */
static void
finish_commit(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void *arg)
{
	if (committed_reasons == 0 || phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_commit || !is_top_level)
		return;
	nexus_worker_registry_wake(MyDatabaseId, committed_reasons);
	committed_reasons = 0;
}

static void
watch_transaction(void)
{
	if (is_transaction_watched)
		return;
	RegisterXactCallback(end_transaction, NULL);
	RegisterResourceReleaseCallback(finish_commit, NULL);
	is_transaction_watched = true;
}

void
nexus_worker_registry_wake_at_commit(uint32 reasons)
{
	if (nexus_worker_registry == NULL)
		return;
	watch_transaction();
	pending_reasons |= reasons;
}

void
nexus_worker_registry_request_at_commit(Oid database)
{
	if (nexus_worker_registry == NULL)
		return;
	watch_transaction();
	pending_database = !pending_request || pending_database == database ? database : InvalidOid;
	pending_request = true;
}

/* ---- sending a worker away ---- */

static void
free_marks_at_exit(int code, Datum arg)
{
	if (has_marks)
		free_marks(InvalidOid);
}

static void
set_mark(Oid database)
{
	static bool is_exit_watched = false;
	bool		is_set = false;

	if (!is_exit_watched)
		before_shmem_exit(free_marks_at_exit, (Datum) 0);
	is_exit_watched = true;
	watch_transaction();
	has_marks = true;

	LWLockAcquire(&nexus_worker_registry->lock, LW_EXCLUSIVE);
	for (int i = 0; i < NEXUS_LEAVE_MARKS_MAX && !is_set; i++)
	{
		NexusLeaveMark *mark = &nexus_worker_registry->marks[i];

		if (OidIsValid(mark->database) && nexus_worker_registry_is_alive(mark->pid))
			continue;
		mark->database = database;
		mark->pid = MyProcPid;
		is_set = true;
	}
	LWLockRelease(&nexus_worker_registry->lock);
}

/* Whether a worker is there; it is told to leave. */
static bool
tell_worker_to_leave(Oid database)
{
	NexusWorkerSlot *slot;
	bool		is_there;

	LWLockAcquire(&nexus_worker_registry->lock, LW_SHARED);
	slot = nexus_worker_registry_find(database);
	is_there = slot != NULL && nexus_worker_registry_is_alive(slot->pid);
	if (is_there)
	{
		pg_atomic_fetch_or_u32(&slot->wake, NEXUS_WAKE_LEAVE);
		SetLatch(slot->latch);
	}
	LWLockRelease(&nexus_worker_registry->lock);
	return is_there;
}

bool
nexus_worker_registry_leave(Oid database, int timeout_ms)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	bool		is_there;

	if (nexus_worker_registry == NULL)
		return true;
	set_mark(database);
	ConditionVariablePrepareToSleep(&nexus_worker_registry->detached);
	while ((is_there = tell_worker_to_leave(database)))
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);

		if (left <= 0)
			break;
		(void) ConditionVariableTimedSleep(&nexus_worker_registry->detached, left, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
	return !is_there;
}

void
nexus_worker_registry_release(Oid database)
{
	if (nexus_worker_registry != NULL)
		free_marks(database);
}

/* ---- in a worker ---- */

/*
 * A wake that came while we were leaving would be lost: the launcher looks
 * again instead.
 */
static void
record_end(int code, Datum arg)
{
	NexusWorkerSlot *slot;

	LWLockAcquire(&nexus_worker_registry->lock, LW_EXCLUSIVE);
	slot = nexus_worker_registry_find(own_database);
	if (slot != NULL && (slot->pid == 0 || slot->pid == MyProcPid))
	{
		slot->pid = 0;
		slot->in_flight = slot->queued = 0;
		slot->has_ended = true;
		slot->exit_code = code;
		if (code != 0)
			slot->state = NEXUS_PROCESS_FAILED;
		if ((pg_atomic_exchange_u32(&slot->wake, 0) & ~NEXUS_WAKE_LEAVE) != 0)
			add_request(own_database);
	}
	own_slot = NULL;
	wake_launcher();
	LWLockRelease(&nexus_worker_registry->lock);
	ConditionVariableBroadcast(&nexus_worker_registry->detached);
}

void
nexus_worker_registry_begin(Oid database)
{
	if (OidIsValid(own_database))
		return;
	own_database = database;
	before_shmem_exit(record_end, (Datum) 0);
}

bool
nexus_worker_registry_attach(Oid database)
{
	NexusWorkerSlot *slot = NULL;

	if (nexus_worker_registry == NULL)
		return false;
	nexus_worker_registry_begin(database);
	LWLockAcquire(&nexus_worker_registry->lock, LW_EXCLUSIVE);
	if (!nexus_worker_registry_has_mark(database))
		slot = nexus_worker_registry_find_or_make(database);
	if (slot != NULL && slot->pid != MyProcPid && nexus_worker_registry_is_alive(slot->pid))
		slot = NULL;
	if (slot != NULL)
	{
		slot->pid = MyProcPid;
		slot->latch = MyLatch;
		slot->state = NEXUS_PROCESS_STARTING;
		slot->has_ended = false;
		own_slot = slot;
		wake_launcher();
	}
	LWLockRelease(&nexus_worker_registry->lock);
	return slot != NULL;
}

void
nexus_worker_registry_set_state(NexusProcessState state)
{
	if (own_slot == NULL || own_slot->state == state)
		return;
	LWLockAcquire(&nexus_worker_registry->lock, LW_EXCLUSIVE);
	own_slot->state = state;
	wake_launcher();
	LWLockRelease(&nexus_worker_registry->lock);
}

/* Aligned integers that only we write: readers may see them one turn old. */
void
nexus_worker_registry_set_figures(int32 in_flight, int32 queued)
{
	if (own_slot == NULL)
		return;
	own_slot->in_flight = in_flight;
	own_slot->queued = queued;
}

void
nexus_worker_registry_set_error(const char *message)
{
	NexusWorkerSlot *slot;

	if (nexus_worker_registry == NULL)
		return;
	LWLockAcquire(&nexus_worker_registry->lock, LW_EXCLUSIVE);
	slot = own_slot != NULL ? own_slot : nexus_worker_registry_find(own_database);
	if (slot != NULL && OidIsValid(slot->database))
		nexus_worker_registry_fill_error(&slot->error, message);
	LWLockRelease(&nexus_worker_registry->lock);
}

uint32
nexus_worker_registry_take_wake(void)
{
	return own_slot != NULL ? pg_atomic_exchange_u32(&own_slot->wake, 0) : 0;
}
