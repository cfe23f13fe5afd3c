/*
 * adoption.h
 *	  Operations that a restore or a copy brought: count them, make them ours,
 *	  or list them so that they can be closed.
 *
 * The table is gone through in windows of its primary key, so that a million
 * of them take many short transactions and nothing is looked at twice.  "own" is
 * the incarnation of this database; whatever carries another one is copied.
 */
#ifndef NEXUS_STORE_ADOPTION_H
#define NEXUS_STORE_ADOPTION_H

#include "postgres.h"
#include "protocol/uuid.h"

/* ---- in user backends: no SQL, the whole table is read ---- */

/* How many open operations there are that are not ours; "own" NULL: nothing is ours yet. */
extern int64 nexus_adoption_count(const NexusUuid *own);

/* ---- in nexus_transaction_run ---- */

/*
 * The first open operation at or after "*from" that is not ours; "from"
 * moves there.  False where there is none.
 */
extern bool nexus_adoption_find(const NexusUuid *own, NexusUuid *from);

/*
 * Make those of a window ours, which starts at "*from" and moves on: they
 * arrive with this transaction.  Rows that are locked are left out.
 * "count" is increased by those that became ours.  False where the window was
 * the last one.
 */
extern bool nexus_adoption_take(const NexusUuid *own, NexusUuid *from, int64 *count);

/* The same, but hand them out and change nothing. */
typedef void (*NexusEachCopied) (const NexusUuid *id, const char *endpoint, void *arg);
extern bool nexus_adoption_read(const NexusUuid *own, NexusUuid *from, NexusEachCopied each, void *arg);

/*
 * Once no copied operation is open: adopt the other incarnations with their
 * keys and what was asked of their operations, or delete all of that.
 */
extern void nexus_adoption_finish(const NexusUuid *own, bool adopt);

#endif							/* NEXUS_STORE_ADOPTION_H */
