/*
 * http_server.h
 *	  The HTTP side of the listener; the only file that sees libmicrohttpd.
 *
 * Whatever can be refused without a worker is refused here.  Memory for the
 * requests is at most max_connections times (max_body + the head and buffers of
 * libmicrohttpd, 64 KiB); bodies grow as they arrive, so small ones are cheap.
 */
#ifndef NEXUS_LISTENER_HTTP_SERVER_H
#define NEXUS_LISTENER_HTTP_SERVER_H

#include "listener/callback.h"
#include "protocol/control.h"

#define NEXUS_HTTP_SERVER_MAX_SOCKETS 64	/* addresses in listen_addresses */

/* Takes a complete callback, to be answered once, now or later. */
typedef void (*NexusHttpServerOnCallback) (NexusCallback *callback);

/* Must be set before the first socket is added, and again when they change. */
extern void nexus_http_server_set_limits(const NexusListenerSettings *settings);

/* Accept connections on a socket that listens. */
extern bool nexus_http_server_start(int fd, NexusHttpServerOnCallback on_callback);

/* A NexusCallbackAnswer. */
extern void nexus_http_server_answer(void *arg, NexusCallback *callback, int status, NexusText message);

/*
 * Do what is ready and cut off who is too slow.  Returns when to call again at
 * the latest.
 */
extern int64_t nexus_http_server_run(void);

/* Whether an answer was given since, which only the next run sends. */
extern bool nexus_http_server_has_answers(void);

/* Accept no more; connections end with their next answer. */
extern void nexus_http_server_stop_accepting(void);

/* Requests whose head came and whose answer has not gone out. */
extern int	nexus_http_server_requests(void);

/* "waiting" is left alone. */
extern void nexus_http_server_read_figures(NexusListenerFigures *figures);

/* All callbacks must have been answered. */
extern void nexus_http_server_close(void);

#endif							/* NEXUS_LISTENER_HTTP_SERVER_H */
