/*
 * transaction.h
 *	  The worker's transaction bracket, written once.
 *
 * Between begin and commit SPI is connected and a snapshot is active.  A
 * worker never sleeps on the network inside of it.
 */
#ifndef NEXUS_STORE_TRANSACTION_H
#define NEXUS_STORE_TRANSACTION_H

#include "postgres.h"
#include "executor/spi.h"

typedef struct NexusSqlError
{
	int			sqlerrcode;		/* 0 = none */
	char		message[256];
} NexusSqlError;

/*
 * Run "work" in a transaction of its own and commit it.  An error (also one of
 * the commit) aborts it, is logged as a WARNING and described in "error";
 * false then.  With "error" NULL, where nobody else reports it, it is the last
 * error that nexus.workers shows of this worker.
 */
extern bool nexus_transaction_run(const char *activity, void (*work) (void *arg), void *arg,
								  NexusSqlError *volatile error);

/*
 * Whether trying again later can help: classes 08, 40, 53, 55, 57, 58, and
 * tables that are not there or not as expected, as against an error in what was
 * to be written.
 */
extern bool nexus_transaction_is_environment_error(int sqlerrcode);

/*
 * Override, for the session of a worker, every default that ALTER DATABASE
 * could have set to something that breaks a promise.
 */
extern void nexus_transaction_fix_session(void);

/* Set synchronous_commit to what nexus_pg.synchronous_commit says now. */
extern void nexus_transaction_apply_synchronous_commit(void);

/*
 * Prepare a statement once and keep it.  "plan" is a static of the caller; all
 * names in the text must be qualified.
 */
extern SPIPlanPtr nexus_transaction_plan(SPIPlanPtr *plan, const char *sql, int nargs, const Oid *types);

/*
 * Execute a kept plan; "nulls" as for SPI_execute_plan, may be NULL.  Raises
 * unless the result code is "expected" (SPI_OK_...).
 */
extern void nexus_transaction_execute(SPIPlanPtr plan, Datum *values, const char *nulls, int expected);

#endif							/* NEXUS_STORE_TRANSACTION_H */
