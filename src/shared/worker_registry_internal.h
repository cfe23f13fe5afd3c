/*
 * worker_registry_internal.h
 *	  The shared memory of the worker registry, and what its launcher does
 *	  with it.
 *
 * Included by worker_registry.c, worker_registry_launcher.c and the launcher's
 * own files; everybody else needs worker_registry.h only.
 */
#ifndef NEXUS_SHARED_WORKER_REGISTRY_INTERNAL_H
#define NEXUS_SHARED_WORKER_REGISTRY_INTERNAL_H

#include "shared/worker_registry.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

/* More databases than this at a time: the launcher looks at all of them. */
#define NEXUS_REQUESTS_MAX 64

/* Sessions that drop, copy, rename or move a database at the same time. */
#define NEXUS_LEAVE_MARKS_MAX 64

typedef struct NexusLastError
{
	char		message[NEXUS_LAST_ERROR_MAX];
	TimestampTz time;			/* 0 where there was none */
} NexusLastError;

typedef struct NexusWorkerSlot
{
	Oid			database;		/* InvalidOid: the slot is free */
	pid_t		pid;			/* 0 where no worker is attached */
	Latch	   *latch;			/* invalid when pid is 0 */
	NexusProcessState state;
	bool		has_ended;		/* since the launcher last started one */
	int			exit_code;		/* of that one */
	int32		in_flight;
	int32		queued;
	pg_atomic_uint32 wake;		/* NEXUS_WAKE_... not taken yet */
	NexusLastError error;
} NexusWorkerSlot;

/* The database stays without a worker as long as this process lives. */
typedef struct NexusLeaveMark
{
	Oid			database;		/* InvalidOid: the mark is free */
	pid_t		pid;
} NexusLeaveMark;

typedef struct NexusListenerEntry
{
	bool		is_wanted;		/* there are addresses to listen on */
	pid_t		pid;			/* 0 where it does not run */
	NexusProcessState state;
	int32		port;			/* 0 where no socket is bound */
	NexusListenerFigures figures;
	NexusLastError error;
} NexusListenerEntry;

/* Everything but the wake words and "detached" is protected by "lock". */
typedef struct NexusWorkerRegistry
{
	LWLock		lock;
	int			tranche;
	ConditionVariable detached; /* a worker has left its slot */
	pid_t		launcher_pid;
	Latch	   *launcher_latch; /* invalid when launcher_pid is 0 */
	Oid			requests[NEXUS_REQUESTS_MAX];
	int			request_count;
	bool		looks_at_all;	/* requests did not fit */
	NexusListenerEntry listener;
	NexusLeaveMark marks[NEXUS_LEAVE_MARKS_MAX];
	int			slot_count;
	NexusWorkerSlot slots[FLEXIBLE_ARRAY_MEMBER];
} NexusWorkerRegistry;

/* NULL where the library was not preloaded. */
extern NexusWorkerRegistry *nexus_worker_registry;

/* ---- with the lock held ---- */
extern NexusWorkerSlot *nexus_worker_registry_find(Oid database);
extern NexusWorkerSlot *nexus_worker_registry_find_or_make(Oid database);
extern bool nexus_worker_registry_is_alive(pid_t pid);
extern bool nexus_worker_registry_has_mark(Oid database);
extern void nexus_worker_registry_fill_error(NexusLastError *error, const char *message);

/* ---- in the launcher ---- */

/* What the launcher needs to know about the worker of a database. */
typedef struct NexusWorkerLook
{
	bool		is_attached;
	bool		has_ended;
	int			exit_code;		/* valid when has_ended */
	NexusProcessState state;
} NexusWorkerLook;

/* Become the launcher until this process ends; false where one lives. */
extern bool nexus_worker_registry_attach_launcher(void);

/* Take what was asked for; true where all databases must be looked at. */
extern bool nexus_worker_registry_take_requests(Oid *databases, int *count);

/* A worker is about to be started: its slot shows it as starting. */
extern void nexus_worker_registry_prepare(Oid database);

/* It could not be, or has ended; NULL keeps the message that is there. */
extern void nexus_worker_registry_fail(Oid database, NexusProcessState state, const char *message);

/* Nothing more is to be said of this database. */
extern void nexus_worker_registry_forget(Oid database);

extern NexusWorkerLook nexus_worker_registry_look(Oid database);
extern bool nexus_worker_registry_is_being_left(Oid database);
extern bool nexus_worker_registry_has_workers(void);

extern void nexus_worker_registry_set_listener(bool is_wanted, pid_t pid, NexusProcessState state, int port);
extern void nexus_worker_registry_set_listener_figures(const NexusListenerFigures *figures);
extern void nexus_worker_registry_set_listener_error(const char *message);

#endif							/* NEXUS_SHARED_WORKER_REGISTRY_INTERNAL_H */
