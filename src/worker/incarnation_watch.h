/*
 * incarnation_watch.h
 *	  Who this database is, as the worker knows it.
 *
 * Never made at a worker's start: the first schedule makes it, or the first
 * execute.  Where the database is a copy, the worker pauses.
 */
#ifndef NEXUS_WORKER_INCARNATION_WATCH_H
#define NEXUS_WORKER_INCARNATION_WATCH_H

#include "worker/state.h"

/* Look whether there is one now, unless it is known; in a transaction. */
extern void nexus_incarnation_watch_look(NexusWorker *worker);

/* Make it where there is none, in a transaction of its own; false: not now. */
extern bool nexus_incarnation_watch_ensure(NexusWorker *worker);

/* Whether the token is one of ours for this operation. */
extern bool nexus_incarnation_watch_check_token(NexusWorker *worker, NexusText token,
												const NexusUuid *incarnation, const NexusUuid *operation_id);

#endif							/* NEXUS_WORKER_INCARNATION_WATCH_H */
