/*
 * incarnation_watch.h
 *	  Who this database is, as the worker knows it.
 *
 * Never made at a worker's start: the first schedule makes it, or the first
 * execute.  The listener finds this database by symlinks of its incarnation, of
 * those that it has adopted, and of those it is a copy of unless another
 * database has them.
 */
#ifndef NEXUS_WORKER_INCARNATION_WATCH_H
#define NEXUS_WORKER_INCARNATION_WATCH_H

#include "worker/state.h"

/* Look whether there is one now, unless it is known; in a transaction. */
extern void nexus_incarnation_watch_look(NexusWorker *worker);

/* Make it where there is none, in a transaction of its own; false: not now. */
extern bool nexus_incarnation_watch_ensure(NexusWorker *worker);

typedef enum NexusTokenVerdict
{
	NEXUS_TOKEN_WRONG,
	NEXUS_TOKEN_GOOD,
	NEXUS_TOKEN_COPIED			/* good, but of a database that we are a copy
								 * of */
} NexusTokenVerdict;

/* Whether the token is one of ours for this operation. */
extern NexusTokenVerdict nexus_incarnation_watch_check_token(NexusWorker *worker, NexusText token,
															 const NexusUuid *incarnation,
															 const NexusUuid *operation_id);

#endif							/* NEXUS_WORKER_INCARNATION_WATCH_H */
