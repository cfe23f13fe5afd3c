/*
 * local_socket.h
 *	  Frames over a Unix socket below the data directory.
 *
 * A worker listens; the listener program and backends connect.  The directory
 * is NEXUS_SOCKET_DIR (mode 0700), always named by relative path because of the
 * 108 bytes of a socket address; servers run in their data directory.  A socket
 * is named by its database's OID, with one symlink per incarnation.
 */
#ifndef NEXUS_NET_LOCAL_SOCKET_H
#define NEXUS_NET_LOCAL_SOCKET_H

#include "net/io_loop.h"
#include "nodes/pg_list.h"
#include "protocol/frame.h"

#define NEXUS_SOCKET_DIR "pgsql_tmp_nexus"

typedef struct NexusLocalServer NexusLocalServer;

/* A connection on the worker's side: number (never reused) and peer's pid. */
typedef struct NexusLocalPeer
{
	uint64		connection;
	pid_t		pid;			/* SO_PEERCRED at the time of connect */
} NexusLocalPeer;

/* Views are valid during the call; it must not raise. */
typedef void (*NexusFrameTaken) (void *arg, const NexusLocalPeer *peer, const NexusFrame *frame);

/* Create directory and socket (replacing a stale one) and accept in the loop. */
extern NexusLocalServer *nexus_local_socket_listen(NexusIoLoop *loop, Oid database, size_t max_frame,
												   NexusFrameTaken on_frame, void *arg);

/* Queue bytes of whole frames for the next flush; false where the connection is gone. */
extern bool nexus_local_socket_reply(NexusLocalServer *server, uint64 connection, NexusText frames);

/* Send what is queued, as far as it goes without waiting; not while a frame is taken. */
extern void nexus_local_socket_flush(NexusLocalServer *server);

/* Frames up to this long are taken from now on. */
extern void nexus_local_socket_set_max_frame(NexusLocalServer *server, size_t max_frame);

/* Stop listening, try to send what is queued (up to 1 s), keep the files. */
extern void nexus_local_socket_close(NexusLocalServer *server);

/*
 * The symlink of an incarnation, made if it is not there.  Callbacks are led
 * by one that only claims it all the same, but others need not respect it.
 */
extern void nexus_local_socket_link(Oid database, const NexusUuid *incarnation, bool is_claim);

/* The database that has an incarnation, as its symlink says; InvalidOid for none, and for a claim. */
extern Oid	nexus_local_socket_linked(const NexusUuid *incarnation);

/* Remove the symlink of an incarnation if it leads to this database. */
extern void nexus_local_socket_unlink(Oid database, const NexusUuid *incarnation);

/* Remove socket and symlinks of a database (it or its extension is gone). */
extern void nexus_local_socket_remove(Oid database);

/* The OIDs of databases with a socket file, for the launcher to clean up; palloc'd. */
extern List *nexus_local_socket_databases(void);

/* ---- in user backends ---- */

typedef struct NexusLocalClient NexusLocalClient;

/* Connect and say hello; NULL where nobody listens (errno kept). */
extern NexusLocalClient *nexus_local_socket_connect(Oid database);

/*
 * Send frames and wait for one frame, interruptibly (CHECK_FOR_INTERRUPTS may
 * raise: the connection must then be closed by the caller).  The answer's body
 * is a view that holds until the next call.  False where the connection was
 * lost or "timeout_ms" (-1: none) passed.
 */
extern bool nexus_local_socket_call(NexusLocalClient *client, NexusText frames, long timeout_ms,
									NexusFrame *answer);

extern void nexus_local_socket_disconnect(NexusLocalClient *client);

#endif							/* NEXUS_NET_LOCAL_SOCKET_H */
