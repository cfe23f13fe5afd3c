/*
 * verdict.h
 *	  What awaiting an operation comes to, as a value or an error.
 */
#ifndef NEXUS_API_VERDICT_H
#define NEXUS_API_VERDICT_H

#include "postgres.h"
#include "store/operation.h"

/*
 * The result (jsonb) of an operation that is not awaited any more, 0 for SQL
 * NULL; raises NX001 to NX004 where it did not succeed, NX008 where the result is
 * no JSON, and for an open one NX002 or NX006, as its cancellation type says.
 */
extern Datum nexus_verdict_take(const NexusOperationRow *row);

/* The result of a succeeded operation; raises NX008. */
extern Datum nexus_verdict_result(const NexusOperationRow *row);

/*
 * DETAIL of an error about an operation: a JSON object for programs.  For the
 * server's log ids only, since a failure carries users' data.
 */
extern const char *nexus_verdict_detail(const NexusOperationRow *row, bool with_failure);

#endif							/* NEXUS_API_VERDICT_H */
