/*
 * retention.h
 *	  Closed operations whose retention is over: found and deleted in bites.
 *
 * Without SQL: a bite looks at a bounded number of index entries, dead ones
 * among them, and goes on where the last one stopped, so that neither a long
 * snapshot elsewhere nor rows that stay make it long.
 */
#ifndef NEXUS_STORE_RETENTION_H
#define NEXUS_STORE_RETENTION_H

#include "postgres.h"
#include "datatype/timestamp.h"

#define NEXUS_RETENTION_MAX_DELETED 512 /* operations in one bite */
#define NEXUS_RETENTION_MAX_EXAMINED 4096	/* index entries in one bite */

typedef struct NexusRetentionBite
{
	TimestampTz floor;			/* where to begin; moves on to where the next
								 * bite begins */
	TimestampTz before;			/* only what closed before this */
	bool		(*is_meant) (const char *endpoint, void *arg);	/* must not raise */
	void	   *arg;

	/* filled in */
	int			deleted;
	TimestampTz last_deleted;	/* close time; DT_NOBEGIN for none */
	bool		is_end;			/* all before "before" was looked at */
	TimestampTz next;			/* at the end: what closed next; DT_NOEND for
								 * none, may be gone already */
	TimestampTz first_locked;	/* close time of the first operation that
								 * stays because a row of it is locked;
								 * DT_NOEND for none */
} NexusRetentionBite;

/*
 * Delete operations with their keys, requests, failed attempts and completions,
 * in nexus_transaction_run.  Waits for nobody's lock.  The commit does not wait
 * for the disk: what a crash brings back is deleted once more.
 */
extern void nexus_retention_bite(NexusRetentionBite *bite);

#endif							/* NEXUS_STORE_RETENTION_H */
