/*
 * deadlines.h
 *	  Operations whose time runs out, and rows whose retention is over.
 */
#ifndef NEXUS_WORKER_DEADLINES_H
#define NEXUS_WORKER_DEADLINES_H

#include "worker/state.h"

typedef struct NexusDeadlines NexusDeadlines;

/* "first_close_time": of the oldest closed operation, DT_NOEND for none. */
extern NexusDeadlines *nexus_deadlines_create(NexusWorker *worker, TimestampTz next_deadline,
											  TimestampTz first_close_time);

/* An open operation has this deadline now. */
extern void nexus_deadlines_note(NexusDeadlines *deadlines, TimestampTz deadline);

/* An operation has closed: it will have to go one day. */
extern void nexus_deadlines_note_closed(NexusDeadlines *deadlines, TimestampTz close_time);

/* Close what is overdue, delete what is too old, each if it is time. */
extern void nexus_deadlines_run(NexusDeadlines *deadlines);

/* When to run next; DT_NOEND for never. */
extern TimestampTz nexus_deadlines_next(const NexusDeadlines *deadlines);

#endif							/* NEXUS_WORKER_DEADLINES_H */
