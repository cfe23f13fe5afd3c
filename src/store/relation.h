/*
 * relation.h
 *	  Our tables without SQL text: direct inserts and reads by key.
 *
 * What runs in user backends goes through here, because a plan made under a
 * caller's search_path would run the caller's operators.
 * Tuples are built from the relation's own descriptor by column name, so a
 * library that is newer than the script says which column is missing.  No
 * privileges are checked and no triggers fire: these tables are ours.
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

/* A row being built: all columns NULL or their constant default at first. */
typedef struct NexusRow NexusRow;

/*
 * Start a row of an open relation; one at a time of each.  What is expensive
 * about it is kept for the next row, also of later transactions.  Columns are
 * found fastest when they are set in the table's order.
 */
extern NexusRow *nexus_row_create(Relation relation);
extern void nexus_row_set(NexusRow *row, const char *column, Datum value);
extern void nexus_row_set_null(NexusRow *row, const char *column);

/* Insert with NOT NULL, CHECK and all indexes; raises on a duplicate key. */
extern void nexus_row_insert(NexusRow *row);

/*
 * Insert speculatively: false where a unique key is taken already (by a
 * committed row or our own), after waiting for an open transaction that has
 * just written it.
 */
extern bool nexus_row_insert_if_new(NexusRow *row);

/*
 * Insert speculatively, once, and wait for nobody: false where a unique key is
 * taken, by an open transaction too.  "is_valid" is asked when everybody can find the row
 * as one that is being written; where it says no, nothing is left of it.
 */
extern bool nexus_row_insert_at_once(NexusRow *row, bool (*is_valid) (void *arg), void *arg);
extern void nexus_row_destroy(NexusRow *row);

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

#endif							/* NEXUS_STORE_RELATION_H */
