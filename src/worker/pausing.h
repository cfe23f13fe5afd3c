/*
 * pausing.h
 *	  Whether this database sends: nexus.pause(), resume(), and copies.
 *
 * A worker is paused while nexus.pause() says so or its database is a copy.
 * What users ask is taken in the order in which they asked; a pause holds from
 * the moment it is read, a resume from the commit that stores it.
 */
#ifndef NEXUS_WORKER_PAUSING_H
#define NEXUS_WORKER_PAUSING_H

#include "store/queue.h"
#include "worker/state.h"

typedef struct NexusPausing NexusPausing;

extern NexusPausing *nexus_pausing_create(NexusWorker *worker);

/*
 * Whether the database is a copy, and what is stored, is known (again): the
 * worker's state shows it.
 */
extern void nexus_pausing_look(NexusPausing *pausing, bool is_copy);

/* Take a request of kind pause or resume; one that is known already is ignored. */
extern void nexus_pausing_take(NexusPausing *pausing, const NexusTakenRequest *request);

/* Do some of what was asked, in transactions of its own. */
extern void nexus_pausing_run(NexusPausing *pausing);

/* When there is more to do; DT_NOEND: nothing, or it waits for the group. */
extern TimestampTz nexus_pausing_next(const NexusPausing *pausing);

/* Copied operations have become ours, or were closed: the worker has to begin anew. */
extern bool nexus_pausing_begins_anew(const NexusPausing *pausing);

#endif							/* NEXUS_WORKER_PAUSING_H */
