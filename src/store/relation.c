/*
 * relation.c
 *	  Insert into and read our tables without SQL text.
 *
 * What an insert needs beyond the row (columns by name, compiled predicates of
 * partial indexes and CHECK constraints, a slot) costs more than the insert.
 * It is kept per table for the life of the backend and made anew when the
 * relation cache says that the table changed.  Relations themselves are opened
 * for each row and closed again, so that nothing stays pinned in the caller's
 * transaction and DROP EXTENSION works at its end.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "compat.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "store/relation.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define SCHEMA_NAME "nexus"

/* Keys of a read: the first columns of an index. */
#define READ_KEYS_MAX 4

struct NexusRow
{
	Oid			table;
	bool		is_stale;		/* the table changed: make it anew */
	MemoryContext context;
	EState	   *executor;
	ResultRelInfo *target;
	Oid		   *indexes;		/* those of target, in its order */
	TupleTableSlot *slot;
	Datum	   *defaults;
	bool	   *default_nulls;
	int			next_column;	/* where a look-up begins */
	NexusRow   *next;
};

static NexusRow *rows = NULL;

Oid
nexus_relation_oid(const char *name)
{
	Oid			schema = get_namespace_oid(SCHEMA_NAME, true);

	return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

Relation
nexus_relation_open(const char *name, LOCKMODE lockmode)
{
	Oid			table = nexus_relation_oid(name);
	Relation	relation = NULL;

	/* it may go while we wait for its lock */
	if (OidIsValid(table))
		relation = try_table_open(table, lockmode);
	if (relation == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s.%s\" does not exist", SCHEMA_NAME, name),
				 errhint("Run CREATE EXTENSION nexus_pg, or ALTER EXTENSION nexus_pg UPDATE.")));
	return relation;
}

static void
raise_no_column(Relation relation, const char *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("table \"%s.%s\" has no column \"%s\"", SCHEMA_NAME, RelationGetRelationName(relation), column),
			 errhint("The library is newer than the extension: run ALTER EXTENSION nexus_pg UPDATE.")));
}

/* Index of a column, looked for from "start" on; -1 where there is none. */
static int
find_column(TupleDesc columns, const char *name, int start)
{
	for (int i = 0; i < columns->natts; i++)
	{
		int			at = start + i < columns->natts ? start + i : start + i - columns->natts;
		Form_pg_attribute column = TupleDescAttr(columns, at);

		if (strcmp(NameStr(column->attname), name) == 0 && !column->attisdropped)
			return at;
	}
	return -1;
}

static void
on_relation_changed(Datum arg, Oid table)
{
	for (NexusRow *row = rows; row != NULL; row = row->next)
	{
		if (!OidIsValid(table) || row->table == table)
			row->is_stale = true;
	}
}

/* Defaults that are no constants are for those who insert by SQL. */
static void
read_default(NexusRow *row, Relation relation, int column)
{
	Expr	   *expression;

	row->default_nulls[column] = true;
	if (!TupleDescAttr(row->slot->tts_tupleDescriptor, column)->atthasdef)
		return;
	expression = expression_planner((Expr *) build_column_default(relation, column + 1));
	if (IsA(expression, Const))
	{
		row->defaults[column] = ((Const *) expression)->constvalue;
		row->default_nulls[column] = ((Const *) expression)->constisnull;
	}
}

/* Fill in what is kept; the current context is the row's. */
static void
prepare_row(NexusRow *row, Relation relation)
{
	TupleDesc	columns = CreateTupleDescCopyConstr(RelationGetDescr(relation));

	row->executor = CreateExecutorState();
	row->slot = MakeSingleTupleTableSlot(columns, &TTSOpsVirtual);
	row->defaults = palloc0(columns->natts * sizeof(Datum));
	row->default_nulls = palloc0(columns->natts * sizeof(bool));
	for (int i = 0; i < columns->natts; i++)
		read_default(row, relation, i);

	row->target = makeNode(ResultRelInfo);
	InitResultRelInfo(row->target, relation, 0, NULL, 0);
	ExecOpenIndices(row->target, true);
	row->indexes = palloc0(Max(row->target->ri_NumIndices, 1) * sizeof(Oid));
	for (int i = 0; i < row->target->ri_NumIndices; i++)
	{
		row->indexes[i] = RelationGetRelid(row->target->ri_IndexRelationDescs[i]);
		index_close(row->target->ri_IndexRelationDescs[i], NoLock);
	}
}

static NexusRow *
make_row(Relation relation)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "nexus row", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	NexusRow   *row = palloc0(sizeof(NexusRow));

	row->table = RelationGetRelid(relation);
	row->context = context;
	prepare_row(row, relation);
	MemoryContextSwitchTo(caller);

	/* Only now, so that an error above leaves nothing behind. */
	MemoryContextSetParent(context, CacheMemoryContext);
	row->next = rows;
	rows = row;
	return row;
}

/* The kept row of a table; one that is stale goes. */
static NexusRow *
find_row(Oid table)
{
	for (NexusRow **link = &rows; *link != NULL; link = &(*link)->next)
	{
		NexusRow   *row = *link;

		if (row->table != table)
			continue;
		if (!row->is_stale)
			return row;
		*link = row->next;
		MemoryContextDelete(row->context);
		return NULL;
	}
	return NULL;
}

NexusRow *
nexus_row_create(Relation relation)
{
	static bool is_registered = false;
	NexusRow   *row;
	int			columns = RelationGetNumberOfAttributes(relation);

	if (!is_registered)
	{
		CacheRegisterRelcacheCallback(on_relation_changed, 0);
		is_registered = true;
	}
	row = find_row(RelationGetRelid(relation));
	if (row == NULL)
		row = make_row(relation);

	ExecClearTuple(row->slot);
	memcpy(row->slot->tts_values, row->defaults, columns * sizeof(Datum));
	memcpy(row->slot->tts_isnull, row->default_nulls, columns * sizeof(bool));
	row->target->ri_RelationDesc = relation;
	row->next_column = 0;
	return row;
}

static int
next_column(NexusRow *row, const char *column)
{
	int			at = find_column(row->slot->tts_tupleDescriptor, column, row->next_column);

	if (at < 0)
		raise_no_column(row->target->ri_RelationDesc, column);
	row->next_column = at + 1;
	return at;
}

void
nexus_row_set(NexusRow *row, const char *column, Datum value)
{
	int			at = next_column(row, column);

	row->slot->tts_values[at] = value;
	row->slot->tts_isnull[at] = false;
}

void
nexus_row_set_null(NexusRow *row, const char *column)
{
	row->slot->tts_isnull[next_column(row, column)] = true;
}

/* The locks are kept, as everywhere, until the transaction ends. */
static void
open_indexes(NexusRow *row)
{
	for (int i = 0; i < row->target->ri_NumIndices; i++)
		row->target->ri_IndexRelationDescs[i] = index_open(row->indexes[i], RowExclusiveLock);
}

static void
close_indexes(NexusRow *row)
{
	for (int i = 0; i < row->target->ri_NumIndices; i++)
		index_close(row->target->ri_IndexRelationDescs[i], NoLock);
	ResetPerTupleExprContext(row->executor);
}

static void
check_row(NexusRow *row)
{
	ExecStoreVirtualTuple(row->slot);
	row->slot->tts_tableOid = row->table;
	if (row->target->ri_RelationDesc->rd_att->constr != NULL)
		ExecConstraints(row->target, row->slot, row->executor);
}

void
nexus_row_insert(NexusRow *row)
{
	open_indexes(row);
	check_row(row);
	table_tuple_insert(row->target->ri_RelationDesc, row->slot, GetCurrentCommandId(true), 0, NULL);
	nexus_insert_index_entries(row->target, row->slot, row->executor, NULL);
	close_indexes(row);
}

/*
 * One try; false where somebody was faster between the check and the index, or
 * "is_valid" (NULL: always) says no.
 */
static bool
insert_speculatively(NexusRow *row, bool (*is_valid) (void *arg), void *arg)
{
	Relation	relation = row->target->ri_RelationDesc;
	uint32		token = SpeculativeInsertionLockAcquire(GetCurrentTransactionId());
	bool		is_taken = false;

	table_tuple_insert_speculative(relation, row->slot, GetCurrentCommandId(true), 0, NULL, token);
	nexus_insert_index_entries(row->target, row->slot, row->executor, &is_taken);
	if (!is_taken && is_valid != NULL)
		is_taken = !is_valid(arg);
	table_tuple_complete_speculative(relation, row->slot, token, !is_taken);
	SpeculativeInsertionLockRelease(GetCurrentTransactionId());
	return !is_taken;
}

bool
nexus_row_insert_if_new(NexusRow *row)
{
	bool		is_new;

	open_indexes(row);
	check_row(row);
	do
	{
		CHECK_FOR_INTERRUPTS();
		is_new = nexus_check_unique_indexes(row->target, row->slot, row->executor);
	} while (is_new && !insert_speculatively(row, NULL, NULL));
	close_indexes(row);
	return is_new;
}

bool
nexus_row_insert_at_once(NexusRow *row, bool (*is_valid) (void *arg), void *arg)
{
	bool		is_new;

	open_indexes(row);
	check_row(row);
	is_new = insert_speculatively(row, is_valid, arg);
	close_indexes(row);
	return is_new;
}

void
nexus_row_destroy(NexusRow *row)
{
	/* The values were the caller's. */
	ExecClearTuple(row->slot);
	row->target->ri_RelationDesc = NULL;
}

static void
init_key(ScanKey key, Relation relation, AttrNumber column, Datum value)
{
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation), column - 1);

	/* Any other collation would go astray in the index. */
	ScanKeyEntryInitialize(key, 0, column, BTEqualStrategyNumber, InvalidOid, attribute->attcollation,
						   attribute->atttypid == TEXTOID ? F_TEXTEQ : F_UUID_EQ, value);
}

static Relation
open_index(const char *name)
{
	Oid			index = nexus_relation_oid(name);

	if (!OidIsValid(index))
		elog(ERROR, "index \"%s.%s\" does not exist", SCHEMA_NAME, name);
	return index_open(index, AccessShareLock);
}

HeapTuple
nexus_relation_read_at(Relation relation, const char *index, Datum key, const char *key2, Snapshot snapshot)
{
	Relation	index_relation = open_index(index);
	ScanKeyData keys[READ_KEYS_MAX];
	SysScanDesc scan;
	HeapTuple	tuple;
	int			count = key2 != NULL ? 2 : 1;

	init_key(&keys[0], relation, index_relation->rd_index->indkey.values[0], key);
	if (key2 != NULL)
		init_key(&keys[1], relation, index_relation->rd_index->indkey.values[1], CStringGetTextDatum(key2));

	scan = systable_beginscan(relation, RelationGetRelid(index_relation), true, snapshot, count, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	index_close(index_relation, AccessShareLock);
	return tuple;
}

HeapTuple
nexus_relation_read(Relation relation, const char *index, Datum key, const char *key2)
{
	return nexus_relation_read_at(relation, index, key, key2, SnapshotSelf);
}

int
nexus_relation_read_last(Relation relation, const char *index, const Datum *keys, int key_count,
						 NexusDirtyTuple *found, int limit)
{
	Relation	index_relation = open_index(index);
	ScanKeyData scan_keys[READ_KEYS_MAX];
	SnapshotData dirty;
	SysScanDesc scan;
	HeapTuple	tuple;
	int			count = 0;

	for (int i = 0; i < key_count; i++)
		init_key(&scan_keys[i], relation, index_relation->rd_index->indkey.values[i], keys[i]);
	InitDirtySnapshot(dirty);
	scan = systable_beginscan_ordered(relation, index_relation, &dirty, key_count, scan_keys);
	while (count < limit && HeapTupleIsValid(tuple = systable_getnext_ordered(scan, BackwardScanDirection)))
	{
		/* the snapshot tells of the tuple it let through last */
		found[count].writer = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
		found[count].token = dirty.speculativeToken;
		found[count++].tuple = heap_copytuple(tuple);
	}
	systable_endscan_ordered(scan);
	index_close(index_relation, AccessShareLock);
	return count;
}

Datum
nexus_relation_get(Relation relation, HeapTuple tuple, const char *column, bool *isnull)
{
	TupleDesc	columns = RelationGetDescr(relation);
	AttrNumber	number = nexus_relation_column(relation, column);
	Datum		value = heap_getattr(tuple, number, columns, isnull);

	if (!*isnull && TupleDescAttr(columns, number - 1)->attlen == -1)
		value = PointerGetDatum(PG_DETOAST_DATUM(value));
	return value;
}

AttrNumber
nexus_relation_column(Relation relation, const char *column)
{
	int			at = find_column(RelationGetDescr(relation), column, 0);

	if (at < 0)
		raise_no_column(relation, column);
	return at + 1;
}
