/*
 * listener_child.h
 *	  Fork and exec of the program nexus_listener.
 */
#ifndef NEXUS_WORKER_LISTENER_CHILD_H
#define NEXUS_WORKER_LISTENER_CHILD_H

#include "worker/listener_socket.h"

/* The exit code of a child that could not become the program. */
#define NEXUS_LISTENER_EXEC_FAILED 127

typedef struct NexusListenerChild
{
	pid_t		pid;			/* 0: there is none, and no pipes */
	int			input;			/* its standard input, our end */
	int			output;			/* its standard output, our end; non-blocking */
} NexusListenerChild;

/* False with an error where it could not be forked. */
extern bool nexus_listener_child_start(const NexusListenerSockets *sockets, NexusListenerChild *child,
									   NexusError *error);

/* Close our end of its standard input: it leaves. */
extern void nexus_listener_child_hang_up(NexusListenerChild *child);

/* Kill it if it still lives, wait for it, close the pipes; the wait status. */
extern int	nexus_listener_child_reap(NexusListenerChild *child);

#endif							/* NEXUS_WORKER_LISTENER_CHILD_H */
