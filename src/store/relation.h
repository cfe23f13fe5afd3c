/*
 * relation.h
 *	  Our tables without SQL text: reads by key.
 *
 * What runs in user backends goes through here and row.h, because a plan made
 * under a caller's search_path would run the caller's operators.
 */
#ifndef NEXUS_STORE_RELATION_H
#define NEXUS_STORE_RELATION_H

#include "postgres.h"
#include "access/genam.h"
#include "utils/rel.h"

/* Open nexus.<name>; raises a clear error where the extension is not installed. */
extern Relation nexus_relation_open(const char *name, LOCKMODE lockmode);

/* OID of nexus.<name>, InvalidOid where it is not there. */
extern Oid	nexus_relation_oid(const char *name);

/*
 * The row of a primary key that starts with "key" (and "key2" where
 * its text is not NULL) as of now: what is committed or ours, by SnapshotSelf, without SIREAD locks.
 * A palloc'd copy, not detoasted, or NULL.  Needs and takes no
 * snapshot.
 */
extern HeapTuple nexus_relation_read(Relation relation, const char *index, Datum key, const char *key2);

/* The same by another snapshot, which must be active or registered. */
extern HeapTuple nexus_relation_read_at(Relation relation, const char *index, Datum key, const char *key2,
										Snapshot snapshot);

/* A scan key for "= value" of a column of uuid or text; of an index: its own columns. */
extern void nexus_relation_init_key(ScanKey key, Relation relation, AttrNumber column, Datum value);

/* A row as a dirty read finds it: committed, ours, or just being written. */
typedef struct NexusDirtyTuple
{
	HeapTuple	tuple;			/* a palloc'd copy, not detoasted */
	TransactionId writer;		/* somebody else who is inserting or deleting
								 * it; or invalid */
	uint32		token;			/* of a speculative insert of the writer; 0 =
								 * none */
} NexusDirtyTuple;

/*
 * Up to "limit" rows whose index begins with these texts, the last one of the
 * index first; number found.
 */
extern int	nexus_relation_read_last(Relation relation, const char *index, const Datum *keys, int key_count,
									 NexusDirtyTuple *found, int limit);

/*
 * A column by name, detoasted; raises where the table has none of that name.
 * Needs an active snapshot for what may be out of line.
 */
extern Datum nexus_relation_get(Relation relation, HeapTuple tuple, const char *column, bool *isnull);

/* The number of a column; raises where the table has none of that name. */
extern AttrNumber nexus_relation_column(Relation relation, const char *column);

/* The same, looked for from an index among the columns on, and before it. */
extern AttrNumber nexus_relation_column_from(Relation relation, const char *column, int start);

#endif							/* NEXUS_STORE_RELATION_H */
