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
#include "store/request.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

static const char *const kind_names[] = {
	[NEXUS_REQUEST_CANCEL] = "cancel",
	[NEXUS_REQUEST_TERMINATE] = "terminate",
	[NEXUS_REQUEST_RETRY] = "retry",
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

bool
nexus_request_insert(NexusRequestKind kind, const NexusUuid *operation_id,
					 const NexusUuid *incarnation, const char *reason)
{
	Relation	relation = nexus_relation_open("request", RowExclusiveLock);
	NexusRow   *row = nexus_row_create(relation);
	NexusUuid	id;
	bool		is_new;

	nexus_operation_new_id(&id);
	nexus_row_set(row, "id", PointerGetDatum(&id));
	nexus_row_set(row, "xid", FullTransactionIdGetDatum(GetTopFullTransactionId()));
	nexus_row_set(row, "incarnation", PointerGetDatum(incarnation));
	nexus_row_set(row, "kind", CStringGetTextDatum(nexus_request_kind_name(kind)));
	nexus_row_set(row, "operation_id", PointerGetDatum(operation_id));
	nexus_row_set(row, "requested_time", TimestampTzGetDatum(GetCurrentTimestamp()));
	if (reason != NULL)
		nexus_row_set(row, "reason", CStringGetTextDatum(reason));
	nexus_row_set(row, "identity", CStringGetTextDatum(GetUserNameFromId(GetSessionUserId(), false)));

	is_new = nexus_row_insert_if_new(row);
	nexus_row_destroy(row);
	table_close(relation, NoLock);
	return is_new;
}
