/*
 * row.c
 *	  Insert and update rows of our tables without SQL text.
 *
 * What an insert needs beyond the row (columns by name, compiled predicates of
 * partial indexes and CHECK constraints, a slot) costs more than the insert.
 * It is kept per table for the life of the backend and made anew when the
 * relation cache says that the table changed.  Relations themselves are opened
 * for each row and closed again, so that nothing stays pinned in the caller's
 * transaction and DROP EXTENSION works at its end.
 */
#include "postgres.h"

#include "store/row.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "compat.h"
#include "executor/executor.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "store/relation.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

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
	IndexScanDesc scan;			/* by primary key, while rows are updated */
	Snapshot	snapshot;		/* of the scan */
	TupleTableSlot *old;		/* the version that was found */
	NexusRow   *next;
};

static NexusRow *rows = NULL;
static uint64 changes = 0;		/* of any table, as we hear of them */

static void
on_relation_changed(Datum arg, Oid table)
{
	changes++;
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
	uint64		before = changes;

	row->table = RelationGetRelid(relation);
	row->context = context;
	prepare_row(row, relation);
	/* what changed just now counts for transactions to come */
	row->is_stale = changes != before;
	MemoryContextSwitchTo(caller);

	/* Only now, so that an error above leaves nothing behind. */
	MemoryContextSetParent(context, CacheMemoryContext);
	row->next = rows;
	rows = row;
	return row;
}

/* The kept row of a table; one that is stale goes, and one whose last use an error ended half-way. */
static NexusRow *
find_row(Oid table)
{
	for (NexusRow **link = &rows; *link != NULL; link = &(*link)->next)
	{
		NexusRow   *row = *link;

		if (row->table != table)
			continue;
		if (!row->is_stale && row->target->ri_RelationDesc == NULL)
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
	int			at = nexus_relation_column_from(row->target->ri_RelationDesc, column, row->next_column) - 1;

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
	{
		index_close(row->target->ri_IndexRelationDescs[i], NoLock);
		/* access methods keep there what is good for a statement only */
		if (row->target->ri_IndexRelationInfo[i]->ii_AmCache != NULL)
			row->is_stale = true;
	}
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

/* ---- updates ---- */

static Relation
primary_key(NexusRow *row)
{
	for (int i = 0; i < row->target->ri_NumIndices; i++)
	{
		if (row->target->ri_IndexRelationDescs[i]->rd_index->indisprimary)
			return row->target->ri_IndexRelationDescs[i];
	}
	elog(ERROR, "table \"%s\" has no primary key", RelationGetRelationName(row->target->ri_RelationDesc));
}

/* See what is committed now, and what this transaction has written so far. */
static void
begin_scan(NexusRow *row)
{
	CommandCounterIncrement();
	row->snapshot = RegisterSnapshot(GetLatestSnapshot());
	row->scan = nexus_index_beginscan(row->target->ri_RelationDesc, primary_key(row), row->snapshot, 1);
}

static void
end_scan(NexusRow *row)
{
	index_endscan(row->scan);
	ExecClearTuple(row->old);
	UnregisterSnapshot(row->snapshot);
}

void
nexus_row_begin_updates(NexusRow *row)
{
	CheckCmdReplicaIdentity(row->target->ri_RelationDesc, CMD_UPDATE);
	open_indexes(row);
	row->old = table_slot_create(row->target->ri_RelationDesc, NULL);
	begin_scan(row);
}

void
nexus_row_end_updates(NexusRow *row)
{
	end_scan(row);
	ExecDropSingleTupleTableSlot(row->old);
	close_indexes(row);
}

bool
nexus_row_find(NexusRow *row, Datum value)
{
	int			columns = row->slot->tts_tupleDescriptor->natts;
	ScanKeyData key;

	nexus_relation_init_key(&key, primary_key(row), 1, value);
	index_rescan(row->scan, &key, 1, NULL, 0);
	ExecClearTuple(row->slot);
	ExecClearTuple(row->old);
	if (!index_getnext_slot(row->scan, ForwardScanDirection, row->old))
		return false;
	slot_getallattrs(row->old);
	memcpy(row->slot->tts_values, row->old->tts_values, columns * sizeof(Datum));
	memcpy(row->slot->tts_isnull, row->old->tts_isnull, columns * sizeof(bool));
	row->next_column = 0;
	return true;
}

Datum
nexus_row_get(NexusRow *row, const char *column, bool *is_null)
{
	int			at = next_column(row, column);

	*is_null = row->slot->tts_isnull[at];
	return row->slot->tts_values[at];
}

bool
nexus_row_update(NexusRow *row)
{
	TM_Result	result;

	check_row(row);
	result = nexus_update_tuple(row->target, &row->old->tts_tid, row->slot, row->executor, row->snapshot);
	ResetPerTupleExprContext(row->executor);
	if (result == TM_Ok)
		return true;
	CHECK_FOR_INTERRUPTS();
	end_scan(row);
	begin_scan(row);
	return false;
}
