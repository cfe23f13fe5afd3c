/*
 * loop.h
 *	  The one place where the listener sleeps, and its clock.
 *
 * There is one loop in the program, so it needs no handle.
 */
#ifndef NEXUS_LISTENER_LOOP_H
#define NEXUS_LISTENER_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#define NEXUS_LOOP_NEVER INT64_MAX	/* a deadline that does not come */

/* Embedded in whatever waits for a descriptor. */
typedef struct NexusWatch
{
	int			fd;
	void		(*on_ready) (void *arg, uint32_t events);
	void	   *arg;
} NexusWatch;

extern bool nexus_loop_init(void);

/* "events" as for epoll, level-triggered. */
extern bool nexus_loop_watch(NexusWatch *watch, uint32_t events);
extern void nexus_loop_change(NexusWatch *watch, uint32_t events);

/* No call of on_ready comes after this, so the watch may be freed. */
extern void nexus_loop_unwatch(NexusWatch *watch);

/* Sleep until something is ready or the deadline is there, and call on_ready. */
extern void nexus_loop_wait(int64_t deadline_ms);

/* Monotonic milliseconds at the start of this turn. */
extern int64_t nexus_loop_now(void);

#endif							/* NEXUS_LISTENER_LOOP_H */
