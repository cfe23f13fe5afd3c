/*
 * listener_socket.h
 *	  The listening sockets of the listener: bound here, in the launcher, so
 *	  that they outlive the program that accepts from them.
 */
#ifndef NEXUS_WORKER_LISTENER_SOCKET_H
#define NEXUS_WORKER_LISTENER_SOCKET_H

#include "protocol/error.h"

#define NEXUS_LISTENER_SOCKETS_MAX 16

typedef struct NexusListenerSockets
{
	int			fds[NEXUS_LISTENER_SOCKETS_MAX];
	int			count;			/* 0: not bound */
	int			port;			/* that of all of them */
} NexusListenerSockets;

/*
 * Bind and listen on a list of addresses as nexus_pg.listen_addresses has it;
 * port 0 takes any free one.  All or nothing: false and an error where one of
 * them cannot be had.  Descriptors are close-on-exec and non-blocking.
 */
extern bool nexus_listener_socket_open(const char *addresses, int port, NexusListenerSockets *sockets,
									   NexusError *error);
extern void nexus_listener_socket_close(NexusListenerSockets *sockets);

#endif							/* NEXUS_WORKER_LISTENER_SOCKET_H */
