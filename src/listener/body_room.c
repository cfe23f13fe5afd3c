/*
 * body_room.c
 *	  How many bytes the bodies of all requests may hold together.
 */
#include "listener/body_room.h"

#define SMALL_BODY (64 * 1024)
#define ROOM (64 * 1024 * 1024)

static size_t taken = 0;

bool
nexus_body_room_take(size_t *held, size_t len)
{
	size_t		others = taken - *held;

	if (len <= SMALL_BODY)
		return true;
	if (others > 0 && others + len > ROOM)
		return false;
	taken = others + len;
	*held = len;
	return true;
}

void
nexus_body_room_give_back(size_t *held)
{
	taken -= *held;
	*held = 0;
}
