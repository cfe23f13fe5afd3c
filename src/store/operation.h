/*
 * operation.h
 *	  The operation row as user backends write and read it.
 *
 * User transactions only insert; every later change is made by the worker
 * (store/outcome.h).
 */
#ifndef NEXUS_STORE_OPERATION_H
#define NEXUS_STORE_OPERATION_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "protocol/await_rule.h"
#include "protocol/uuid.h"
#include "utils/timestamp.h"

typedef enum NexusState
{
	NEXUS_STATE_SCHEDULED,
	NEXUS_STATE_BACKING_OFF,
	NEXUS_STATE_STARTED,
	NEXUS_STATE_SUCCEEDED,
	NEXUS_STATE_FAILED,
	NEXUS_STATE_CANCELED,
	NEXUS_STATE_TIMED_OUT,
	NEXUS_STATE_TERMINATED
} NexusState;

extern const char *nexus_state_name(NexusState state);
extern NexusState nexus_state_of_name(const char *name);
extern bool nexus_state_is_closed(NexusState state);

/* What schedule() and execute() store; checked already. */
typedef struct NexusNewOperation
{
	NexusUuid	id;
	NexusUuid	incarnation;
	const char *endpoint;
	const char *service;
	const char *operation;
	Oid			owner;
	TimestampTz scheduled_time;
	int64		schedule_to_close_timeout;	/* microseconds; 0 = none */
	int64		schedule_to_start_timeout;
	int64		start_to_close_timeout;
	const char *cancellation_type;
	const char *callback_base;	/* NULL = not known yet */
	const char *operation_key;	/* NULL = none */
	int32		key_generation; /* with a key: its number ... */
	NexusUuid	key_predecessor;	/* ... and whose it follows, all zero
									 * where it is the first */
	const char *summary;		/* NULL = none */
	Datum		headers;		/* jsonb; 0 = none */
	bytea	   *input;			/* as sent, UTF-8 if JSON; NULL = no body */
	const char *input_content_type; /* NULL = none */
	bool		input_is_json;
	const NexusUuid *retry_of;	/* NULL = none */
} NexusNewOperation;

/*
 * A new id of an operation or request: a UUIDv7 greater than the last one of
 * this backend.
 */
extern void nexus_operation_new_id(NexusUuid *id);

/* Insert it in the caller's transaction, with that transaction's id. */
extern void nexus_operation_insert(const NexusNewOperation *operation);

/*
 * The worker's insert for execute(): without a transaction id, since it is in
 * memory already.  False where the operation is there: it was posted twice.
 */
extern bool nexus_operation_insert_executed(const NexusNewOperation *operation);

/*
 * What schedule() or execute() stored of an operation, to be stored once more; false where it
 * is gone.  Its id, incarnation, callback base and time are for the caller to give.
 */
extern bool nexus_operation_read_again(const NexusUuid *id, NexusNewOperation *operation);

/* The time at which an open operation times out; DT_NOEND for never. */
extern TimestampTz nexus_operation_deadline(NexusState state, TimestampTz scheduled_time, TimestampTz started_time,
											int64 schedule_to_close, int64 schedule_to_start, int64 start_to_close);

/* An interval column of this many microseconds; days are split off. */
extern Interval *nexus_operation_interval(int64 microseconds);

/* And back: a month is 30 days, and what does not fit is the nearest that does. */
extern int64 nexus_operation_interval_us(const Interval *interval);

/* What a reader needs of an operation; palloc'd, detoasted. */
typedef struct NexusOperationRow
{
	NexusUuid	id;
	NexusUuid	incarnation;
	bool		is_own_uncommitted; /* scheduled by the transaction that reads */
	char	   *endpoint;
	char	   *service;
	char	   *operation;
	Oid			owner;
	NexusState	state;
	char	   *operation_token;	/* NULL = none */
	NexusCancellationType cancellation_type;
	NexusCancellationState cancellation_state;
	Datum		cancellation_failure;	/* jsonb, of its last attempt; 0 =
										 * none */
	bytea	   *result;			/* NULL = none */
	bool		result_is_json;
	char	   *result_content_type;	/* NULL = none */
	Datum		failure;		/* jsonb; 0 = none */
} NexusOperationRow;

/* As of now, whatever the isolation level; NULL where there is none. */
extern NexusOperationRow *nexus_operation_read(const NexusUuid *id);

/*
 * Only the state, which takes no snapshot where the operation is found, so
 * that a sleeper need not hold one.  False where there is no such operation.
 */
extern bool nexus_operation_read_state(const NexusUuid *id, NexusState *state);

/* The same with the owner; no payload is read. */
extern bool nexus_operation_read_owner(const NexusUuid *id, NexusState *state, Oid *owner);

/*
 * Whether there is such an operation and awaiting it goes on; takes no snapshot
 * where nexus_operation_read_state takes none.
 */
extern bool nexus_operation_is_awaited(const NexusUuid *id);

/* How awaiting the operation ends (protocol/await_rule.h), by a row at hand. */
extern NexusAwaitEnd nexus_operation_await_end(const NexusOperationRow *row);

#endif							/* NEXUS_STORE_OPERATION_H */
