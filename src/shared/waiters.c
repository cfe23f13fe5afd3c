/*
 * waiters.c
 *	  The slots of sleeping backends in shared memory.
 *
 * A slot is written by its backend only.  What makes "no wake is lost" true is
 * the order of two barriers: a backend sets its bits, then reads rows; a worker
 * commits rows, then reads bits.  One of the two sees the other.
 */
#include "postgres.h"

#include "access/xact.h"
#include "compat.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "shared/waiters.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/wait_event.h"

#define SET_BITS 1024
#define WORD_BITS 64
#define SET_WORDS (SET_BITS / WORD_BITS)

/* The last bytes of a UUIDv7 are random, so they are a hash already. */
#define HASH_AT 14

typedef struct WaiterSlot
{
	/* waiting: written by the backend, read by workers without a lock */
	pg_atomic_uint32 is_armed;
	pg_atomic_uint32 is_woken;	/* since the last sleep; the latch may be
								 * reset by any other wait, for a page say */
	pg_atomic_uint64 bits[SET_WORDS];
	Latch	   *latch;			/* of a PGPROC, so it stays valid memory */

	/* who posts: under the mutex */
	slock_t		mutex;
	pid_t		pid;			/* 0 where nothing is published */
	Oid			database;
	Oid			role;
	NexusUuid	operation_id;
} WaiterSlot;

typedef struct Waiters
{
	pg_atomic_uint32 armed;		/* slots that are armed */
	int			slot_count;
	WaiterSlot	slots[FLEXIBLE_ARRAY_MEMBER];
} Waiters;

static Waiters *waiters = NULL;
static WaiterSlot *my_slot = NULL;

Size
nexus_waiters_size(void)
{
	return add_size(offsetof(Waiters, slots), mul_size(MaxBackends, sizeof(WaiterSlot)));
}

static void
init_slot(WaiterSlot *slot)
{
	pg_atomic_init_u32(&slot->is_armed, 0);
	pg_atomic_init_u32(&slot->is_woken, 0);
	for (int i = 0; i < SET_WORDS; i++)
		pg_atomic_init_u64(&slot->bits[i], 0);
	SpinLockInit(&slot->mutex);
}

void
nexus_waiters_init(void)
{
	bool		is_found;

	waiters = ShmemInitStruct("nexus_pg waiters", nexus_waiters_size(), &is_found);
	if (is_found)
		return;
	memset(waiters, 0, nexus_waiters_size());
	waiters->slot_count = MaxBackends;
	pg_atomic_init_u32(&waiters->armed, 0);
	for (int i = 0; i < waiters->slot_count; i++)
		init_slot(&waiters->slots[i]);
}

static void
withdraw_identity(void)
{
	SpinLockAcquire(&my_slot->mutex);
	my_slot->pid = 0;
	SpinLockRelease(&my_slot->mutex);
}

static void
on_backend_exit(int code, Datum arg)
{
	nexus_waiters_disarm();
	withdraw_identity();
}

static void
on_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			nexus_waiters_disarm();
			break;
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			break;
	}
}

/* Find this backend's slot at the first use; false without preloading. */
static bool
attach(void)
{
	int			index = nexus_backend_index();

	if (my_slot != NULL)
		return true;
	if (waiters == NULL || index < 0 || index >= waiters->slot_count)
		return false;
	my_slot = &waiters->slots[index];
	my_slot->latch = &MyProc->procLatch;
	before_shmem_exit(on_backend_exit, (Datum) 0);
	RegisterXactCallback(on_transaction, NULL);
	return true;
}

static int
bit_of(const NexusUuid *id)
{
	return ((id->bytes[HASH_AT] << 8) | id->bytes[HASH_AT + 1]) % SET_BITS;
}

void
nexus_waiters_arm(const NexusUuid *ids, int count)
{
	if (!attach())
		return;
	for (int i = 0; i < count; i++)
	{
		int			bit = bit_of(&ids[i]);

		pg_atomic_fetch_or_u64(&my_slot->bits[bit / WORD_BITS], UINT64CONST(1) << (bit % WORD_BITS));
	}
	if (pg_atomic_exchange_u32(&my_slot->is_armed, 1) == 0)
		pg_atomic_fetch_add_u32(&waiters->armed, 1);
	pg_memory_barrier();
}

void
nexus_waiters_disarm(void)
{
	if (my_slot == NULL || pg_atomic_read_u32(&my_slot->is_armed) == 0)
		return;
	pg_atomic_write_u32(&my_slot->is_armed, 0);
	pg_atomic_fetch_sub_u32(&waiters->armed, 1);
	for (int i = 0; i < SET_WORDS; i++)
		pg_atomic_write_u64(&my_slot->bits[i], 0);
}

static bool
take_wake(void)
{
	return my_slot != NULL && pg_atomic_exchange_u32(&my_slot->is_woken, 0) != 0;
}

bool
nexus_waiters_sleep(long timeout_ms)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	int			woken;

	if (take_wake())
	{
		CHECK_FOR_INTERRUPTS();
		return true;
	}
	if (timeout_ms >= 0)
		events |= WL_TIMEOUT;
	woken = WaitLatch(MyLatch, events, Min(timeout_ms, INT_MAX), PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	/* whoever woke us did so for what is read after this */
	(void) take_wake();
	CHECK_FOR_INTERRUPTS();
	return (woken & WL_TIMEOUT) == 0;
}

void
nexus_waiters_publish_identity(const NexusUuid *operation_id)
{
	if (!attach())
		return;
	SpinLockAcquire(&my_slot->mutex);
	my_slot->pid = MyProcPid;
	my_slot->database = MyDatabaseId;
	my_slot->role = GetUserId();
	my_slot->operation_id = *operation_id;
	SpinLockRelease(&my_slot->mutex);
}

/* Whether a slot says so; what it says goes out then. */
static bool
read_identity(WaiterSlot *slot, pid_t pid, const NexusUuid *operation_id, Oid *database, Oid *role)
{
	bool		is_it;

	SpinLockAcquire(&slot->mutex);
	is_it = slot->pid == pid && memcmp(&slot->operation_id, operation_id, sizeof(NexusUuid)) == 0;
	*database = slot->database;
	*role = slot->role;
	SpinLockRelease(&slot->mutex);
	return is_it;
}

bool
nexus_waiters_identity(pid_t pid, const NexusUuid *operation_id, Oid *database, Oid *role)
{
	if (waiters == NULL || pid == 0)
		return false;
	for (int i = 0; i < waiters->slot_count; i++)
	{
		/* Unlocked: its own process wrote it before it posted the frame. */
		if (waiters->slots[i].pid == pid &&
			read_identity(&waiters->slots[i], pid, operation_id, database, role))
			return true;
	}
	return false;
}

static void
wake(WaiterSlot *slot)
{
	pg_atomic_write_u32(&slot->is_woken, 1);
	SetLatch(slot->latch);
}

static bool
intersects(WaiterSlot *slot, const uint64 *bits)
{
	for (int i = 0; i < SET_WORDS; i++)
	{
		if (bits[i] != 0 && (pg_atomic_read_u64(&slot->bits[i]) & bits[i]) != 0)
			return true;
	}
	return false;
}

void
nexus_waiters_wake(const NexusUuid *ids, int count)
{
	uint64		bits[SET_WORDS] = {0};

	pg_memory_barrier();
	if (waiters == NULL || pg_atomic_read_u32(&waiters->armed) == 0)
		return;
	for (int i = 0; i < count; i++)
	{
		int			bit = bit_of(&ids[i]);

		bits[bit / WORD_BITS] |= UINT64CONST(1) << (bit % WORD_BITS);
	}
	for (int i = 0; i < waiters->slot_count; i++)
	{
		WaiterSlot *slot = &waiters->slots[i];

		if (pg_atomic_read_u32(&slot->is_armed) != 0 && intersects(slot, bits))
			wake(slot);
	}
}

void
nexus_waiters_wake_all(void)
{
	for (int i = 0; waiters != NULL && i < waiters->slot_count; i++)
		if (pg_atomic_read_u32(&waiters->slots[i].is_armed) != 0)
			wake(&waiters->slots[i]);
}
