/*
 * queue.c
 *	  What the worker reads: arrivals, due operations, deadlines.
 *
 * Arrival is by transaction id: what is visible under a new snapshot and was
 * not under the last one is exactly what was written by transactions that the
 * last one counted as running or as not yet begun.
 */
#include "postgres.h"

#include "store/queue.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "store/result.h"
#include "store/transaction.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

/* The snapshot of the last arrival read, in full transaction ids. */
static struct
{
	bool		is_set;
	uint64		xmax;
	int			nxip;
	uint64	   *xip;			/* malloc'ed through TopMemoryContext */
	int			size;
}			last_read;

/* Older operations may have been sent by a worker that left no record. */
static uint64 first_xmax = 0;

/* What a turn of arrival reading carries along. */
typedef struct ArrivalRead
{
	NexusEachArrival on_operation;
	NexusEachRequest on_request;
	void	   *arg;
	uint64		lsn_xid;		/* commit LSN looked up last */
	XLogRecPtr	lsn;
} ArrivalRead;

static uint64
widen_xid(FullTransactionId next, TransactionId xid)
{
	uint32		epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return U64FromFullTransactionId(FullTransactionIdFromEpochAndXid(epoch, xid));
}

/* Columns: id, xid, endpoint, deadline. */
static void
decode_arrival(const NexusResultRow *row, NexusArrival *arrival)
{
	nexus_result_uuid(row, 1, &arrival->key.id);
	arrival->key.xid = nexus_result_xid(row, 2);
	arrival->endpoint = nexus_result_text(row, 3);
	arrival->deadline = nexus_result_time(row, 4, DT_NOEND);
}

/* Remember how far WAL must be flushed before anything of "xid" is sent. */
static void
note_commit(ArrivalRead *read, uint64 xid)
{
	XLogRecPtr	lsn;

	if (xid == 0 || xid == read->lsn_xid)
		return;
	read->lsn_xid = xid;
	lsn = TransactionIdGetCommitLSN((TransactionId) xid);
	if (lsn > read->lsn)
		read->lsn = lsn;
}

static void
take_operation(const NexusResultRow *row, void *arg)
{
	ArrivalRead *read = arg;
	NexusArrival arrival;

	decode_arrival(row, &arrival);
	note_commit(read, arrival.key.xid);
	read->on_operation(&arrival, read->arg);
}

/* Columns: see REQUEST_COLUMNS. */
static void
take_request(const NexusResultRow *row, void *arg)
{
	ArrivalRead *read = arg;
	NexusTakenRequest request;
	char	   *state;
	char	   *cancellation;

	nexus_result_uuid(row, 1, &request.operation_id);
	note_commit(read, nexus_result_xid(row, 2));
	request.kind = nexus_request_kind_of_name(nexus_result_text(row, 3));
	request.requested_time = nexus_result_time(row, 4, 0);
	request.reason = nexus_result_text(row, 5);
	request.identity = nexus_result_text(row, 6);
	state = nexus_result_text(row, 7);
	request.is_found = state != NULL;
	if (request.is_found)
		request.state = nexus_state_of_name(state);
	request.attempt = (int32) nexus_result_int(row, 8, 0);
	cancellation = nexus_result_text(row, 9);
	request.is_cancel_requested = cancellation != NULL;
	request.is_cancel_backing_off = cancellation != NULL && strcmp(cancellation, "backing_off") == 0;
	request.endpoint = nexus_result_text(row, 10);
	request.cancellation_type = nexus_cancellation_type_of_name(nexus_result_text(row, 12));

	/*
	 * an earlier worker that saw it saw its request too, if they came
	 * together
	 */
	request.may_have_been_sent = nexus_result_xid(row, 11) < first_xmax
		&& nexus_result_xid(row, 11) != nexus_result_xid(row, 2);
	read->on_request(&request, read->arg);
}

#define ARRIVAL_COLUMNS "SELECT o.id, o.xid, o.endpoint, o.deadline FROM nexus.operation o "
#define REQUEST_COLUMNS "SELECT r.operation_id, r.xid, r.kind, r.requested_time, r.reason, r.identity, " \
	"o.state, o.attempt, o.cancellation_state, o.endpoint, o.xid, o.cancellation_type " \
	"FROM nexus.request r LEFT JOIN nexus.operation o ON o.id OPERATOR(pg_catalog.=) r.operation_id "
#define OF_US(t) t ".incarnation OPERATOR(pg_catalog.=) $1 "
#define IS_ASKED "AND r.kind OPERATOR(pg_catalog.<>) 'retry_as_new' "
#define SINCE(t) "AND " t ".xid OPERATOR(pg_catalog.>=) $2 AND " t ".xid OPERATOR(pg_catalog.<) $3 "
#define THEN_RUNNING(t) "AND " t ".xid OPERATOR(pg_catalog.=) ANY ($4) "
#define IS_SCHEDULED "AND o.state OPERATOR(pg_catalog.=) 'scheduled' "

static void
read_first(const NexusUuid *incarnation, ArrivalRead *read)
{
	static SPIPlanPtr operations = NULL;
	static SPIPlanPtr requests = NULL;
	static const Oid types[] = {UUIDOID};
	Datum		values[] = {nexus_uuid_datum(incarnation)};

	nexus_transaction_plan(&operations, ARRIVAL_COLUMNS "WHERE " OF_US("o") IS_SCHEDULED "AND o.xid IS NULL",
						   1, types);
	nexus_transaction_plan(&requests, REQUEST_COLUMNS "WHERE " OF_US("r") IS_ASKED "ORDER BY r.xid, r.id", 1, types);
	nexus_result_each(operations, values, take_operation, read);
	nexus_result_each(requests, values, take_request, read);
}

static void
read_since(const NexusUuid *incarnation, uint64 xmax, ArrivalRead *read)
{
	static SPIPlanPtr operations = NULL;
	static SPIPlanPtr requests = NULL;
	static const Oid types[] = {UUIDOID, XID8OID, XID8OID, XID8ARRAYOID};
	Datum	   *xip = palloc(sizeof(Datum) * (last_read.nxip + 1));
	Datum		values[4];

	nexus_transaction_plan(&operations,
						   ARRIVAL_COLUMNS "WHERE " OF_US("o") SINCE("o") IS_SCHEDULED
						   "UNION ALL " ARRIVAL_COLUMNS "WHERE " OF_US("o") THEN_RUNNING("o") IS_SCHEDULED,
						   4, types);
	nexus_transaction_plan(&requests,
						   REQUEST_COLUMNS "WHERE " OF_US("r") SINCE("r") IS_ASKED
						   "UNION ALL " REQUEST_COLUMNS "WHERE " OF_US("r") THEN_RUNNING("r") IS_ASKED,
						   4, types);

	for (int i = 0; i < last_read.nxip; i++)
		xip[i] = FullTransactionIdGetDatum(FullTransactionIdFromU64(last_read.xip[i]));
	values[0] = nexus_uuid_datum(incarnation);
	values[1] = FullTransactionIdGetDatum(FullTransactionIdFromU64(last_read.xmax));
	values[2] = FullTransactionIdGetDatum(FullTransactionIdFromU64(xmax));
	values[3] = PointerGetDatum(construct_array(xip, last_read.nxip, XID8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	nexus_result_each(operations, values, take_operation, read);
	nexus_result_each(requests, values, take_request, read);
}

static void
remember_snapshot(Snapshot snapshot, FullTransactionId next)
{
	if (last_read.size < (int) snapshot->xcnt)
	{
		int			size = snapshot->xcnt * 2;

		last_read.xip = last_read.xip == NULL
			? MemoryContextAlloc(TopMemoryContext, sizeof(uint64) * size)
			: repalloc(last_read.xip, sizeof(uint64) * size);
		last_read.size = size;
	}
	for (uint32 i = 0; i < snapshot->xcnt; i++)
		last_read.xip[i] = widen_xid(next, snapshot->xip[i]);
	last_read.nxip = snapshot->xcnt;
	last_read.xmax = widen_xid(next, snapshot->xmax);
	last_read.is_set = true;
}

void
nexus_queue_read_arrivals(const NexusUuid *incarnation, NexusEachArrival on_operation,
						  NexusEachRequest on_request, void *arg)
{
	ArrivalRead read = {on_operation, on_request, arg, 0, InvalidXLogRecPtr};
	Snapshot	snapshot = GetActiveSnapshot();
	FullTransactionId next = ReadNextFullTransactionId();

	if (last_read.is_set)
		read_since(incarnation, widen_xid(next, snapshot->xmax), &read);
	else
	{
		first_xmax = widen_xid(next, snapshot->xmax);
		read_first(incarnation, &read);
		read.lsn = GetXLogInsertRecPtr();
	}
	remember_snapshot(snapshot, next);
	if (!XLogRecPtrIsInvalid(read.lsn))
		XLogFlush(read.lsn);
}

/* ---- queues ---- */

/* A key that moves on while the portal that started from it is still open. */
static Datum
copied_uuid(const NexusUuid *uuid)
{
	NexusUuid  *copy = palloc(sizeof(NexusUuid));

	*copy = *uuid;
	return nexus_uuid_datum(copy);
}

typedef struct QueueRead
{
	NexusEachArrival each;
	void	   *arg;
	NexusQueueKey *key;
	uint64		xmax;			/* of the snapshot that reads */
	TimestampTz *floor;
	NexusUuid  *floor_id;
	TimestampTz now;
	TimestampTz *next;
	NexusEachOverdue each_overdue;
} QueueRead;

/*
 * Whether a transaction has been seen by an arrival read, which also flushed
 * its commit.  An id that is not given out yet came with a dump, from another
 * cluster that this one replaces.
 */
static bool
has_arrived(uint64 xid, uint64 xmax)
{
	if (!last_read.is_set)
		return false;
	if (xid >= last_read.xmax)
		return xid >= xmax;
	for (int i = 0; i < last_read.nxip; i++)
		if (last_read.xip[i] == xid)
			return false;
	return true;
}

static void
take_scheduled(const NexusResultRow *row, void *arg)
{
	QueueRead  *read = arg;
	NexusArrival arrival;

	decode_arrival(row, &arrival);
	if (has_arrived(arrival.key.xid, read->xmax))
		read->each(&arrival, read->arg);
	*read->key = arrival.key;
}

static void
take_executed(const NexusResultRow *row, void *arg)
{
	QueueRead  *read = arg;
	NexusArrival arrival;

	decode_arrival(row, &arrival);
	read->each(&arrival, read->arg);
}

int
nexus_queue_read_scheduled(const NexusUuid *incarnation, const char *endpoint, NexusQueueKey *key,
						   int limit, NexusEachArrival each, void *arg)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, TEXTOID, XID8OID, UUIDOID, INT8OID};
	QueueRead	read = {.each = each,.arg = arg,.key = key,
	.xmax = widen_xid(ReadNextFullTransactionId(), GetActiveSnapshot()->xmax)};
	Datum		values[5];

	nexus_transaction_plan(&plan, ARRIVAL_COLUMNS "WHERE o.endpoint OPERATOR(pg_catalog.=) $2 AND " OF_US("o")
						   IS_SCHEDULED "AND (o.xid, o.id) OPERATOR(pg_catalog.>) ($3, $4) "
						   "ORDER BY o.xid, o.id LIMIT $5", 5, types);
	values[0] = nexus_uuid_datum(incarnation);
	values[1] = CStringGetTextDatum(endpoint);
	values[2] = FullTransactionIdGetDatum(FullTransactionIdFromU64(key->xid));
	values[3] = copied_uuid(&key->id);
	values[4] = Int64GetDatum(limit);
	return (int) nexus_result_each(plan, values, take_scheduled, &read);
}

void
nexus_queue_read_executed(const NexusUuid *incarnation, const char *endpoint, NexusEachArrival each, void *arg)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, TEXTOID};
	QueueRead	read = {.each = each,.arg = arg};
	Datum		values[2];

	nexus_transaction_plan(&plan, ARRIVAL_COLUMNS "WHERE o.endpoint OPERATOR(pg_catalog.=) $2 AND " OF_US("o")
						   IS_SCHEDULED "AND o.xid IS NULL", lengthof(types), types);
	values[0] = nexus_uuid_datum(incarnation);
	values[1] = CStringGetTextDatum(endpoint);
	nexus_result_each(plan, values, take_executed, &read);
}

/*
 * What is due after a key, in its order, and then the first row that is not due
 * yet, for its time: "column" is that of the index, $1 the incarnation, ($2,
 * $3) the key, $4 now and $5 how many.
 */
#define DUE_AND_NEXT(select, column) \
	"(" select OF_US("o") "AND (" column ", o.id) OPERATOR(pg_catalog.>) ($2, $3) " \
	"AND " column " OPERATOR(pg_catalog.<=) $4 ORDER BY " column ", o.id LIMIT $5) " \
	"UNION ALL (" select OF_US("o") "AND " column " OPERATOR(pg_catalog.>) $4 ORDER BY " column ", o.id LIMIT 1)"

/* When to read on: there may be more that is due, or it is known when the next one will be. */
static TimestampTz
next_reading(const QueueRead *read, int count, int limit)
{
	int			due = *read->next == DT_NOEND ? count : count - 1;

	return due == limit ? read->now : *read->next;
}

/* Columns as decode_arrival, then next_attempt_schedule_time. */
static void
take_retry(const NexusResultRow *row, void *arg)
{
	QueueRead  *read = arg;
	NexusArrival arrival;
	TimestampTz due = nexus_result_time(row, 5, 0);

	if (due > read->now)
	{
		*read->next = Min(*read->next, due);
		return;
	}
	decode_arrival(row, &arrival);
	*read->floor = due;
	*read->floor_id = arrival.key.id;
	read->each(&arrival, read->arg);
}

int
nexus_queue_read_retries(const NexusUuid *incarnation, const char *endpoint, TimestampTz *floor,
						 NexusUuid *floor_id, TimestampTz now, int limit, TimestampTz *next,
						 NexusEachArrival each, void *arg)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, TIMESTAMPTZOID, UUIDOID, TIMESTAMPTZOID, INT8OID, TEXTOID};
	TimestampTz found_next = DT_NOEND;
	QueueRead	read = {.each = each,.arg = arg,.floor = floor,.floor_id = floor_id,.now = now,
	.next = &found_next};
	Datum		values[lengthof(types)];
	int			count;

	nexus_transaction_plan(&plan, DUE_AND_NEXT("SELECT o.id, o.xid, o.endpoint, o.deadline, "
											   "o.next_attempt_schedule_time FROM nexus.operation o "
											   "WHERE o.endpoint OPERATOR(pg_catalog.=) $6 "
											   "AND o.state OPERATOR(pg_catalog.=) 'backing_off' AND ",
											   "o.next_attempt_schedule_time"), lengthof(types), types);
	values[0] = nexus_uuid_datum(incarnation);
	values[1] = TimestampTzGetDatum(*floor);
	values[2] = copied_uuid(floor_id);
	values[3] = TimestampTzGetDatum(now);
	values[4] = Int64GetDatum(limit);
	values[5] = CStringGetTextDatum(endpoint);
	count = (int) nexus_result_each(plan, values, take_retry, &read);
	*next = next_reading(&read, count, limit);	/* only now, lest an error
												 * forget them */
	return count;
}

/* Columns: id, endpoint, state, scheduled, started, deadline, three timeouts. */
static void
take_overdue(const NexusResultRow *row, void *arg)
{
	QueueRead  *read = arg;
	TimestampTz deadline = nexus_result_time(row, 6, DT_NOEND);
	NexusUuid	id;

	if (deadline > read->now)
	{
		*read->next = Min(*read->next, deadline);
		return;
	}
	nexus_result_uuid(row, 1, &id);
	*read->floor = deadline;
	*read->floor_id = id;
	read->each_overdue(&id, nexus_result_text(row, 2), nexus_state_of_name(nexus_result_text(row, 3)),
					   nexus_result_time(row, 4, 0), nexus_result_time(row, 5, 0), deadline,
					   nexus_result_interval_us(row, 7), nexus_result_interval_us(row, 8),
					   nexus_result_interval_us(row, 9),
					   read->arg);
}

int
nexus_queue_read_overdue(const NexusUuid *incarnation, TimestampTz *floor, NexusUuid *floor_id,
						 TimestampTz now, int limit, TimestampTz *next, NexusEachOverdue each, void *arg)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, TIMESTAMPTZOID, UUIDOID, TIMESTAMPTZOID, INT8OID};
	TimestampTz found_next = DT_NOEND;
	QueueRead	read = {.arg = arg,.floor = floor,.floor_id = floor_id,.now = now,.next = &found_next,
	.each_overdue = each};
	Datum		values[lengthof(types)];
	int			count;

	nexus_transaction_plan(&plan, DUE_AND_NEXT("SELECT o.id, o.endpoint, o.state, o.scheduled_time, o.started_time, "
											   "o.deadline, o.schedule_to_close_timeout, "
											   "o.schedule_to_start_timeout, o.start_to_close_timeout "
											   "FROM nexus.operation o WHERE o.close_time IS NULL "
											   "AND o.deadline IS NOT NULL AND ", "o.deadline"),
						   lengthof(types), types);
	values[0] = nexus_uuid_datum(incarnation);
	values[1] = TimestampTzGetDatum(*floor);
	values[2] = copied_uuid(floor_id);
	values[3] = TimestampTzGetDatum(now);
	values[4] = Int64GetDatum(limit);
	count = (int) nexus_result_each(plan, values, take_overdue, &read);
	*next = next_reading(&read, count, limit);
	return count;
}
