/*
 * database_list.h
 *	  The databases of the cluster, for a process that is in none of them.
 */
#ifndef NEXUS_WORKER_DATABASE_LIST_H
#define NEXUS_WORKER_DATABASE_LIST_H

#include "nodes/pg_list.h"

typedef struct NexusDatabaseName
{
	Oid			oid;
	NameData	name;
	bool		is_usable;		/* may have a worker */
} NexusDatabaseName;

/*
 * All of pg_database (palloc'd NexusDatabaseName), read in a transaction of
 * its own; freed by list_free_deep.
 */
extern List *nexus_database_list_read(void);

/* The one with this OID, or NULL. */
extern const NexusDatabaseName *nexus_database_list_find(const List *databases, Oid oid);

#endif							/* NEXUS_WORKER_DATABASE_LIST_H */
