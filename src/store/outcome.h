/*
 * outcome.h
 *	  Every change of an operation after it was scheduled, and its one way into
 *	  the table.
 *
 * The worker collects outcomes and applies them in groups, by
 * nexus_outcome_apply().  First terminal outcome wins: a row that is closed is
 * not touched any more.
 */
#ifndef NEXUS_STORE_OUTCOME_H
#define NEXUS_STORE_OUTCOME_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "lib/ilist.h"
#include "protocol/uuid.h"
#include "store/operation.h"

typedef enum NexusOutcomeKind
{
	NEXUS_OUTCOME_INSERT,		/* an operation that execute() brought */
	NEXUS_OUTCOME_PROGRESS,		/* started or backing_off */
	NEXUS_OUTCOME_CLOSE,		/* a terminal state */
	NEXUS_OUTCOME_CANCELLATION, /* of the cancellation only */
	NEXUS_OUTCOME_DUE,			/* what backs off is due now */
	NEXUS_OUTCOME_NOTHING		/* changes no operation: only its request goes */
} NexusOutcomeKind;

/* What became of an outcome, known once its group has committed. */
typedef enum NexusDisposition
{
	NEXUS_DISPOSITION_APPLIED,
	NEXUS_DISPOSITION_CLOSED_BEFORE,	/* the operation was closed, or
										 * inserted, already */
	NEXUS_DISPOSITION_MISSING,	/* there is no such operation */
	NEXUS_DISPOSITION_KEY_TAKEN,	/* an insert: its key is somebody else's
									 * by now */
	NEXUS_DISPOSITION_REJECTED	/* the row itself was refused: see group.h */
} NexusDisposition;

/* A failed attempt to be logged with the outcome. */
typedef struct NexusFailedAttempt
{
	const char *kind;			/* "start" or "cancel"; NULL = none failed */
	int32		attempt;
	TimestampTz started_time;
	int64		duration_us;
	int			http_status;	/* 0 = none came */
	bool		is_retryable;
	Datum		failure;		/* jsonb */
} NexusFailedAttempt;

/*
 * An outcome.  Datums and pointers live as long as the group; 0 and NULL mean
 * that the column keeps its value (or stays NULL).
 */
typedef struct NexusOutcome
{
	dlist_node	node;			/* in the group */
	NexusUuid	id;
	NexusOutcomeKind kind;
	const char *endpoint;
	Size		size;			/* bytes of payload it carries */
	bool		is_patient;		/* its commit need not hurry */
	bool		is_substitute;	/* tells that the real one could not be
								 * written */
	void	   *memory;			/* the group's: what it was allocated in */

	NexusState	state;			/* PROGRESS and CLOSE */
	int32		attempt;
	TimestampTz started_time;
	TimestampTz last_attempt_complete_time;
	TimestampTz next_attempt_schedule_time; /* DUE: the new one */
	TimestampTz deadline;		/* PROGRESS: the new one; DT_NOEND for none */
	TimestampTz handler_close_time;
	const char *operation_token;
	bytea	   *result;
	const char *result_content_type;
	bool		result_is_json;
	Datum		failure;		/* jsonb: of CLOSE, or of the last attempt */
	Datum		links;			/* jsonb */

	const char *cancellation_state; /* CANCELLATION */
	TimestampTz cancellation_requested_time;
	const char *cancellation_reason;
	const char *cancellation_identity;
	int32		cancellation_attempt;
	TimestampTz cancellation_complete_time;
	TimestampTz cancellation_next_time;
	Datum		cancellation_failure;	/* jsonb */

	const NexusNewOperation *insert;	/* INSERT */
	NexusFailedAttempt failed_attempt;
	const char *done_request;	/* kind of the request row to delete, or NULL */

	/* for endpoint_stat */
	int32		attempts_made;	/* start attempts that ended: 0 or 1 */
	bool		attempt_failed; /* and that one failed */
	int64		attempt_time_us;

	/* filled in by nexus_outcome_apply */
	NexusDisposition disposition;
	struct NexusOutcome *progress;	/* CLOSE: what is written with it */
	bool		has_close;		/* PROGRESS: is written with one */
	TimestampTz close_time;		/* CLOSE: assigned anew at every try */
	bool		is_cancel_due;	/* started, and its cancel is to be sent now */
	bool		ends_waiting;	/* CANCELLATION: some wait for no more than
								 * that */
	int			sqlerrcode;		/* REJECTED: why */
	const char *error;

	/* called after the commit; must not raise */
	void		(*on_settled) (struct NexusOutcome *outcome, void *arg);
	void	   *arg;
	struct NexusOutcome *next_same; /* another completion of the same
									 * operation */
} NexusOutcome;

/*
 * Apply outcomes in the current nexus_transaction_run.  "last_close_time" is
 * the greatest close time of the database so far and moves on; keep
 * the old value until the commit.
 */
extern void nexus_outcome_apply(NexusOutcome *const *outcomes, int count, TimestampTz *last_close_time);

/*
 * Which of these operations nobody has locked; "is_free" is set for each.
 * Used after a lock time-out, so that one locked row holds up itself only.
 */
extern void nexus_outcome_probe_locks(NexusOutcome *const *outcomes, int count, bool *is_free);

/*
 * JSON text of protocol/failure as jsonb, in CurrentMemoryContext.  Where the
 * database's encoding cannot hold it, every escape outside of ASCII becomes '?'.
 */
extern Datum nexus_outcome_jsonb(NexusText json);

/*
 * Whether these bytes become jsonb in this database, as PostgreSQL's own
 * parser judges; decided once, so that no view can raise because of one row.
 * Outside of a transaction; leaves garbage in CurrentMemoryContext.
 */
extern bool nexus_outcome_is_jsonb(NexusText json);

/* The same within a transaction, which a conversion of the encoding needs. */
extern bool nexus_outcome_is_jsonb_here(NexusText json);

#endif							/* NEXUS_STORE_OUTCOME_H */
