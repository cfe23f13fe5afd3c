/*
 * database_list.c
 *	  Read pg_database.
 */
#include "postgres.h"

#include "worker/database_list.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

List *
nexus_database_list_read(void)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *databases = NIL;
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old_context = MemoryContextSwitchTo(context);
		NexusDatabaseName *database = palloc(sizeof(NexusDatabaseName));

		database->oid = form->oid;
		database->name = form->datname;
		database->is_usable = form->datallowconn && !form->datistemplate && !database_is_invalid_form(form);
		databases = lappend(databases, database);
		MemoryContextSwitchTo(old_context);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return databases;
}

const NexusDatabaseName *
nexus_database_list_find(const List *databases, Oid oid)
{
	ListCell   *cell;

	foreach(cell, databases)
	{
		const NexusDatabaseName *database = lfirst(cell);

		if (database->oid == oid)
			return database;
	}
	return NULL;
}
