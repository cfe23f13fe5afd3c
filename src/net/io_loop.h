/*
 * io_loop.h
 *	  The one place where a worker sleeps.
 *
 * A WaitEventSet of {latch, postmaster death, inner epoll} is built once;
 * descriptors come and go in the inner epoll only.  Must be used by one process
 * and thread.  Linux only.
 */
#ifndef NEXUS_NET_IO_LOOP_H
#define NEXUS_NET_IO_LOOP_H

#include "datatype/timestamp.h"

typedef struct NexusIoLoop NexusIoLoop;

/* What a descriptor is watched for, and what it is ready for. */
#define NEXUS_IO_READ	0x01
#define NEXUS_IO_WRITE	0x02

typedef void (*NexusIoReady) (void *arg, int fd, int ready);

/* Lives in CurrentMemoryContext until nexus_io_loop_destroy. */
extern NexusIoLoop *nexus_io_loop_create(void);
extern void nexus_io_loop_destroy(NexusIoLoop *loop);

/*
 * Watch a descriptor, or change what it is watched for.  Raises when the
 * kernel refuses.  unwatch() must come before close() of the descriptor; a
 * descriptor unwatched by another's callback is not called any more.
 */
extern void nexus_io_loop_watch(NexusIoLoop *loop, int fd, int interest, NexusIoReady on_ready, void *arg);
extern void nexus_io_loop_unwatch(NexusIoLoop *loop, int fd);

/* Wake up at this time at the latest; DT_NOEND for never. One value, kept until set again. */
extern void nexus_io_loop_set_deadline(NexusIoLoop *loop, TimestampTz deadline);

/*
 * Sleep until the latch is set, a descriptor is ready or the deadline has
 * come, then call the callbacks of what is ready.  With "block" false it only
 * polls.  Resets the latch.  Ends the process when the postmaster has died.
 * Returns how many callbacks were called, so that 0 with block false means
 * "nothing more is readable".
 */
extern int	nexus_io_loop_wait(NexusIoLoop *loop, bool block);

/* How often nexus_io_loop_wait was entered: a test can fail on a busy loop. */
extern uint64 nexus_io_loop_turns(const NexusIoLoop *loop);

#endif							/* NEXUS_NET_IO_LOOP_H */
