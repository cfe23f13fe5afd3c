/*
 * socket_table.h
 *	  The descriptors of a library that says what it waits for by callbacks.
 *
 * Between two calls of nexus_socket_table_apply changes are only noted, so
 * that a connection which goes from one request to the next costs no system
 * call.  Functions said to be for callbacks do not raise and use malloc.
 *
 * A connection that is wanted for nothing is watched all the same: when its
 * peer closes it, or sends what belongs to no request, it is shut down and
 * emptied, so that the library finds it dead and opens another.
 */
#ifndef NEXUS_NET_SOCKET_TABLE_H
#define NEXUS_NET_SOCKET_TABLE_H

#include "net/io_loop.h"

typedef struct NexusSocketTable
{
	NexusIoLoop *loop;
	int			open_count;		/* sockets reported as opened */
	int			reserved_count; /* of which fd.c knows */
	int			capacity;
	struct NexusSocketEntry *entries;	/* by descriptor */
	int		   *opening;		/* descriptors that are no connection yet */
	int			opening_count;
	int		   *changed;		/* descriptors to tell the loop about */
	int			changed_count;
	int		   *ready;			/* descriptors to tell the library about */
	int			ready_count;
} NexusSocketTable;

extern void nexus_socket_table_init(NexusSocketTable *table, NexusIoLoop *loop);
extern void nexus_socket_table_free(NexusSocketTable *table);

/*
 * For callbacks: a socket was opened for this request; false where there is no
 * memory.
 */
extern bool nexus_socket_table_opened(NexusSocketTable *table, int fd, const void *request);

/*
 * For callbacks: of the sockets opened for this request, the one with this
 * local port is its connection; with 0, none is.  The others are closed:
 * libcurl 7.88 does not say so of one that never was a connection.
 */
extern void nexus_socket_table_settle(NexusSocketTable *table, const void *request, int port);

/* For callbacks: a connection is about to be closed. */
extern void nexus_socket_table_closing(NexusSocketTable *table, int fd);

/*
 * For callbacks: what to watch a descriptor for, 0 for nothing; false where
 * there is no memory.  One that is no connection may be closed and its number
 * used again any time after 0.
 */
extern bool nexus_socket_table_want(NexusSocketTable *table, int fd, int interest);

/* Tell the loop. */
extern void nexus_socket_table_apply(NexusSocketTable *table);

/* Take a descriptor that is ready, and what for; false where there is none. */
extern bool nexus_socket_table_take_ready(NexusSocketTable *table, int *fd, int *ready);

#endif							/* NEXUS_NET_SOCKET_TABLE_H */
