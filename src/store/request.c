/*
 * request.c
 *	  Insert what users ask of an operation.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "store/operation.h"
#include "store/relation.h"
#include "store/row.h"
#include "store/request.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#define REQUEST_TABLE "request"
#define REQUEST_KEY "request_pkey"

static const char *const kind_names[] = {
	[NEXUS_REQUEST_CANCEL] = "cancel",
	[NEXUS_REQUEST_TERMINATE] = "terminate",
	[NEXUS_REQUEST_RETRY] = "retry",
	[NEXUS_REQUEST_RETRY_AS_NEW] = "retry_as_new",
	[NEXUS_REQUEST_PAUSE] = "pause",
	[NEXUS_REQUEST_RESUME] = "resume"
};

const char *
nexus_request_kind_name(NexusRequestKind kind)
{
	return kind_names[kind];
}

NexusRequestKind
nexus_request_kind_of_name(const char *name)
{
	for (size_t i = 0; i < lengthof(kind_names); i++)
	{
		if (strcmp(kind_names[i], name) == 0)
			return (NexusRequestKind) i;
	}
	elog(ERROR, "unknown kind \"%s\" of a request", name);
}

static bool
insert(Relation relation, const NexusUuid *id, NexusRequestKind kind, const NexusUuid *operation_id,
	   const NexusUuid *incarnation, const char *reason)
{
	NexusRow   *row = nexus_row_create(relation);
	bool		is_new;

	nexus_row_set(row, "id", PointerGetDatum(id));
	nexus_row_set(row, "xid", FullTransactionIdGetDatum(GetTopFullTransactionId()));
	nexus_row_set(row, "incarnation", PointerGetDatum(incarnation));
	nexus_row_set(row, "kind", CStringGetTextDatum(nexus_request_kind_name(kind)));
	nexus_row_set(row, "operation_id", PointerGetDatum(operation_id != NULL ? operation_id : id));
	nexus_row_set(row, "requested_time", TimestampTzGetDatum(GetCurrentTimestamp()));
	if (reason != NULL)
		nexus_row_set(row, "reason", CStringGetTextDatum(reason));
	nexus_row_set(row, "identity", CStringGetTextDatum(GetUserNameFromId(GetSessionUserId(), false)));

	is_new = nexus_row_insert_if_new(row);
	nexus_row_destroy(row);
	return is_new;
}

bool
nexus_request_insert(NexusRequestKind kind, const NexusUuid *operation_id,
					 const NexusUuid *incarnation, const char *reason)
{
	Relation	relation = nexus_relation_open(REQUEST_TABLE, RowExclusiveLock);
	NexusUuid	id;
	bool		is_new;

	nexus_operation_new_id(&id);
	is_new = insert(relation, &id, kind, operation_id, incarnation, reason);
	table_close(relation, NoLock);
	return is_new;
}

/* False where the row is gone: its operation was deleted. */
static bool
read_id(Relation relation, NexusRequestKind kind, const NexusUuid *operation_id, NexusUuid *id)
{
	HeapTuple	tuple = nexus_relation_read(relation, REQUEST_KEY, PointerGetDatum(operation_id),
											nexus_request_kind_name(kind));
	bool		is_null;

	if (HeapTupleIsValid(tuple))
		memcpy(id->bytes, DatumGetUUIDP(nexus_relation_get(relation, tuple, "id", &is_null))->data, UUID_LEN);
	return HeapTupleIsValid(tuple);
}

bool
nexus_request_insert_new(const NexusUuid *operation_id, const NexusUuid *incarnation, NexusUuid *new_id)
{
	Relation	relation = nexus_relation_open(REQUEST_TABLE, RowExclusiveLock);
	bool		is_new;

	do
		is_new = insert(relation, new_id, NEXUS_REQUEST_RETRY_AS_NEW, operation_id, incarnation, NULL);
	while (!is_new && !read_id(relation, NEXUS_REQUEST_RETRY_AS_NEW, operation_id, new_id));
	table_close(relation, NoLock);
	return is_new;
}
