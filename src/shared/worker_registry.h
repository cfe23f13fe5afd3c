/*
 * worker_registry.h
 *	  Who runs: the launcher, the listener and one worker per database.
 *
 * Lives in shared memory and holds hints only: losing it costs latency, never
 * an operation.  Without preloading there is no registry;
 * nexus_worker_registry_is_available() says so and the wake functions do
 * nothing.  One LWLock protects the slots; the wake words are atomics.
 */
#ifndef NEXUS_SHARED_WORKER_REGISTRY_H
#define NEXUS_SHARED_WORKER_REGISTRY_H

#include "datatype/timestamp.h"
#include "protocol/control.h"

#define NEXUS_LAST_ERROR_MAX 256

typedef enum NexusProcessState
{
	NEXUS_PROCESS_STARTING,
	NEXUS_PROCESS_RUNNING,
	NEXUS_PROCESS_PAUSED,
	NEXUS_PROCESS_NO_SLOT,		/* max_worker_processes is exhausted */
	NEXUS_PROCESS_FAILED		/* ended with an error; tried again */
} NexusProcessState;

/* Why a worker is woken. */
#define NEXUS_WAKE_ARRIVALS	0x01	/* rows of operation or request committed */
#define NEXUS_WAKE_CATALOG	0x02	/* endpoints or the extension changed */
#define NEXUS_WAKE_LEAVE	0x04	/* somebody wants this database without us */

/* What monitor.c shows of one process; a copy. */
typedef struct NexusProcessInfo
{
	const char *kind;			/* launcher, listener, worker */
	Oid			database;		/* InvalidOid for launcher and listener */
	pid_t		pid;			/* 0 where it does not run */
	NexusProcessState state;
	int32		port;			/* of the listener; 0 otherwise */
	int32		in_flight;
	int32		queued;
	int64		rejected;
	char		last_error[NEXUS_LAST_ERROR_MAX];
	TimestampTz last_error_time;	/* 0 where there was none */
} NexusProcessInfo;

/* ---- at server start (nexus_pg.c) ---- */
extern Size nexus_worker_registry_size(void);
extern void nexus_worker_registry_init(void);

/* ---- in every backend ---- */

/* Whether the library was preloaded, so that workers can exist at all. */
extern bool nexus_worker_registry_is_available(void);

/* The state of this database's worker; false where it has no slot. */
extern bool nexus_worker_registry_worker_state(Oid database, NexusProcessState *state);

/*
 * Wake this database's worker for these reasons when (and only if) the current
 * transaction commits; where it has no worker, ask the launcher to look.  Many
 * calls make one wake.
 */
extern void nexus_worker_registry_wake_at_commit(uint32 reasons);

/* The same at once: after COMMIT PREPARED, from signal-free code only. */
extern void nexus_worker_registry_wake(Oid database, uint32 reasons);

/* Ask the launcher to look at a database, or at all of them (InvalidOid). */
extern void nexus_worker_registry_request(Oid database);

/*
 * The same when the current transaction commits, even where the database has a
 * worker: that one may be about to leave.
 */
extern void nexus_worker_registry_request_at_commit(Oid database);

/*
 * Ask the worker of a database to leave and wait up to "timeout_ms" until its
 * slot is free; no new one is started until nexus_worker_registry_release() or
 * the end of this transaction, whichever comes first.  Interruptible.  True
 * where no worker is left.
 */
extern bool nexus_worker_registry_leave(Oid database, int timeout_ms);
extern void nexus_worker_registry_release(Oid database);

/* Port the listener listens on; 0 where it does not (yet). */
extern int	nexus_worker_registry_listener_port(void);

/* Whether the listener's process runs with its socket bound. */
extern bool nexus_worker_registry_listener_is_up(void);
extern pid_t nexus_worker_registry_listener_pid(void);

/* Call "each" with a copy of every process; no lock is held meanwhile. */
extern void nexus_worker_registry_each(void (*each) (const NexusProcessInfo *info, void *arg), void *arg);

/* ---- in a worker ---- */

/*
 * Have the end of this process recorded, however it comes and even where it
 * does not attach.  Called by the launcher's entry function.
 */
extern void nexus_worker_registry_begin(Oid database);

/*
 * Take the slot of this database, with pid and latch; released at exit.  False where another
 * live worker has it or the database is being left: exit 0 then.
 */
extern bool nexus_worker_registry_attach(Oid database);
extern void nexus_worker_registry_set_state(NexusProcessState state);
extern void nexus_worker_registry_set_figures(int32 in_flight, int32 queued);
extern void nexus_worker_registry_set_error(const char *message);

/* Take and clear the reasons for which this worker was woken. */
extern uint32 nexus_worker_registry_take_wake(void);

#endif							/* NEXUS_SHARED_WORKER_REGISTRY_H */
