/*
 * state.h
 *	  What the parts of a worker share: one per process.
 */
#ifndef NEXUS_WORKER_STATE_H
#define NEXUS_WORKER_STATE_H

#include "net/http_client.h"
#include "net/io_loop.h"
#include "net/local_socket.h"
#include "store/incarnation.h"
#include "worker/group.h"

typedef struct NexusWorker
{
	Oid			database;
	char		database_name[NAMEDATALEN]; /* a worker leaves before it is
											 * renamed */
	Oid			operation_table;	/* its OID: gone means the extension is
									 * gone */
	MemoryContext context;		/* of the process's life */
	MemoryContext scratch;		/* reset each turn */
	bool		has_incarnation;
	NexusIncarnation incarnation;
	bool		is_surveyed;	/* what stood in the tables at first was
								 * looked at */
	bool		is_paused;		/* nothing is sent: see pausing.h */
	TimestampTz look_time;		/* when arrivals were read last; DT_NOBEGIN:
								 * never */
	bool		look_failed;	/* and whether that failed */
	TimestampTz read_retry_time;	/* reading due operations failed: not
									 * before */
	int64		arrived;		/* operations open at the start, and come
								 * since */
	NexusIoLoop *loop;
	NexusHttpClient *http;
	NexusLocalServer *server;
	NexusGroup *group;
	struct NexusDispatcher *dispatcher;
	struct NexusCancellations *cancellations;
	struct NexusDeadlines *deadlines;
	struct NexusRetention *retention;
	struct NexusPausing *pausing;
} NexusWorker;

#endif							/* NEXUS_WORKER_STATE_H */
