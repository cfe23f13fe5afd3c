/*
 * adoption.c
 *	  Operations that a restore or a copy brought.
 */
#include "postgres.h"

#include "store/adoption.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "store/relation.h"
#include "store/result.h"
#include "store/transaction.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#define WINDOW 2000				/* rows of the table looked at in one
								 * transaction */

/* Behind every id that can be. */
static const NexusUuid last_id = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

int64
nexus_adoption_count(const NexusUuid *own)
{
	Relation	relation = nexus_relation_open("operation", AccessShareLock);
	AttrNumber	close_time = get_attnum(RelationGetRelid(relation), "close_time");
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64		count = 0;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (own != NULL)
		ScanKeyInit(&key, get_attnum(RelationGetRelid(relation), "incarnation"), BTEqualStrategyNumber,
					F_UUID_NE, nexus_uuid_datum(own));
	scan = systable_beginscan(relation, InvalidOid, false, snapshot, own != NULL ? 1 : 0, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		count += heap_attisnull(tuple, close_time, RelationGetDescr(relation));
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(relation, AccessShareLock);
	return count;
}

/* ---- in the worker ---- */

static void
take_id(const NexusResultRow *row, void *arg)
{
	nexus_result_uuid(row, 1, arg);
}

bool
nexus_adoption_find(const NexusUuid *own, NexusUuid *from)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, UUIDOID};
	NexusUuid	start = *from;
	Datum		values[] = {nexus_uuid_datum(own), nexus_uuid_datum(&start)};

	nexus_transaction_plan(&plan, "SELECT o.id FROM nexus.operation o WHERE o.id OPERATOR(pg_catalog.>=) $2 "
						   "AND o.close_time IS NULL AND o.incarnation OPERATOR(pg_catalog.<>) $1 "
						   "ORDER BY o.id LIMIT 1", lengthof(types), types);
	return nexus_result_each(plan, values, take_id, from) > 0;
}

/* Where the window that starts at "from" ends; false where it is the last one. */
static bool
find_end(const NexusUuid *from, NexusUuid *end)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, INT8OID};
	Datum		values[] = {nexus_uuid_datum(from), Int64GetDatum(WINDOW)};

	*end = last_id;
	nexus_transaction_plan(&plan, "SELECT o.id FROM nexus.operation o WHERE o.id OPERATOR(pg_catalog.>=) $1 "
						   "ORDER BY o.id OFFSET $2 LIMIT 1", lengthof(types), types);
	return nexus_result_each(plan, values, take_id, end) > 0;
}

#define COPIED "FROM nexus.operation o WHERE o.id OPERATOR(pg_catalog.>=) $2 " \
	"AND o.id OPERATOR(pg_catalog.<) $3 AND o.close_time IS NULL AND o.incarnation OPERATOR(pg_catalog.<>) $1 "
#define IDS_FOUND "OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT f.id FROM found f)) "

bool
nexus_adoption_take(const NexusUuid *own, NexusUuid *from, int64 *count)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, UUIDOID, UUIDOID};
	NexusUuid	end;
	bool		goes_on = find_end(from, &end);
	Datum		values[] = {nexus_uuid_datum(own), nexus_uuid_datum(from), nexus_uuid_datum(&end)};
	NexusResultRow row;

	/*
	 * Their transaction ids are of another server, perhaps of its future
	 * here.  A cancel that came with its operation still does: nothing was
	 * sent for it.
	 */
	nexus_transaction_plan(&plan,
						   "WITH found AS MATERIALIZED (SELECT o.id " COPIED "FOR UPDATE SKIP LOCKED), "
						   "r AS (UPDATE nexus.request AS r SET incarnation = $1, "
						   "xid = pg_catalog.pg_current_xact_id() FROM nexus.operation o "
						   "WHERE r.operation_id " IDS_FOUND "AND o.id OPERATOR(pg_catalog.=) r.operation_id "
						   "AND o.xid OPERATOR(pg_catalog.=) r.xid), "
						   "u AS (UPDATE nexus.operation AS o SET incarnation = $1, "
						   "xid = pg_catalog.pg_current_xact_id() WHERE o.id " IDS_FOUND "RETURNING 1) "
						   "SELECT pg_catalog.count(*) FROM u", lengthof(types), types);
	nexus_transaction_execute(plan, values, NULL, SPI_OK_SELECT);
	row.tuple = SPI_tuptable->vals[0];
	row.desc = SPI_tuptable->tupdesc;
	*count += nexus_result_int(&row, 1, 0);
	SPI_freetuptable(SPI_tuptable);
	*from = end;
	return goes_on;
}

typedef struct CopiedRead
{
	NexusEachCopied each;
	void	   *arg;
} CopiedRead;

static void
take_copied(const NexusResultRow *row, void *arg)
{
	const CopiedRead *read = arg;
	NexusUuid	id;

	nexus_result_uuid(row, 1, &id);
	read->each(&id, nexus_result_text(row, 2), read->arg);
}

bool
nexus_adoption_read(const NexusUuid *own, NexusUuid *from, NexusEachCopied each, void *arg)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, UUIDOID, UUIDOID};
	CopiedRead	read = {each, arg};
	NexusUuid	end;
	bool		goes_on = find_end(from, &end);
	Datum		values[] = {nexus_uuid_datum(own), nexus_uuid_datum(from), nexus_uuid_datum(&end)};

	nexus_transaction_plan(&plan, "SELECT o.id, o.endpoint " COPIED "ORDER BY o.id", lengthof(types), types);
	nexus_result_each(plan, values, take_copied, &read);
	*from = end;
	return goes_on;
}

static void
adopt_incarnations(Datum *own)
{
	static SPIPlanPtr incarnations = NULL;
	static SPIPlanPtr switches = NULL;
	static SPIPlanPtr requests = NULL;
	static const Oid types[] = {UUIDOID};

	nexus_transaction_plan(&incarnations, "UPDATE nexus.incarnation AS i SET adopted_by = "
						   "CASE WHEN i.id OPERATOR(pg_catalog.<>) $1 THEN $1 END", lengthof(types), types);
	/* what was asked of the other database as a whole */
	nexus_transaction_plan(&switches, "DELETE FROM nexus.request AS r "
						   "WHERE r.incarnation OPERATOR(pg_catalog.<>) $1 "
						   "AND r.kind OPERATOR(pg_catalog.=) ANY (ARRAY['pause', 'resume'])",
						   lengthof(types), types);
	nexus_transaction_plan(&requests, "UPDATE nexus.request AS r SET incarnation = $1, "
						   "xid = pg_catalog.pg_current_xact_id() "
						   "WHERE r.incarnation OPERATOR(pg_catalog.<>) $1", lengthof(types), types);
	nexus_transaction_execute(incarnations, own, NULL, SPI_OK_UPDATE);
	nexus_transaction_execute(switches, own, NULL, SPI_OK_DELETE);
	nexus_transaction_execute(requests, own, NULL, SPI_OK_UPDATE);
}

static void
delete_incarnations(Datum *own)
{
	static SPIPlanPtr incarnations = NULL;
	static SPIPlanPtr requests = NULL;
	static const Oid types[] = {UUIDOID};

	nexus_transaction_plan(&incarnations, "DELETE FROM nexus.incarnation AS i "
						   "WHERE i.id OPERATOR(pg_catalog.<>) $1 "
						   "AND (i.adopted_by IS NULL OR i.adopted_by OPERATOR(pg_catalog.<>) $1)",
						   lengthof(types), types);
	/* what a closed one was retried as stays as long as that one */
	nexus_transaction_plan(&requests, "DELETE FROM nexus.request AS r "
						   "WHERE r.incarnation OPERATOR(pg_catalog.<>) $1 "
						   "AND r.kind OPERATOR(pg_catalog.<>) 'retry_as_new'", lengthof(types), types);
	nexus_transaction_execute(incarnations, own, NULL, SPI_OK_DELETE);
	nexus_transaction_execute(requests, own, NULL, SPI_OK_DELETE);
}

void
nexus_adoption_finish(const NexusUuid *own, bool adopt)
{
	Datum		values[] = {nexus_uuid_datum(own)};

	if (adopt)
		adopt_incarnations(values);
	else
		delete_incarnations(values);
}
