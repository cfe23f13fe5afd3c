/*
 * due.h
 *	  An operation as it is needed to send a request for it.
 *
 * One allocation holds the struct and all bytes it points to, so that a queue
 * of them costs one pfree each.
 */
#ifndef NEXUS_STORE_DUE_H
#define NEXUS_STORE_DUE_H

#include "postgres.h"
#include "protocol/frame.h"
#include "store/operation.h"

typedef struct NexusDue
{
	NexusUuid	id;
	NexusState	state;
	int32		attempt;		/* attempts made so far */
	Oid			owner;
	TimestampTz scheduled_time;
	TimestampTz started_time;	/* 0 = not started */
	TimestampTz deadline;		/* DT_NOEND for none */
	int64		schedule_to_close;	/* microseconds; 0 = none */
	int64		schedule_to_start;
	int64		start_to_close;
	bool		is_closed;
	int32		cancellation_attempt;
	const char *endpoint;
	const char *service;
	const char *operation;
	const char *callback_base;	/* NULL = not known yet */
	const char *operation_token;	/* NULL = none */
	const char *input_content_type; /* NULL = none */
	const char *headers;		/* name, NUL, value, NUL, ..., NUL; NULL =
								 * none */
	NexusText	input;			/* data NULL = no body */
	Size		left_out;		/* bytes of an input that was not read */
	Size		size;			/* of the whole allocation */
} NexusDue;

#define NEXUS_DUE_WHOLE ((Size) -1)

typedef void (*NexusEachDue) (NexusDue *due, void *arg);

/*
 * Load these operations and hand each to "each", allocated in "context"; ids
 * that are not there are left out, and so are inputs of more than "max_input"
 * bytes (NEXUS_DUE_WHOLE: none).  In nexus_transaction_run.
 */
extern void nexus_due_load(const NexusUuid *ids, int count, Size max_input, MemoryContext context,
						   NexusEachDue each, void *arg);

/* The same from an execute frame, headers a jsonb (0 = none); in CurrentMemoryContext. */
extern NexusDue *nexus_due_of_frame(const NexusExecuteFrame *frame, Oid owner, Datum headers);

/* Copy into an allocation of from->size bytes; pointers follow. */
extern void nexus_due_move(NexusDue *to, const NexusDue *from);

/* A copy with this callback base, in "context". */
extern NexusDue *nexus_due_with_base(const NexusDue *from, const char *base, MemoryContext context);

/* Store a callback base that was not known when the operations were scheduled. */
extern void nexus_due_store_callback_base(const NexusUuid *ids, int count, const char *base);

#endif							/* NEXUS_STORE_DUE_H */
