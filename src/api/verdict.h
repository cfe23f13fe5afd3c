/*
 * verdict.h
 *	  The outcome of a closed operation as a value or an error.
 */
#ifndef NEXUS_API_VERDICT_H
#define NEXUS_API_VERDICT_H

#include "postgres.h"
#include "store/operation.h"

/*
 * The result (jsonb) of a closed operation, 0 for SQL NULL; raises NX001 to
 * NX004 where it did not succeed and NX008 where the result is no JSON.
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
