/*
 * retention.c
 *	  Delete closed operations whose retention is over.
 *
 * Half of what DELETE statements would cost: a row is not locked before it goes, and
 * what belongs to it is looked for only in tables that are not empty.
 */
#include "postgres.h"

#include "store/retention.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/tuptable.h"
#include "storage/bufmgr.h"
#include "store/relation.h"
#include "store/stat.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define MAX_KEYS 4

/* A table and one of its indexes, scanned again and again. */
typedef struct Source
{
	Relation	table;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
} Source;

/* A table with rows of operations, and which columns of an operation find them. */
typedef struct Kind
{
	const char *table;
	const char *index;
	int			count;
	const char *columns[MAX_KEYS];
	bool		by_key;			/* only operations with a key have rows, and
								 * an equal key may be another's */
} Kind;

static const Kind kinds[] = {
	{"failed_attempt", "failed_attempt_pkey", 1, {"id"}, false},
	{"request", "request_pkey", 1, {"id"}, false},
	{"completion", "completion_pkey", 1, {"id"}, false},
	{"operation_key", "operation_key_pkey", 4, {"endpoint", "service", "operation", "operation_key"}, true},
};

typedef struct Bite
{
	NexusRetentionBite *public;
	Source		operations;
	AttrNumber	id;
	AttrNumber	endpoint;
	Source		sources[lengthof(kinds)];	/* table NULL: it is empty */
	AttrNumber	columns[lengthof(kinds)][MAX_KEYS];
	AttrNumber	operation_ids[lengthof(kinds)]; /* in those tables */
	char	   *last_endpoint;	/* of what was deleted last */
} Bite;

static void
open_source(Source *source, Relation table, const char *index, int keys)
{
	Oid			oid = nexus_relation_oid(index);

	if (!OidIsValid(oid))
		elog(ERROR, "index \"nexus.%s\" does not exist", index);
	source->table = table;
	source->index = index_open(oid, RowExclusiveLock);
	source->slot = table_slot_create(table, NULL);
	source->scan = nexus_index_beginscan(table, source->index, GetActiveSnapshot(), keys);
}

static void
close_source(Source *source)
{
	index_endscan(source->scan);
	ExecDropSingleTupleTableSlot(source->slot);
	index_close(source->index, NoLock);
	table_close(source->table, NoLock);
}

static void
open_kind(Bite *bite, int at)
{
	const Kind *kind = &kinds[at];
	Relation	table = nexus_relation_open(kind->table, RowExclusiveLock);

	if (RelationGetNumberOfBlocks(table) == 0)
	{
		table_close(table, NoLock);
		return;
	}
	open_source(&bite->sources[at], table, kind->index, kind->count);
	bite->operation_ids[at] = nexus_relation_column(table, "operation_id");
	for (int i = 0; i < kind->count; i++)
		bite->columns[at][i] = nexus_relation_column(bite->operations.table, kind->columns[i]);
}

/* False where somebody has locked or changed the row in the slot. */
static bool
delete_row(Source *source)
{
	TM_FailureData failure;

	return table_tuple_delete(source->table, &source->slot->tts_tid, GetCurrentCommandId(true), GetActiveSnapshot(),
							  InvalidSnapshot, false, &failure, false) == TM_Ok;
}

static bool
is_of(const Source *source, AttrNumber operation_id, Datum id)
{
	bool		isnull;
	Datum		value = slot_getattr(source->slot, operation_id, &isnull);

	return !isnull && DatumGetBool(DirectFunctionCall2(uuid_eq, value, id));
}

/* Delete what one table has of the operation in the slot. */
static bool
delete_parts(Bite *bite, int at, Datum id)
{
	Source	   *source = &bite->sources[at];
	const Kind *kind = &kinds[at];
	ScanKeyData keys[MAX_KEYS];

	for (int i = 0; i < kind->count; i++)
	{
		bool		isnull;
		Datum		value = slot_getattr(bite->operations.slot, bite->columns[at][i], &isnull);
		Form_pg_attribute column = TupleDescAttr(RelationGetDescr(source->index), i);

		if (isnull)
			return true;		/* without a key */
		ScanKeyEntryInitialize(&keys[i], 0, i + 1, BTEqualStrategyNumber, InvalidOid, column->attcollation,
							   column->atttypid == TEXTOID ? F_TEXTEQ : F_UUID_EQ, value);
	}
	index_rescan(source->scan, keys, kind->count, NULL, 0);
	while (index_getnext_slot(source->scan, ForwardScanDirection, source->slot))
		if ((!kind->by_key || is_of(source, bite->operation_ids[at], id)) && !delete_row(source))
			return false;
	return true;
}

/* Whether nobody has locked or changed the row in the slot. */
static bool
is_free(const Source *source)
{
	const		BufferHeapTupleTableSlot *slot = (const BufferHeapTupleTableSlot *) source->slot;
	TM_Result	result;

	LockBuffer(slot->buffer, BUFFER_LOCK_SHARE);
	result = HeapTupleSatisfiesUpdate(slot->base.tuple, GetCurrentCommandId(false), slot->buffer);
	LockBuffer(slot->buffer, BUFFER_LOCK_UNLOCK);
	return result == TM_Ok;
}

/*
 * Delete the operation in the slot with all that belongs to it.  One that
 * somebody has locked is looked at before anything of it goes: it must keep its
 * key, or that could be used again.
 */
static bool
delete_operation(Bite *bite)
{
	bool		isnull;
	Datum		id = slot_getattr(bite->operations.slot, bite->id, &isnull);

	if (!is_free(&bite->operations))
		return false;
	for (int at = 0; at < (int) lengthof(kinds); at++)
		if (bite->sources[at].table != NULL && !delete_parts(bite, at, id))
			return false;
	return delete_row(&bite->operations);
}

static void
take_row(Bite *bite, TimestampTz close_time)
{
	NexusRetentionBite *public = bite->public;
	bool		isnull;
	char	   *endpoint = TextDatumGetCString(slot_getattr(bite->operations.slot, bite->endpoint, &isnull));

	if (!public->is_meant(endpoint, public->arg))
	{
		pfree(endpoint);
		return;
	}
	if (!delete_operation(bite))
	{
		public->first_locked = Min(public->first_locked, close_time);
		return;
	}
	public->deleted++;
	public->last_deleted = Max(public->last_deleted, close_time);
	bite->last_endpoint = endpoint;
}

static void
look_from_floor(Bite *bite)
{
	NexusRetentionBite *public = bite->public;
	Source	   *source = &bite->operations;
	ScanKeyData key;

	ScanKeyEntryInitialize(&key, 0, 1, BTGreaterEqualStrategyNumber, InvalidOid, InvalidOid,
						   F_TIMESTAMPTZ_GE, TimestampTzGetDatum(public->floor));
	source->scan->xs_want_itup = true;	/* dead ones have close times, too */
	index_rescan(source->scan, &key, 1, NULL, 0);
	for (int examined = 1; index_getnext_tid(source->scan, ForwardScanDirection) != NULL; examined++)
	{
		bool		isnull;
		TimestampTz close_time = DatumGetTimestampTz(index_getattr(source->scan->xs_itup, 1,
																   source->scan->xs_itupdesc, &isnull));

		if (close_time >= public->before)
		{
			public->next = close_time;
			break;
		}
		/* those of one time are not torn apart: it would be a standstill */
		if (close_time > public->floor
			&& (public->deleted >= NEXUS_RETENTION_MAX_DELETED || examined > NEXUS_RETENTION_MAX_EXAMINED))
		{
			public->floor = public->next = close_time;
			public->is_end = false;
			return;
		}
		public->floor = close_time;
		if (index_fetch_heap(source->scan, source->slot))
			take_row(bite, close_time);
	}
}

void
nexus_retention_bite(NexusRetentionBite *public)
{
	Bite		bite = {.public = public};
	Relation	table = nexus_relation_open("operation", RowExclusiveLock);

	(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	public->deleted = 0;
	public->last_deleted = DT_NOBEGIN;
	public->is_end = true;
	public->next = DT_NOEND;
	public->first_locked = DT_NOEND;

	open_source(&bite.operations, table, "operation_closed", 1);
	bite.id = nexus_relation_column(table, "id");
	bite.endpoint = nexus_relation_column(table, "endpoint");
	for (int at = 0; at < (int) lengthof(kinds); at++)
		open_kind(&bite, at);
	look_from_floor(&bite);
	for (int at = 0; at < (int) lengthof(kinds); at++)
		if (bite.sources[at].table != NULL)
			close_source(&bite.sources[at]);
	close_source(&bite.operations);
	if (public->deleted > 0)
		nexus_stat_note_deleted(bite.last_endpoint, public->last_deleted);
}
