/*
 * waiters.h
 *	  Backends asleep until awaiting an operation ends, and who a backend is.
 *
 * One slot per backend in shared memory: its latch and a 1,024-bit set of
 * hashed operation ids.  A sleeper fills the set before it reads its rows, the
 * worker sets the latches of intersecting slots after its commit, so no wake is
 * lost and waking allocates nothing.
 */
#ifndef NEXUS_SHARED_WAITERS_H
#define NEXUS_SHARED_WAITERS_H

#include "postgres.h"
#include "protocol/uuid.h"

/* ---- at server start ---- */
extern Size nexus_waiters_size(void);
extern void nexus_waiters_init(void);

/* ---- in a user backend ---- */

/* Start to be woken for these operations, in addition to armed ones. */
extern void nexus_waiters_arm(const NexusUuid *ids, int count);

/* Stop being woken.  Also happens at the end of the transaction and at exit. */
extern void nexus_waiters_disarm(void);

/*
 * Sleep until somebody wakes us (or did since the last sleep), "timeout_ms" passed (-1: none) or the
 * postmaster died; processes interrupts.  False at the timeout.
 */
extern bool nexus_waiters_sleep(long timeout_ms);

/*
 * Publish database and current user of this backend for one execute frame, so
 * that a worker need not believe the frame.
 */
extern void nexus_waiters_publish_identity(const NexusUuid *operation_id);

/* ---- in a worker ---- */

/*
 * Who a process was when it posted this operation; false where it published
 * another one since (a frame left behind by an interrupted call, which must
 * not run as whom the process is now) or none.
 */
extern bool nexus_waiters_identity(pid_t pid, const NexusUuid *operation_id, Oid *database, Oid *role);

/* After a commit: wake who waits for one of these operations. */
extern void nexus_waiters_wake(const NexusUuid *ids, int count);

/* Wake everybody to look again: what some wait for is gone. */
extern void nexus_waiters_wake_all(void);

#endif							/* NEXUS_SHARED_WAITERS_H */
