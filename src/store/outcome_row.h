/*
 * outcome_row.h
 *	  Progress and close, written into the row of their operation.
 *
 * These two are most of what a worker writes, so they go without SQL.
 */
#ifndef NEXUS_STORE_OUTCOME_ROW_H
#define NEXUS_STORE_OUTCOME_ROW_H

#include "store/outcome.h"

/*
 * Write outcomes of kind PROGRESS and CLOSE, at most one for each operation, and fill in what
 * became of them.  The progress that a CLOSE points to is written with it, as
 * if it had come first.
 */
extern void nexus_outcome_row_write(NexusOutcome *const *outcomes, int count);

#endif							/* NEXUS_STORE_OUTCOME_ROW_H */
