/*
 * worker.h
 *	  The worker of one database: sends its operations, records what becomes of
 *	  them.
 */
#ifndef NEXUS_WORKER_WORKER_H
#define NEXUS_WORKER_WORKER_H

#include "postgres.h"

/*
 * Main function of the background worker; the argument is the database's OID.
 * Exits 0 where the extension is not installed or the worker was asked to
 * leave, 1 after an error.
 */
extern PGDLLEXPORT void nexus_worker_main(Datum arg);

#endif							/* NEXUS_WORKER_WORKER_H */
