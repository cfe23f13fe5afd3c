/*
 * linger.h
 *	  Let a peer read an answer that came before it had sent its whole request.
 *
 * Closing a socket with unread input resets the connection, and the peer may
 * then see an error in place of the answer; Temporal would try again for ever
 * what was refused for good.  So what the peer still sends is thrown away for a
 * short while.
 */
#ifndef NEXUS_LISTENER_LINGER_H
#define NEXUS_LISTENER_LINGER_H

#include <stdint.h>

/*
 * Take over a connection whose owner is about to close "fd".  Does nothing
 * where too many linger already.
 */
extern void nexus_linger(int fd);

/* Close those that had their time.  Returns when to call again at the latest. */
extern int64_t nexus_linger_run(void);

/* Close all of them. */
extern void nexus_linger_close_all(void);

#endif							/* NEXUS_LISTENER_LINGER_H */
