/*
 * operation_key.h
 *	  Business ids: which operation a key of (endpoint, service, operation)
 *	  means.
 *
 * Each use of a key is a row with the next generation; the last one counts.
 * Rows are only inserted, and deleted with their operation.
 */
#ifndef NEXUS_STORE_OPERATION_KEY_H
#define NEXUS_STORE_OPERATION_KEY_H

#include "postgres.h"
#include "store/operation.h"

/* The longest names and key together that the index takes, however badly they compress. */
#define NEXUS_KEY_BYTES_MAX 2600

/* The last row of a key, as of now whatever the isolation level. */
typedef struct NexusKeyRow
{
	int32		generation;		/* 0: there is none */
	NexusUuid	operation_id;
	TransactionId writer;		/* another open transaction that inserts or
								 * deletes it; or invalid */
	uint32		token;
} NexusKeyRow;

/* Waits for nobody. */
extern void nexus_operation_key_look(const NexusNewOperation *operation, NexusKeyRow *last);

/*
 * Wait until the writer of a row has ended, as a unique index does:
 * interruptibly, and found by deadlock detection.
 */
extern void nexus_operation_key_wait(const NexusKeyRow *row);

/*
 * Insert the key of an operation behind its key_predecessor, in the current
 * transaction and without waiting: false where that is not the last one (any
 * more), and then nothing was done.
 */
extern bool nexus_operation_key_insert(const NexusNewOperation *operation);

/* The same, and true, where it was inserted already: an operation that was posted twice. */
extern bool nexus_operation_key_insert_executed(const NexusNewOperation *operation);

#endif							/* NEXUS_STORE_OPERATION_KEY_H */
