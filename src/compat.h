/*
 * compat.h
 *	  Every test of a version in the project, so that all else reads as one.
 *
 * To be included after postgres.h.
 */
#ifndef NEXUS_COMPAT_H
#define NEXUS_COMPAT_H

#include <curl/curlver.h>

#include "access/genam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "common/jsonapi.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/memutils.h"

#if PG_VERSION_NUM >= 160000
#include "catalog/pg_database.h"
#include "catalog/pg_foreign_server.h"
#endif

#if PG_VERSION_NUM >= 170000
#include "storage/procnumber.h"
#else
#include "storage/backendid.h"
#endif

#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#else
#include "storage/latch.h"
#endif

#ifndef __linux__
#error "nexus_pg runs on Linux only: it nests one epoll descriptor in another."
#endif

#if PG_VERSION_NUM < 150000
#error "nexus_pg needs PostgreSQL 15 or newer."
#endif

/* Before 7.87 a slow name server stops the whole worker: no QUICK_EXIT. */
#if LIBCURL_VERSION_NUM < 0x075700
#error "nexus_pg needs libcurl 7.87 or newer."
#endif

/* A set that lives as long as the process, unless it is freed. */
static inline WaitEventSet *
nexus_create_wait_event_set(int nevents)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, nevents);
#else
	return CreateWaitEventSet(TopMemoryContext, nevents);
#endif
}

static inline AclResult
nexus_server_aclcheck(Oid server, Oid role, AclMode mode)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ForeignServerRelationId, server, role, mode);
#else
	return pg_foreign_server_aclcheck(server, role, mode);
#endif
}

static inline bool
nexus_server_ownercheck(Oid server, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(ForeignServerRelationId, server, role);
#else
	return pg_foreign_server_ownercheck(server, role);
#endif
}

static inline bool
nexus_database_ownercheck(Oid database, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, role);
#else
	return pg_database_ownercheck(database, role);
#endif
}

/* Index a tuple that table_tuple_insert() has just written. */
static inline void
nexus_insert_index_entries(ResultRelInfo *target, TupleTableSlot *slot, EState *state, bool *conflict)
{
#if PG_VERSION_NUM >= 160000
	ExecInsertIndexTuples(target, slot, state, false, conflict != NULL, conflict, NIL, false);
#else
	ExecInsertIndexTuples(target, slot, state, false, conflict != NULL, conflict, NIL);
#endif
}

/* Write a new version of the row at "tid", as "slot" has it, and index it; waits for who has locked it. */
static inline TM_Result
nexus_update_tuple(ResultRelInfo *target, ItemPointer tid, TupleTableSlot *slot, EState *state, Snapshot snapshot)
{
	CommandId	command = GetCurrentCommandId(true);
	TM_FailureData failure;
	LockTupleMode mode;
	TM_Result	result;
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes indexes;

	result = table_tuple_update(target->ri_RelationDesc, tid, slot, command, snapshot, InvalidSnapshot, true, &failure,
								&mode, &indexes);
	if (result == TM_Ok && indexes != TU_None)
		ExecInsertIndexTuples(target, slot, state, true, false, NULL, NIL, indexes == TU_Summarizing);
#else
	bool		is_indexed;

	result = table_tuple_update(target->ri_RelationDesc, tid, slot, command, snapshot, InvalidSnapshot, true, &failure,
								&mode, &is_indexed);
	if (result == TM_Ok && is_indexed)
		ExecInsertIndexTuples(target, slot, state, true, false, NULL, NIL);
#endif
	return result;
}

/* A scan that is to be positioned by index_rescan. */
static inline IndexScanDesc
nexus_index_beginscan(Relation table, Relation index, Snapshot snapshot, int keys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(table, index, snapshot, NULL, keys, 0);
#else
	return index_beginscan(table, index, snapshot, keys, 0);
#endif
}

/* Whether no unique index has an equal key, after waiting for open writers. */
static inline bool
nexus_check_unique_indexes(ResultRelInfo *target, TupleTableSlot *slot, EState *state)
{
	ItemPointerData conflict;

#if PG_VERSION_NUM >= 170000
	ItemPointerSetInvalid(&slot->tts_tid);
	return ExecCheckIndexConstraints(target, slot, state, &conflict, &slot->tts_tid, NIL);
#else
	return ExecCheckIndexConstraints(target, slot, state, &conflict, NIL);
#endif
}

/* Whether the grammar of JSON holds; allocates, does not raise. */
static inline bool
nexus_is_json(char *text, int len, int encoding)
{
#if PG_VERSION_NUM >= 170000
	JsonLexContext *lexer = makeJsonLexContextCstringLen(NULL, text, len, encoding, true);
#else
	JsonLexContext *lexer = makeJsonLexContextCstringLen(text, len, encoding, true);
#endif

	return pg_parse_json(lexer, &nullSemAction) == JSON_SUCCESS;
}

/* This backend's place among MaxBackends, from 0; -1 where it has none. */
static inline int
nexus_backend_index(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProcNumber < MaxBackends ? MyProcNumber : -1;
#else
	return MyBackendId - 1 < MaxBackends ? MyBackendId - 1 : -1;
#endif
}

#endif							/* NEXUS_COMPAT_H */
