/*
 * operation.c
 *	  Insert operations and read them by id.
 */
#include "postgres.h"

#include <time.h>

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "store/operation.h"
#include "store/relation.h"
#include "store/row.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#define OPERATION_TABLE "operation"
#define OPERATION_KEY "operation_pkey"

/* Of a version 7 UUID; the first two random bytes are not used. */
#define ID_RANDOM_BYTES 10

/* One system call makes the random bytes of this many ids. */
#define ID_BATCH 64

/* The step of the 12 bits below the millisecond, rounded up. */
#define ID_STEP_NS (1000000 / 4096 + 1)

#define NS_PER_S INT64CONST(1000000000)
#define DAYS_PER_MONTH_FIXED 30

/* How often a row may hide behind a concurrent update before it is gone. */
#define READ_TRIES 2

static const char *const state_names[] = {
	[NEXUS_STATE_SCHEDULED] = "scheduled",
	[NEXUS_STATE_BACKING_OFF] = "backing_off",
	[NEXUS_STATE_STARTED] = "started",
	[NEXUS_STATE_SUCCEEDED] = "succeeded",
	[NEXUS_STATE_FAILED] = "failed",
	[NEXUS_STATE_CANCELED] = "canceled",
	[NEXUS_STATE_TIMED_OUT] = "timed_out",
	[NEXUS_STATE_TERMINATED] = "terminated"
};

const char *
nexus_state_name(NexusState state)
{
	return state_names[state];
}

NexusState
nexus_state_of_name(const char *name)
{
	for (size_t i = 0; i < lengthof(state_names); i++)
	{
		if (strcmp(state_names[i], name) == 0)
			return (NexusState) i;
	}
	elog(ERROR, "unknown state \"%s\" of an operation", name);
}

bool
nexus_state_is_closed(NexusState state)
{
	switch (state)
	{
		case NEXUS_STATE_SCHEDULED:
		case NEXUS_STATE_BACKING_OFF:
		case NEXUS_STATE_STARTED:
			return false;
		case NEXUS_STATE_SUCCEEDED:
		case NEXUS_STATE_FAILED:
		case NEXUS_STATE_CANCELED:
		case NEXUS_STATE_TIMED_OUT:
		case NEXUS_STATE_TERMINATED:
			return true;
	}
	return true;
}

/* Random bytes for one id. */
static const uint8_t *
take_random(void)
{
	static uint8_t batch[ID_BATCH][ID_RANDOM_BYTES];
	static int	left = 0;

	if (left == 0)
	{
		if (!pg_strong_random(batch, sizeof(batch)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		left = ID_BATCH;
	}
	return batch[--left];
}

void
nexus_operation_new_id(NexusUuid *id)
{
	static int64 last_ns = 0;
	struct timespec now;
	int64		ns;

	clock_gettime(CLOCK_REALTIME, &now);
	ns = now.tv_sec * NS_PER_S + now.tv_nsec;
	last_ns = Max(ns, last_ns + ID_STEP_NS);
	nexus_uuid_make_v7(id, last_ns, take_random());
}

/* A timeout counts from "start" on; whichever ends first is the deadline. */
static TimestampTz
earlier_end(TimestampTz deadline, TimestampTz start, int64 timeout)
{
	if (timeout == 0 || deadline - start <= timeout)
		return deadline;
	return start + timeout;
}

TimestampTz
nexus_operation_deadline(NexusState state, TimestampTz scheduled_time, TimestampTz started_time,
						 int64 schedule_to_close, int64 schedule_to_start, int64 start_to_close)
{
	TimestampTz deadline = DT_NOEND;

	deadline = earlier_end(deadline, scheduled_time, schedule_to_close);
	if (state == NEXUS_STATE_STARTED)
		return earlier_end(deadline, started_time, start_to_close);
	return earlier_end(deadline, scheduled_time, schedule_to_start);
}

Interval *
nexus_operation_interval(int64 microseconds)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->day = (int32) (microseconds / USECS_PER_DAY);
	interval->time = microseconds % USECS_PER_DAY;
	return interval;
}

int64
nexus_operation_interval_us(const Interval *interval)
{
	double		days = (double) interval->month * DAYS_PER_MONTH_FIXED + interval->day;
	double		total = days * (double) USECS_PER_DAY + (double) interval->time;

	if (total >= (double) PG_INT64_MAX)
		return PG_INT64_MAX;
	if (total <= (double) PG_INT64_MIN)
		return PG_INT64_MIN;
	return (int64) days * USECS_PER_DAY + interval->time;
}

static void
set_string(NexusRow *row, const char *column, const char *value)
{
	if (value != NULL)
		nexus_row_set(row, column, CStringGetTextDatum(value));
}

static void
set_timeout(NexusRow *row, const char *column, int64 microseconds)
{
	if (microseconds != 0)
		nexus_row_set(row, column, IntervalPGetDatum(nexus_operation_interval(microseconds)));
}

/* In the order of the table's columns. */
static void
set_columns(NexusRow *row, const NexusNewOperation *operation, bool has_xid)
{
	TimestampTz deadline = nexus_operation_deadline(NEXUS_STATE_SCHEDULED, operation->scheduled_time, 0,
													operation->schedule_to_close_timeout,
													operation->schedule_to_start_timeout,
													operation->start_to_close_timeout);

	nexus_row_set(row, "id", PointerGetDatum(&operation->id));
	if (has_xid)
		nexus_row_set(row, "xid", FullTransactionIdGetDatum(GetTopFullTransactionId()));
	nexus_row_set(row, "incarnation", PointerGetDatum(&operation->incarnation));
	set_string(row, "endpoint", operation->endpoint);
	set_string(row, "service", operation->service);
	set_string(row, "operation", operation->operation);
	nexus_row_set(row, "owner", ObjectIdGetDatum(operation->owner));
	set_string(row, "state", nexus_state_name(NEXUS_STATE_SCHEDULED));
	nexus_row_set(row, "scheduled_time", TimestampTzGetDatum(operation->scheduled_time));
	if (deadline != DT_NOEND)
		nexus_row_set(row, "deadline", TimestampTzGetDatum(deadline));
	set_timeout(row, "schedule_to_close_timeout", operation->schedule_to_close_timeout);
	set_timeout(row, "schedule_to_start_timeout", operation->schedule_to_start_timeout);
	set_timeout(row, "start_to_close_timeout", operation->start_to_close_timeout);
	set_string(row, "cancellation_type", operation->cancellation_type);
	set_string(row, "callback_base", operation->callback_base);
	set_string(row, "operation_key", operation->operation_key);
	set_string(row, "summary", operation->summary);
	if (operation->headers != (Datum) 0)
		nexus_row_set(row, "headers", operation->headers);
	if (operation->input != NULL)
		nexus_row_set(row, "input", PointerGetDatum(operation->input));
	set_string(row, "input_content_type", operation->input_content_type);
	nexus_row_set(row, "input_is_json", BoolGetDatum(operation->input_is_json));
	if (operation->retry_of != NULL)
		nexus_row_set(row, "retry_of", PointerGetDatum(operation->retry_of));
}

void
nexus_operation_insert(const NexusNewOperation *operation)
{
	Relation	relation = nexus_relation_open(OPERATION_TABLE, RowExclusiveLock);
	NexusRow   *row = nexus_row_create(relation);

	set_columns(row, operation, true);
	nexus_row_insert(row);
	nexus_row_destroy(row);
	table_close(relation, NoLock);
}

bool
nexus_operation_insert_executed(const NexusNewOperation *operation)
{
	Relation	relation = nexus_relation_open(OPERATION_TABLE, RowExclusiveLock);
	NexusRow   *row = nexus_row_create(relation);
	bool		is_new;

	set_columns(row, operation, false);
	is_new = nexus_row_insert_if_new(row);
	nexus_row_destroy(row);
	table_close(relation, NoLock);
	return is_new;
}

/*
 * An update that commits between the two versions of a row hides both of them
 * from SnapshotSelf, so that "not found" is believed only of a snapshot.
 */
static HeapTuple
find_tuple(Relation relation, const NexusUuid *id)
{
	HeapTuple	tuple = NULL;

	for (int i = 0; i < READ_TRIES && !HeapTupleIsValid(tuple); i++)
		tuple = nexus_relation_read(relation, OPERATION_KEY, PointerGetDatum(id), NULL);
	if (!HeapTupleIsValid(tuple))
	{
		PushActiveSnapshot(GetLatestSnapshot());
		tuple = nexus_relation_read_at(relation, OPERATION_KEY, PointerGetDatum(id), NULL, GetActiveSnapshot());
		PopActiveSnapshot();
	}
	return tuple;
}

static char *
get_string(Relation relation, HeapTuple tuple, const char *column)
{
	bool		is_null;
	Datum		value = nexus_relation_get(relation, tuple, column, &is_null);

	return is_null ? NULL : TextDatumGetCString(value);
}

/* By reference, and 0 for NULL. */
static Datum
get_copy(Relation relation, HeapTuple tuple, const char *column)
{
	bool		is_null;
	Datum		value = nexus_relation_get(relation, tuple, column, &is_null);

	return is_null ? (Datum) 0 : value;
}

static NexusState
get_state(Relation relation, HeapTuple tuple)
{
	return nexus_state_of_name(get_string(relation, tuple, "state"));
}

static void
get_cancellation(Relation relation, HeapTuple tuple, NexusCancellationType *type, NexusCancellationState *state)
{
	*type = nexus_cancellation_type_of_name(get_string(relation, tuple, "cancellation_type"));
	*state = nexus_cancellation_state_of_name(get_string(relation, tuple, "cancellation_state"));
}

static void
get_uuid(Relation relation, HeapTuple tuple, const char *column, NexusUuid *out)
{
	bool		is_null;
	Datum		value = nexus_relation_get(relation, tuple, column, &is_null);

	memcpy(out->bytes, DatumGetUUIDP(value)->data, UUID_LEN);
}

static NexusOperationRow *
read_tuple(Relation relation, HeapTuple tuple)
{
	NexusOperationRow *row = palloc0(sizeof(NexusOperationRow));
	bool		is_null;

	get_uuid(relation, tuple, "id", &row->id);
	get_uuid(relation, tuple, "incarnation", &row->incarnation);
	row->is_own_uncommitted = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data));
	row->endpoint = get_string(relation, tuple, "endpoint");
	row->service = get_string(relation, tuple, "service");
	row->operation = get_string(relation, tuple, "operation");
	row->owner = DatumGetObjectId(nexus_relation_get(relation, tuple, "owner", &is_null));
	row->state = get_state(relation, tuple);
	row->operation_token = get_string(relation, tuple, "operation_token");
	get_cancellation(relation, tuple, &row->cancellation_type, &row->cancellation_state);
	row->cancellation_failure = get_copy(relation, tuple, "cancellation_last_attempt_failure");
	row->result = (bytea *) DatumGetPointer(get_copy(relation, tuple, "result"));
	row->result_is_json = DatumGetBool(nexus_relation_get(relation, tuple, "result_is_json", &is_null));
	row->result_content_type = get_string(relation, tuple, "result_content_type");
	row->failure = get_copy(relation, tuple, "failure");
	return row;
}

NexusOperationRow *
nexus_operation_read(const NexusUuid *id)
{
	Relation	relation = nexus_relation_open(OPERATION_TABLE, AccessShareLock);
	NexusOperationRow *row = NULL;
	HeapTuple	tuple;

	/* Keeps what is out of line from being vacuumed before it is fetched. */
	PushActiveSnapshot(GetLatestSnapshot());
	tuple = find_tuple(relation, id);
	if (HeapTupleIsValid(tuple))
		row = read_tuple(relation, tuple);
	PopActiveSnapshot();
	table_close(relation, AccessShareLock);
	return row;
}

static int64
get_timeout(Relation relation, HeapTuple tuple, const char *column)
{
	bool		is_null;
	Datum		value = nexus_relation_get(relation, tuple, column, &is_null);

	return is_null ? 0 : nexus_operation_interval_us(DatumGetIntervalP(value));
}

static void
read_again(Relation relation, HeapTuple tuple, NexusNewOperation *operation)
{
	bool		is_null;

	memset(operation, 0, sizeof(*operation));
	operation->endpoint = get_string(relation, tuple, "endpoint");
	operation->service = get_string(relation, tuple, "service");
	operation->operation = get_string(relation, tuple, "operation");
	operation->owner = DatumGetObjectId(nexus_relation_get(relation, tuple, "owner", &is_null));
	operation->schedule_to_close_timeout = get_timeout(relation, tuple, "schedule_to_close_timeout");
	operation->schedule_to_start_timeout = get_timeout(relation, tuple, "schedule_to_start_timeout");
	operation->start_to_close_timeout = get_timeout(relation, tuple, "start_to_close_timeout");
	operation->cancellation_type = get_string(relation, tuple, "cancellation_type");
	operation->operation_key = get_string(relation, tuple, "operation_key");
	operation->summary = get_string(relation, tuple, "summary");
	operation->headers = get_copy(relation, tuple, "headers");
	operation->input = (bytea *) DatumGetPointer(get_copy(relation, tuple, "input"));
	operation->input_content_type = get_string(relation, tuple, "input_content_type");
	operation->input_is_json = DatumGetBool(nexus_relation_get(relation, tuple, "input_is_json", &is_null));
}

bool
nexus_operation_read_again(const NexusUuid *id, NexusNewOperation *operation)
{
	Relation	relation = nexus_relation_open(OPERATION_TABLE, AccessShareLock);
	HeapTuple	tuple;

	PushActiveSnapshot(GetLatestSnapshot());
	tuple = find_tuple(relation, id);
	if (HeapTupleIsValid(tuple))
		read_again(relation, tuple, operation);
	PopActiveSnapshot();
	table_close(relation, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

bool
nexus_operation_read_owner(const NexusUuid *id, NexusState *state, Oid *owner)
{
	Relation	relation = nexus_relation_open(OPERATION_TABLE, AccessShareLock);
	HeapTuple	tuple = find_tuple(relation, id);
	bool		is_null;

	if (HeapTupleIsValid(tuple))
	{
		*state = get_state(relation, tuple);
		*owner = DatumGetObjectId(nexus_relation_get(relation, tuple, "owner", &is_null));
		heap_freetuple(tuple);
	}
	table_close(relation, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

bool
nexus_operation_read_state(const NexusUuid *id, NexusState *state)
{
	Relation	relation = nexus_relation_open(OPERATION_TABLE, AccessShareLock);
	HeapTuple	tuple = find_tuple(relation, id);

	if (HeapTupleIsValid(tuple))
	{
		*state = get_state(relation, tuple);
		heap_freetuple(tuple);
	}
	table_close(relation, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

NexusAwaitEnd
nexus_operation_await_end(const NexusOperationRow *row)
{
	return nexus_await_rule(nexus_state_is_closed(row->state), row->cancellation_type, row->cancellation_state);
}

bool
nexus_operation_is_awaited(const NexusUuid *id)
{
	Relation	relation = nexus_relation_open(OPERATION_TABLE, AccessShareLock);
	HeapTuple	tuple = find_tuple(relation, id);
	NexusAwaitEnd end = NEXUS_AWAIT_OUTCOME;
	NexusCancellationType type;
	NexusCancellationState state;

	if (HeapTupleIsValid(tuple))
	{
		get_cancellation(relation, tuple, &type, &state);
		end = nexus_await_rule(nexus_state_is_closed(get_state(relation, tuple)), type, state);
		heap_freetuple(tuple);
	}
	table_close(relation, AccessShareLock);
	return end == NEXUS_AWAIT_GOES_ON;
}
