/*
 * worker_link.h
 *	  Connections to the workers: callbacks out as frames, their answers in.
 *
 * One connection per incarnation, made when a callback needs it.  A callback
 * whose worker cannot be reached, or is lost before it answers, is held and
 * sent (again) as soon as there is one: completions are idempotent.
 */
#ifndef NEXUS_LISTENER_WORKER_LINK_H
#define NEXUS_LISTENER_WORKER_LINK_H

#include "listener/callback.h"

/*
 * Below the 10 s after which Temporal takes a callback for failed: a worker
 * that restarts in the meantime goes unnoticed, and its six failures would stop
 * all callbacks to this host and port for a minute.
 */
#define NEXUS_WORKER_LINK_HOLD_MS 8000

/* "answer" is called exactly once for every callback that is taken. */
extern void nexus_worker_link_init(NexusCallbackAnswer answer, void *arg);

/*
 * Whether every database was looked at, so that an incarnation without a
 * symlink does not exist: its callbacks get 404 instead of being held.
 */
extern void nexus_worker_link_set_scanned(bool is_scanned);

/* Take a callback.  It may be answered before this returns. */
extern void nexus_worker_link_take(NexusCallback *callback);

/*
 * Write what was taken in this turn, connect again, give up what was held for
 * too long.  Returns when to call again at the latest.
 */
extern int64_t nexus_worker_link_run(void);

/* How many callbacks wait for an answer. */
extern int	nexus_worker_link_waiting(void);

/* Answer all of them with 503 and close every connection. */
extern void nexus_worker_link_close_all(void);

#endif							/* NEXUS_LISTENER_WORKER_LINK_H */
