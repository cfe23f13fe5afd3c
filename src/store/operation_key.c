/*
 * operation_key.c
 *	  Which operation a business id means.
 *
 * At most one operation of a key is open.  Whoever inserts one has looked at the
 * last row of the key, with a dirty snapshot, which shows what open transactions
 * write too: that row is committed (or its own) and its operation closed.  What remains is that
 * somebody inserts, or retention deletes, between this look and the insert.  So
 * a row is looked at once more while it is already in the index but still
 * speculative, that is, can be taken back: it must be the last one and stand right behind
 * the row that was looked at.
 *
 * This is enough.  Of two that look at the same row, the unique index lets one insert.
 * If retention deletes that row in between, the one may insert behind it and the
 * other, who found the key empty, the first generation again; but each looks once more after
 * its insert, so the later one sees the other's row before or behind its own, or its
 * predecessor gone.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "storage/lmgr.h"
#include "store/operation_key.h"
#include "store/relation.h"
#include "store/row.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#define KEY_TABLE "operation_key"
#define KEY_INDEX "operation_key_pkey"

/* A row and the one before it. */
#define READ_MAX 2

static void
take_row(Relation relation, const NexusDirtyTuple *found, NexusKeyRow *row)
{
	bool		is_null;
	Datum		id = nexus_relation_get(relation, found->tuple, "operation_id", &is_null);

	memcpy(row->operation_id.bytes, DatumGetUUIDP(id)->data, UUID_LEN);
	row->generation = DatumGetInt32(nexus_relation_get(relation, found->tuple, "generation", &is_null));
	row->writer = found->writer;
	row->token = found->token;
}

/* The last rows of a key, the very last one first; those that there are not are all zero. */
static void
read_last(const NexusNewOperation *operation, NexusKeyRow *rows, int limit)
{
	Relation	relation = nexus_relation_open(KEY_TABLE, AccessShareLock);
	Datum		keys[] = {CStringGetTextDatum(operation->endpoint), CStringGetTextDatum(operation->service),
	CStringGetTextDatum(operation->operation), CStringGetTextDatum(operation->operation_key)};
	NexusDirtyTuple found[READ_MAX];
	int			count = nexus_relation_read_last(relation, KEY_INDEX, keys, lengthof(keys), found, limit);

	memset(rows, 0, sizeof(NexusKeyRow) * limit);
	for (int i = 0; i < count; i++)
	{
		take_row(relation, &found[i], &rows[i]);
		heap_freetuple(found[i].tuple);
	}
	table_close(relation, AccessShareLock);
}

void
nexus_operation_key_look(const NexusNewOperation *operation, NexusKeyRow *last)
{
	read_last(operation, last, 1);
}

void
nexus_operation_key_wait(const NexusKeyRow *row)
{
	if (row->token != 0)
		SpeculativeInsertionWait(row->writer, row->token);
	else
		XactLockTableWait(row->writer, NULL, NULL, XLTW_None);
}

static bool
is_of(const NexusKeyRow *row, const NexusUuid *id, int32 generation)
{
	return row->generation == generation && memcmp(&row->operation_id, id, sizeof(NexusUuid)) == 0;
}

/* Asked of a row that is in the index and can still be taken back. */
static bool
stands_right(void *arg)
{
	const NexusNewOperation *operation = arg;
	NexusKeyRow rows[READ_MAX];

	read_last(operation, rows, READ_MAX);
	return is_of(&rows[0], &operation->id, operation->key_generation)
		&& is_of(&rows[1], &operation->key_predecessor, operation->key_generation - 1);
}

bool
nexus_operation_key_insert(const NexusNewOperation *operation)
{
	Relation	relation = nexus_relation_open(KEY_TABLE, RowExclusiveLock);
	NexusRow   *row = nexus_row_create(relation);
	bool		is_new;

	nexus_row_set(row, "endpoint", CStringGetTextDatum(operation->endpoint));
	nexus_row_set(row, "service", CStringGetTextDatum(operation->service));
	nexus_row_set(row, "operation", CStringGetTextDatum(operation->operation));
	nexus_row_set(row, "key", CStringGetTextDatum(operation->operation_key));
	nexus_row_set(row, "generation", Int32GetDatum(operation->key_generation));
	nexus_row_set(row, "operation_id", PointerGetDatum(&operation->id));
	is_new = nexus_row_insert_at_once(row, stands_right, unconstify(NexusNewOperation *, operation));
	nexus_row_destroy(row);
	table_close(relation, NoLock);
	return is_new;
}

bool
nexus_operation_key_insert_executed(const NexusNewOperation *operation)
{
	NexusKeyRow last;

	nexus_operation_key_look(operation, &last);
	if (TransactionIdIsValid(last.writer))
		return false;
	if (is_of(&last, &operation->id, operation->key_generation))
		return true;
	return nexus_operation_key_insert(operation);
}
