/*
 * worker_registry_launcher.c
 *	  The launcher's and the views' side of the worker registry.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "shared/worker_registry_internal.h"
#include "storage/ipc.h"
#include "storage/proc.h"

/* ---- in the launcher ---- */

static void
detach_launcher(int code, Datum arg)
{
	NexusWorkerRegistry *registry = nexus_worker_registry;

	LWLockAcquire(&registry->lock, LW_EXCLUSIVE);
	registry->launcher_pid = 0;
	registry->listener.pid = 0;
	registry->listener.port = 0;
	registry->listener.state = NEXUS_PROCESS_STARTING;
	LWLockRelease(&registry->lock);
}

bool
nexus_worker_registry_attach_launcher(void)
{
	NexusWorkerRegistry *registry = nexus_worker_registry;
	bool		is_free;

	LWLockAcquire(&registry->lock, LW_EXCLUSIVE);
	is_free = !nexus_worker_registry_is_alive(registry->launcher_pid);
	if (is_free)
	{
		registry->launcher_pid = MyProcPid;
		registry->launcher_latch = MyLatch;
	}
	LWLockRelease(&registry->lock);
	if (is_free)
		before_shmem_exit(detach_launcher, (Datum) 0);
	return is_free;
}

bool
nexus_worker_registry_take_requests(Oid *databases, int *count)
{
	NexusWorkerRegistry *registry = nexus_worker_registry;
	bool		looks_at_all;

	LWLockAcquire(&registry->lock, LW_EXCLUSIVE);
	*count = registry->request_count;
	memcpy(databases, registry->requests, *count * sizeof(Oid));
	looks_at_all = registry->looks_at_all;
	registry->request_count = 0;
	registry->looks_at_all = false;
	LWLockRelease(&registry->lock);
	return looks_at_all;
}

void
nexus_worker_registry_prepare(Oid database)
{
	NexusWorkerSlot *slot;

	LWLockAcquire(&nexus_worker_registry->lock, LW_EXCLUSIVE);
	slot = nexus_worker_registry_find_or_make(database);
	if (slot != NULL && slot->pid == 0)
	{
		slot->state = NEXUS_PROCESS_STARTING;
		slot->has_ended = false;
	}
	LWLockRelease(&nexus_worker_registry->lock);
}

void
nexus_worker_registry_fail(Oid database, NexusProcessState state, const char *message)
{
	NexusWorkerSlot *slot;

	LWLockAcquire(&nexus_worker_registry->lock, LW_EXCLUSIVE);
	slot = nexus_worker_registry_find_or_make(database);
	if (slot != NULL && slot->pid == 0)
	{
		slot->state = state;
		if (message != NULL || slot->error.time == 0)
			nexus_worker_registry_fill_error(&slot->error,
											 message != NULL ? message : "the worker ended; the server log says why");
	}
	LWLockRelease(&nexus_worker_registry->lock);
}

void
nexus_worker_registry_forget(Oid database)
{
	NexusWorkerSlot *slot;

	LWLockAcquire(&nexus_worker_registry->lock, LW_EXCLUSIVE);
	slot = nexus_worker_registry_find(database);
	if (slot != NULL && slot->pid == 0)
		slot->database = InvalidOid;
	LWLockRelease(&nexus_worker_registry->lock);
}

NexusWorkerLook
nexus_worker_registry_look(Oid database)
{
	NexusWorkerLook look = {0};
	NexusWorkerSlot *slot;

	LWLockAcquire(&nexus_worker_registry->lock, LW_SHARED);
	slot = nexus_worker_registry_find(database);
	if (slot != NULL)
	{
		look.is_attached = nexus_worker_registry_is_alive(slot->pid);
		look.has_ended = slot->has_ended;
		look.exit_code = slot->exit_code;
		look.state = slot->state;
	}
	LWLockRelease(&nexus_worker_registry->lock);
	return look;
}

bool
nexus_worker_registry_is_being_left(Oid database)
{
	bool		result;

	LWLockAcquire(&nexus_worker_registry->lock, LW_SHARED);
	result = nexus_worker_registry_has_mark(database);
	LWLockRelease(&nexus_worker_registry->lock);
	return result;
}

bool
nexus_worker_registry_has_workers(void)
{
	bool		result = false;

	LWLockAcquire(&nexus_worker_registry->lock, LW_SHARED);
	for (int i = 0; i < nexus_worker_registry->slot_count && !result; i++)
		result = nexus_worker_registry_is_alive(nexus_worker_registry->slots[i].pid);
	LWLockRelease(&nexus_worker_registry->lock);
	return result;
}

/* What a worker held back for the listener may go now, or must wait. */
static void
wake_all_workers(void)
{
	for (int i = 0; i < nexus_worker_registry->slot_count; i++)
	{
		NexusWorkerSlot *slot = &nexus_worker_registry->slots[i];

		if (slot->pid == 0)
			continue;
		pg_atomic_fetch_or_u32(&slot->wake, NEXUS_WAKE_CATALOG);
		SetLatch(slot->latch);
	}
}

void
nexus_worker_registry_set_listener(bool is_wanted, pid_t pid, NexusProcessState state, int port)
{
	NexusListenerEntry *listener = &nexus_worker_registry->listener;

	LWLockAcquire(&nexus_worker_registry->lock, LW_EXCLUSIVE);
	if (listener->state != state || listener->port != port || (listener->pid == 0) != (pid == 0))
		wake_all_workers();
	listener->is_wanted = is_wanted;
	listener->pid = pid;
	listener->state = state;
	listener->port = port;
	if (pid == 0)
		memset(&listener->figures, 0, sizeof(listener->figures));
	LWLockRelease(&nexus_worker_registry->lock);
}

void
nexus_worker_registry_set_listener_figures(const NexusListenerFigures *figures)
{
	LWLockAcquire(&nexus_worker_registry->lock, LW_EXCLUSIVE);
	nexus_worker_registry->listener.figures = *figures;
	LWLockRelease(&nexus_worker_registry->lock);
}

void
nexus_worker_registry_set_listener_error(const char *message)
{
	LWLockAcquire(&nexus_worker_registry->lock, LW_EXCLUSIVE);
	nexus_worker_registry_fill_error(&nexus_worker_registry->listener.error, message);
	LWLockRelease(&nexus_worker_registry->lock);
}

/* ---- in every backend ---- */

static NexusListenerEntry
copy_listener(void)
{
	NexusListenerEntry copy = {0};

	if (nexus_worker_registry == NULL)
		return copy;
	LWLockAcquire(&nexus_worker_registry->lock, LW_SHARED);
	copy = nexus_worker_registry->listener;
	LWLockRelease(&nexus_worker_registry->lock);
	return copy;
}

int
nexus_worker_registry_listener_port(void)
{
	return copy_listener().port;
}

bool
nexus_worker_registry_listener_is_up(void)
{
	NexusListenerEntry listener = copy_listener();

	return listener.pid != 0 && listener.port != 0;
}

pid_t
nexus_worker_registry_listener_pid(void)
{
	return copy_listener().pid;
}

static void
copy_error(NexusProcessInfo *info, const NexusLastError *error)
{
	strlcpy(info->last_error, error->message, sizeof(info->last_error));
	info->last_error_time = error->time;
}

static NexusProcessInfo
describe_launcher(void)
{
	NexusProcessInfo info = {.kind = "launcher"};

	info.pid = nexus_worker_registry->launcher_pid;
	info.state = info.pid != 0 ? NEXUS_PROCESS_RUNNING : NEXUS_PROCESS_STARTING;
	return info;
}

static NexusProcessInfo
describe_listener(void)
{
	const NexusListenerEntry *listener = &nexus_worker_registry->listener;
	NexusProcessInfo info = {.kind = "listener"};

	info.pid = listener->pid;
	info.state = listener->state;
	info.port = listener->port;
	info.in_flight = listener->figures.connections;
	info.queued = listener->figures.waiting;
	info.rejected = listener->figures.rejected;
	copy_error(&info, &listener->error);
	return info;
}

static NexusProcessInfo
describe_worker(const NexusWorkerSlot *slot)
{
	NexusProcessInfo info = {.kind = "worker"};

	info.database = slot->database;
	info.pid = slot->pid;
	info.state = slot->state;
	info.in_flight = slot->in_flight;
	info.queued = slot->queued;
	copy_error(&info, &slot->error);
	return info;
}

void
nexus_worker_registry_each(void (*each) (const NexusProcessInfo *info, void *arg), void *arg)
{
	NexusWorkerRegistry *registry = nexus_worker_registry;
	NexusProcessInfo *infos;
	int			count = 0;

	if (registry == NULL)
		return;
	infos = palloc((registry->slot_count + 2) * sizeof(NexusProcessInfo));
	LWLockAcquire(&registry->lock, LW_SHARED);
	infos[count++] = describe_launcher();
	if (registry->listener.is_wanted)
		infos[count++] = describe_listener();
	for (int i = 0; i < registry->slot_count; i++)
	{
		if (OidIsValid(registry->slots[i].database))
			infos[count++] = describe_worker(&registry->slots[i]);
	}
	LWLockRelease(&registry->lock);
	for (int i = 0; i < count; i++)
		each(&infos[i], arg);
	pfree(infos);
}
