/*
 * result.c
 *	  Columns of a row that a query of the worker returned, by number.
 */
#include "postgres.h"

#include "store/result.h"

#include "store/operation.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#define ROWS_PER_FETCH 1000		/* of a portal, in memory at once */

static Datum
value_of(const NexusResultRow *row, int column, bool *isnull)
{
	return SPI_getbinval(row->tuple, row->desc, column, isnull);
}

char *
nexus_result_text(const NexusResultRow *row, int column)
{
	bool		isnull;
	Datum		value = value_of(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

TimestampTz
nexus_result_time(const NexusResultRow *row, int column, TimestampTz if_null)
{
	bool		isnull;
	Datum		value = value_of(row, column, &isnull);

	return isnull ? if_null : DatumGetTimestampTz(value);
}

int64
nexus_result_interval_us(const NexusResultRow *row, int column)
{
	bool		isnull;
	Datum		value = value_of(row, column, &isnull);

	return isnull ? 0 : nexus_operation_interval_us(DatumGetIntervalP(value));
}

int64
nexus_result_int(const NexusResultRow *row, int column, int64 if_null)
{
	bool		isnull;
	Datum		value = value_of(row, column, &isnull);

	if (isnull)
		return if_null;
	return TupleDescAttr(row->desc, column - 1)->attlen == sizeof(int32)
		? DatumGetInt32(value) : DatumGetInt64(value);
}

uint64
nexus_result_xid(const NexusResultRow *row, int column)
{
	bool		isnull;
	Datum		value = value_of(row, column, &isnull);

	return isnull ? 0 : U64FromFullTransactionId(DatumGetFullTransactionId(value));
}

void
nexus_result_uuid(const NexusResultRow *row, int column, NexusUuid *uuid)
{
	bool		isnull;
	Datum		value = value_of(row, column, &isnull);

	memcpy(uuid->bytes, DatumGetUUIDP(value)->data, sizeof(uuid->bytes));
}

Datum
nexus_uuid_datum(const NexusUuid *uuid)
{
	return PointerGetDatum(uuid);
}

uint64
nexus_result_each(SPIPlanPtr plan, Datum *values, NexusEachRow each, void *arg)
{
	Portal		portal = SPI_cursor_open(NULL, plan, values, NULL, true);
	uint64		total = 0;
	uint64		count;

	do
	{
		SPITupleTable *table;

		SPI_cursor_fetch(portal, true, ROWS_PER_FETCH);
		table = SPI_tuptable;
		count = table->numvals;
		for (uint64 i = 0; i < count; i++)
		{
			NexusResultRow row = {table->vals[i], table->tupdesc};

			each(&row, arg);
		}
		total += count;
		SPI_freetuptable(table);
	} while (count == ROWS_PER_FETCH);
	SPI_cursor_close(portal);
	return total;
}
