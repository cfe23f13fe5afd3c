/*
 * deadlines.h
 *	  Operations whose time runs out.
 */
#ifndef NEXUS_WORKER_DEADLINES_H
#define NEXUS_WORKER_DEADLINES_H

#include "worker/state.h"

typedef struct NexusDeadlines NexusDeadlines;

extern NexusDeadlines *nexus_deadlines_create(NexusWorker *worker);

/* An open operation has this deadline now. */
extern void nexus_deadlines_note(NexusDeadlines *deadlines, TimestampTz deadline);

/* Close what is overdue, if it is time. */
extern void nexus_deadlines_run(NexusDeadlines *deadlines);

/* When to run next; DT_NOEND for never. */
extern TimestampTz nexus_deadlines_next(const NexusDeadlines *deadlines);

#endif							/* NEXUS_WORKER_DEADLINES_H */
