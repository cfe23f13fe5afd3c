/*
 * hooks.c
 *	  Follow the commands that concern workers and endpoints.
 *
 * object_access_hook sees objects come and go, whatever the command;
 * ProcessUtility_hook sees the commands for which there is no such call:
 * databases that are copied, renamed or moved, COMMIT PREPARED, GRANT, ALTER
 * USER MAPPING.  A worker is sent away only for somebody whom the command
 * itself would let go on.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "compat.h"
#include "foreign/foreign.h"
#include "hooks.h"
#include "miscadmin.h"
#include "net/local_socket.h"
#include "shared/worker_registry.h"
#include "store/endpoint.h"
#include "store/relation.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#define EXTENSION_NAME "nexus_pg"

/* CREATE DATABASE copies this one unless it is told otherwise. */
#define DEFAULT_TEMPLATE "template1"

/* Less than the five seconds for which DROP DATABASE itself waits. */
#define LEAVE_TIMEOUT_MS 4000

/* Enough for launcher, some workers and parallel query. */
#define RECOMMENDED_WORKER_PROCESSES 16

static object_access_hook_type next_object_access_hook = NULL;
static ProcessUtility_hook_type next_process_utility_hook = NULL;

/*
 * Within DROP SERVER; a server that goes with its owner or with the extension
 * is not held back.
 */
static bool is_dropping_server = false;

/* By the DROP DATABASE that runs now. */
static Oid	dropped_database = InvalidOid;

void
nexus_hooks_warn_not_preloaded(void)
{
	const char *libraries = GetConfigOption("shared_preload_libraries", true, false);
	bool		is_empty = libraries == NULL || libraries[0] == '\0';

	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("nexus_pg is not preloaded: operations are stored but not sent"),
			 errhint("Add these lines to postgresql.conf and restart the server:\n"
					 "shared_preload_libraries = '%s%snexus_pg'\n"
					 "max_worker_processes = %d",
					 is_empty ? "" : libraries, is_empty ? "" : ",",
					 Max(max_worker_processes, RECOMMENDED_WORKER_PROCESSES))));
}

/* ---- catalog rows that may be as new as the command ---- */

/* A copy of the row of an OID, or NULL. */
static HeapTuple
read_row(Oid class, Oid index, AttrNumber oid_column, Oid oid)
{
	Relation	relation = table_open(class, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, oid_column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(oid));
	scan = systable_beginscan(relation, index, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return tuple;
}

static bool
is_our_extension(Oid extension)
{
	HeapTuple	tuple = read_row(ExtensionRelationId, ExtensionOidIndexId, Anum_pg_extension_oid, extension);

	return HeapTupleIsValid(tuple) &&
		strcmp(NameStr(((Form_pg_extension) GETSTRUCT(tuple))->extname), EXTENSION_NAME) == 0;
}

static bool
has_our_wrapper(void)
{
	return OidIsValid(get_foreign_data_wrapper_oid(NEXUS_WRAPPER_NAME, true));
}

/* ---- endpoints with open operations ---- */

static bool
has_open_operations(const char *endpoint)
{
	Oid			table = nexus_relation_oid("operation");
	Relation	relation;
	AttrNumber	close_time;
	ScanKeyData key;
	SysScanDesc scan;
	Snapshot	snapshot;
	HeapTuple	tuple;
	bool		is_open = false;

	if (!OidIsValid(table))
		return false;

	/*
	 * No index has all open operations of an endpoint.  A scan of the table
	 * is not too much for such a command.
	 */
	relation = table_open(table, AccessShareLock);
	close_time = get_attnum(table, "close_time");
	ScanKeyInit(&key, get_attnum(table, "endpoint"), BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(endpoint));
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = systable_beginscan(relation, InvalidOid, false, snapshot, 1, &key);
	while (!is_open && HeapTupleIsValid(tuple = systable_getnext(scan)))
		is_open = heap_attisnull(tuple, close_time, RelationGetDescr(relation));
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(relation, AccessShareLock);
	return is_open;
}

static void
refuse_with_open_operations(const char *verb, const char *endpoint)
{
	if (!has_open_operations(endpoint))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("cannot %s server \"%s\" because operations of this endpoint are open", verb, endpoint),
			 errhint("Wait until they are closed, or close them with nexus.terminate(); "
					 "nexus.pending_operations lists them.")));
}

/* The caches still have the name from before the command. */
static void
check_server(ObjectAccessType access, Oid server_oid)
{
	ForeignServer *before = GetForeignServerExtended(server_oid, FSV_MISSING_OK);
	HeapTuple	tuple;

	if (before == NULL || before->fdwid != get_foreign_data_wrapper_oid(NEXUS_WRAPPER_NAME, true))
		return;
	if (access == OAT_DROP && is_dropping_server)
		refuse_with_open_operations("drop", before->servername);
	if (access != OAT_POST_ALTER)
		return;
	tuple = read_row(ForeignServerRelationId, ForeignServerOidIndexId, Anum_pg_foreign_server_oid, server_oid);
	if (HeapTupleIsValid(tuple) &&
		strcmp(NameStr(((Form_pg_foreign_server) GETSTRUCT(tuple))->srvname), before->servername) != 0)
		refuse_with_open_operations("rename", before->servername);
}

/* ---- object_access_hook ---- */

static void
see_extension(ObjectAccessType access, Oid extension)
{
	if (!is_our_extension(extension))
		return;
	nexus_worker_registry_wake_at_commit(NEXUS_WAKE_CATALOG);
	if (access != OAT_POST_CREATE)
		return;
	nexus_worker_registry_request_at_commit(MyDatabaseId);
	if (!nexus_worker_registry_is_available())
		nexus_hooks_warn_not_preloaded();
}

/* A new one may have the extension from its template; connections may be allowed now. */
static void
see_database(ObjectAccessType access, Oid database)
{
	if (access != OAT_DROP)
	{
		nexus_worker_registry_request_at_commit(database);
		return;
	}
	dropped_database = database;
	(void) nexus_worker_registry_leave(database, LEAVE_TIMEOUT_MS);
}

static void
see_object(ObjectAccessType access, Oid class, Oid object)
{
	if (class == ExtensionRelationId)
		see_extension(access, object);
	else if (class == ForeignServerRelationId)
	{
		check_server(access, object);
		if (has_our_wrapper())
			nexus_worker_registry_wake_at_commit(NEXUS_WAKE_CATALOG);
	}
	else if (class == UserMappingRelationId && has_our_wrapper())
		nexus_worker_registry_wake_at_commit(NEXUS_WAKE_CATALOG);
	else if (class == DatabaseRelationId)
		see_database(access, object);
}

static void
on_object_access(ObjectAccessType access, Oid class, Oid object, int sub_id, void *arg)
{
	if (next_object_access_hook != NULL)
		next_object_access_hook(access, class, object, sub_id, arg);
	if (access == OAT_POST_CREATE || access == OAT_POST_ALTER || access == OAT_DROP)
		see_object(access, class, object);
}

/* ---- ProcessUtility_hook ---- */

static bool
may_create_databases(void)
{
	HeapTuple	tuple;
	bool		result = superuser();

	if (result)
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return result;
}

static bool
is_template(Oid database)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
	ReleaseSysCache(tuple);
	return result;
}

static const char *
find_string_option(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst(cell);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

static Oid
find_template(const CreatedbStmt *statement)
{
	const char *name = find_string_option(statement->options, "template");
	Oid			database = get_database_oid(name != NULL ? name : DEFAULT_TEMPLATE, true);

	if (!OidIsValid(database) || !may_create_databases())
		return InvalidOid;
	if (!is_template(database) && !nexus_database_ownercheck(database, GetUserId()))
		return InvalidOid;
	return database;
}

static Oid
find_owned_database(const char *name)
{
	Oid			database = get_database_oid(name, true);

	if (!OidIsValid(database) || database == MyDatabaseId ||
		!nexus_database_ownercheck(database, GetUserId()))
		return InvalidOid;
	return database;
}

/* The database that a command wants without other sessions, if it may. */
static Oid
find_database_to_leave(const Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_CreatedbStmt:
			return find_template((const CreatedbStmt *) statement);
		case T_RenameStmt:
			if (((const RenameStmt *) statement)->renameType == OBJECT_DATABASE && may_create_databases())
				return find_owned_database(((const RenameStmt *) statement)->subname);
			return InvalidOid;
		case T_AlterDatabaseStmt:
			if (find_string_option(((const AlterDatabaseStmt *) statement)->options, "tablespace") != NULL)
				return find_owned_database(((const AlterDatabaseStmt *) statement)->dbname);
			return InvalidOid;
		default:
			return InvalidOid;
	}
}

static bool
is_drop_server(const Node *statement)
{
	return IsA(statement, DropStmt) && ((const DropStmt *) statement)->removeType == OBJECT_FOREIGN_SERVER;
}

/* Changes of what a worker may send with, for which no object is accessed. */
static bool
is_change_of_access(const Node *statement)
{
	return IsA(statement, AlterUserMappingStmt) || IsA(statement, GrantRoleStmt) || IsA(statement, DropRoleStmt) ||
		(IsA(statement, GrantStmt) && ((const GrantStmt *) statement)->objtype == OBJECT_FOREIGN_SERVER);
}

static bool
is_commit_prepared(const Node *statement)
{
	return IsA(statement, TransactionStmt) &&
		((const TransactionStmt *) statement)->kind == TRANS_STMT_COMMIT_PREPARED;
}

/* What it committed is unknown: an operation, or a server, or the extension. */
static void
see_commit_prepared(void)
{
	if (!nexus_worker_registry_is_available() || !OidIsValid(get_extension_oid(EXTENSION_NAME, true)))
		return;
	nexus_worker_registry_wake(MyDatabaseId, NEXUS_WAKE_ARRIVALS | NEXUS_WAKE_CATALOG);
}

static void
run_utility(PlannedStmt *planned, const char *query, bool read_only_tree, ProcessUtilityContext context,
			ParamListInfo params, QueryEnvironment *environment, DestReceiver *destination,
			QueryCompletion *completion)
{
	if (next_process_utility_hook != NULL)
		next_process_utility_hook(planned, query, read_only_tree, context, params, environment, destination,
								  completion);
	else
		standard_ProcessUtility(planned, query, read_only_tree, context, params, environment, destination,
								completion);
}

static void
run_drop_server(PlannedStmt *planned, const char *query, bool read_only_tree, ProcessUtilityContext context,
				ParamListInfo params, QueryEnvironment *environment, DestReceiver *destination,
				QueryCompletion *completion)
{
	is_dropping_server = true;
	PG_TRY();
	{
		run_utility(planned, query, read_only_tree, context, params, environment, destination, completion);
	}
	PG_FINALLY();
	{
		is_dropping_server = false;
	}
	PG_END_TRY();
}

static void
run_drop_database(PlannedStmt *planned, const char *query, bool read_only_tree, ProcessUtilityContext context,
				  ParamListInfo params, QueryEnvironment *environment, DestReceiver *destination,
				  QueryCompletion *completion)
{
	dropped_database = InvalidOid;
	run_utility(planned, query, read_only_tree, context, params, environment, destination, completion);
	if (OidIsValid(dropped_database))
		nexus_local_socket_remove(dropped_database);
}

static void
on_process_utility(PlannedStmt *planned, const char *query, bool read_only_tree, ProcessUtilityContext context,
				   ParamListInfo params, QueryEnvironment *environment, DestReceiver *destination,
				   QueryCompletion *completion)
{
	const Node *statement = planned->utilityStmt;
	bool		commits_prepared = is_commit_prepared(statement);
	Oid			database = nexus_worker_registry_is_available() ? find_database_to_leave(statement) : InvalidOid;

	if (OidIsValid(database))
		(void) nexus_worker_registry_leave(database, LEAVE_TIMEOUT_MS);
	if (is_change_of_access(statement) && has_our_wrapper())
		nexus_worker_registry_wake_at_commit(NEXUS_WAKE_CATALOG);

	if (is_drop_server(statement))
		run_drop_server(planned, query, read_only_tree, context, params, environment, destination, completion);
	else if (IsA(statement, DropdbStmt))
		run_drop_database(planned, query, read_only_tree, context, params, environment, destination, completion);
	else
		run_utility(planned, query, read_only_tree, context, params, environment, destination, completion);

	/* The statement itself may be gone by now. */
	if (commits_prepared)
		see_commit_prepared();
}

void
nexus_hooks_install(void)
{
	next_object_access_hook = object_access_hook;
	object_access_hook = on_object_access;
	next_process_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = on_process_utility;
}
