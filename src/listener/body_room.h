/*
 * body_room.h
 *	  How many bytes the bodies of all requests may hold together.
 *
 * What tells a forged callback from a good one is known to the worker only, so
 * a stranger may send bodies of full length on every connection.  Small ones
 * do not count: connections are limited, and good ones are mostly small.
 */
#ifndef NEXUS_LISTENER_BODY_ROOM_H
#define NEXUS_LISTENER_BODY_ROOM_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A body grows to "len" bytes; "held" (0 at first) is what it has been counted
 * with.  False, and nothing changed, where there is no room; one that is alone
 * may be of any length.
 */
extern bool nexus_body_room_take(size_t *held, size_t len);

extern void nexus_body_room_give_back(size_t *held);

#endif							/* NEXUS_LISTENER_BODY_ROOM_H */
