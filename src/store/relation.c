/*
 * relation.c
 *	  Open our tables and read them by key, without SQL text.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "store/relation.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#define SCHEMA_NAME "nexus"

/* Keys of a read: the first columns of an index. */
#define READ_KEYS_MAX 4

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

void
nexus_relation_init_key(ScanKey key, Relation relation, AttrNumber column, Datum value)
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

	nexus_relation_init_key(&keys[0], relation, index_relation->rd_index->indkey.values[0], key);
	if (key2 != NULL)
		nexus_relation_init_key(&keys[1], relation, index_relation->rd_index->indkey.values[1],
								CStringGetTextDatum(key2));

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
		nexus_relation_init_key(&scan_keys[i], relation, index_relation->rd_index->indkey.values[i], keys[i]);
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
	return nexus_relation_column_from(relation, column, 0);
}

AttrNumber
nexus_relation_column_from(Relation relation, const char *column, int start)
{
	int			at = find_column(RelationGetDescr(relation), column, start);

	if (at < 0)
		raise_no_column(relation, column);
	return at + 1;
}
