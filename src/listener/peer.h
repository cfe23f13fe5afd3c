/*
 * peer.h
 *	  Connections to callers: how many there may be, and how long each may take.
 *
 * libmicrohttpd's own time-out is about inactivity only, so a peer that sends a
 * byte now and then could stay for ever.  Here every peer is either receiving
 * (from its accept, or from the request line of a later request, until the
 * request is complete), waiting (for the answer of a worker, which has a
 * deadline of its own), taking its answer (as long as a request may take), or
 * idle (from an answer to the next request line).
 */
#ifndef NEXUS_LISTENER_PEER_H
#define NEXUS_LISTENER_PEER_H

#include <stdbool.h>
#include <stdint.h>

#define NEXUS_PEER_IDLE_SECONDS 60	/* kept-alive connections between requests */

/* Embedded in what its owner knows of the connection. */
typedef struct NexusPeer
{
	int			fd;
	struct NexusPeerList *list; /* NULL while waiting */
	struct NexusPeer *next;
	struct NexusPeer *previous;
	int64_t		since_ms;		/* when it came into its list */
} NexusPeer;

/* Both may be set anew at any time; they count at once. */
extern void nexus_peer_set_limits(int max_peers, int64_t request_deadline_ms);

/*
 * Whether one more may come.  Over the limit, the peer that was idle longest
 * makes room: it only has to connect again.
 */
extern bool nexus_peer_admit(void);

/* From its accept, and until its end. */
extern void nexus_peer_enter(NexusPeer *peer, int fd);
extern void nexus_peer_leave(NexusPeer *peer);

/* A request line came. */
extern void nexus_peer_begin_request(NexusPeer *peer);

/* The request is complete; returns the deadline for its answer. */
extern int64_t nexus_peer_wait(NexusPeer *peer);

/* The answer is there, and the peer has to read it. */
extern void nexus_peer_answer(NexusPeer *peer);

/* The answer has gone out. */
extern void nexus_peer_rest(NexusPeer *peer);

/* Shut down those whose time is over; returns when to call again. */
extern int64_t nexus_peer_expire(void);

extern int	nexus_peer_count(void);

#endif							/* NEXUS_LISTENER_PEER_H */
