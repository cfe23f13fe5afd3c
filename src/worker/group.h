/*
 * group.h
 *	  The group commit: outcomes are collected and written together.
 *
 * A group is due at NEXUS_GROUP_MAX_OUTCOMES outcomes, NEXUS_GROUP_MAX_BYTES of
 * payload, NEXUS_GROUP_MAX_AGE_US after its first, or when nothing more is readable.
 * Where all of its outcomes are patient it is not due because
 * nothing is readable, but NEXUS_GROUP_PATIENT_AGE_US after its first.  After the
 * commit waiters are woken and every outcome's on_settled is called.
 */
#ifndef NEXUS_WORKER_GROUP_H
#define NEXUS_WORKER_GROUP_H

#include "store/outcome.h"

#define NEXUS_GROUP_MAX_OUTCOMES 256
#define NEXUS_GROUP_MAX_BYTES (8 * 1024 * 1024)
#define NEXUS_GROUP_MAX_AGE_US 2000
#define NEXUS_GROUP_PATIENT_AGE_US 8000

/* While commits fail, a group that holds this much takes no more from outside. */
#define NEXUS_GROUP_MAX_KEPT_BYTES (32 * 1024 * 1024)

typedef struct NexusGroup NexusGroup;

extern NexusGroup *nexus_group_create(TimestampTz last_close_time);

/*
 * Add an outcome; the caller fills in the rest.  What it points to is
 * allocated in nexus_group_context().  A second CLOSE of an operation is
 * chained to the first and settled with it.
 */
extern NexusOutcome *nexus_group_add(NexusGroup *group, NexusOutcomeKind kind, const NexusUuid *id,
									 const char *endpoint);
extern MemoryContext nexus_group_context(const NexusGroup *group);

/* Tell that an outcome of the group carries this many bytes. */
extern void nexus_group_weigh(NexusGroup *group, NexusOutcome *outcome, Size size);

/* Others of its endpoint still wait to be sent: it need not hurry either. */
extern void nexus_group_be_patient(NexusGroup *group, NexusOutcome *outcome);

extern bool nexus_group_is_empty(const NexusGroup *group);

/*
 * Whether there are outcomes that wait for what is readable now: not for the
 * end of some trouble, nor patiently.
 */
extern bool nexus_group_is_collecting(const NexusGroup *group);

/* Whether to commit now; "is_quiet": nothing more is readable. */
extern bool nexus_group_is_due(const NexusGroup *group, bool is_quiet);

/* Whether a commit now would write something, as far as is known. */
extern bool nexus_group_can_commit(const NexusGroup *group);

/* Commits fail for a reason of the environment: stop taking on work. */
extern bool nexus_group_is_failing(const NexusGroup *group);
extern bool nexus_group_is_full(const NexusGroup *group);

/* When to look at it again although nothing else happens; DT_NOEND for never. */
extern TimestampTz nexus_group_deadline(const NexusGroup *group);

/* Write what is there.  An error keeps the outcomes or rejects the culprit. */
extern void nexus_group_commit(NexusGroup *group);

/* How many operations this worker has inserted less those it has closed. */
extern int64 nexus_group_opened(const NexusGroup *group);

#endif							/* NEXUS_WORKER_GROUP_H */
