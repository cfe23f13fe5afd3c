/*
 * result.h
 *	  Columns of a row that a query of the worker returned, by number.
 */
#ifndef NEXUS_STORE_RESULT_H
#define NEXUS_STORE_RESULT_H

#include "postgres.h"
#include "access/htup.h"
#include "access/tupdesc.h"
#include "datatype/timestamp.h"
#include "executor/spi.h"
#include "protocol/uuid.h"

typedef struct NexusResultRow
{
	HeapTuple	tuple;
	TupleDesc	desc;
} NexusResultRow;

/* palloc'd; NULL for SQL NULL. */
extern char *nexus_result_text(const NexusResultRow *row, int column);
extern TimestampTz nexus_result_time(const NexusResultRow *row, int column, TimestampTz if_null);

/* Microseconds of an interval; 0 for NULL. */
extern int64 nexus_result_interval_us(const NexusResultRow *row, int column);
extern int64 nexus_result_int(const NexusResultRow *row, int column, int64 if_null);
extern uint64 nexus_result_xid(const NexusResultRow *row, int column);
extern void nexus_result_uuid(const NexusResultRow *row, int column, NexusUuid *uuid);

/* A uuid as a Datum that points to it. */
extern Datum nexus_uuid_datum(const NexusUuid *uuid);

typedef void (*NexusEachRow) (const NexusResultRow *row, void *arg);

/*
 * Run a query under the active snapshot and hand out its rows in bites, so
 * that a million of them do not have to fit into memory.  Returns their number.
 */
extern uint64 nexus_result_each(SPIPlanPtr plan, Datum *values, NexusEachRow each, void *arg);

#endif							/* NEXUS_STORE_RESULT_H */
