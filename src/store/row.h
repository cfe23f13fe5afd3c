/*
 * row.h
 *	  Rows of our tables without SQL text: inserts, and updates by key.
 *
 * Tuples are built from the relation's own descriptor by column name, so a
 * library that is newer than the script says which column is missing.  No
 * privileges are checked and no triggers fire: these tables are ours.
 */
#ifndef NEXUS_STORE_ROW_H
#define NEXUS_STORE_ROW_H

#include "postgres.h"
#include "utils/rel.h"

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
 * Update rows of a table whose primary key is one uuid or text, between these two.  A row is
 * found as it is committed, or as this transaction has left it before.
 */
extern void nexus_row_begin_updates(NexusRow *row);
extern void nexus_row_end_updates(NexusRow *row);

/* Make the row with this key the one to be set and updated; false where there is none. */
extern bool nexus_row_find(NexusRow *row, Datum key);

/* A column of it, as stored: maybe compressed or out of line. */
extern Datum nexus_row_get(NexusRow *row, const char *column, bool *is_null);

/*
 * Write it with NOT NULL, CHECK and all indexes; waits for who has locked it.
 * False where it was changed meanwhile: find it again and decide anew.
 */
extern bool nexus_row_update(NexusRow *row);

#endif							/* NEXUS_STORE_ROW_H */
