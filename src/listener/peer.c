/*
 * peer.c
 *	  Connections to callers: how many there may be, and how long each may take.
 *
 * Time limits are the same for all, so each list is in the order of deadlines.
 * A connection is only shut down here; its owner sees its end and closes it.
 */
#include "listener/peer.h"

#include <stddef.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "listener/control_pipe.h"
#include "listener/loop.h"

#define IDLE_MS (NEXUS_PEER_IDLE_SECONDS * 1000)
#define SPARE_FILES 64			/* for workers, pipes, epoll and lingering */
#define MIN_PEERS 8				/* however few descriptors there are */

typedef struct NexusPeerList
{
	NexusPeer  *first;
	NexusPeer  *last;
} NexusPeerList;

static NexusPeerList receiving; /* or taking their answer: both have the same
								 * time */
static NexusPeerList idle;
static int	peers = 0;
static int	max_peers;
static int64_t deadline_ms;

static void
append_peer(NexusPeerList *list, NexusPeer *peer)
{
	peer->list = list;
	peer->since_ms = nexus_loop_now();
	peer->next = NULL;
	peer->previous = list->last;
	if (list->last != NULL)
		list->last->next = peer;
	else
		list->first = peer;
	list->last = peer;
}

static void
remove_peer(NexusPeer *peer)
{
	NexusPeerList *list = peer->list;

	if (list == NULL)
		return;
	if (peer->previous != NULL)
		peer->previous->next = peer->next;
	else
		list->first = peer->next;
	if (peer->next != NULL)
		peer->next->previous = peer->previous;
	else
		list->last = peer->previous;
	peer->list = NULL;
}

static void
cut_off(NexusPeer *peer)
{
	remove_peer(peer);
	(void) shutdown(peer->fd, SHUT_RDWR);
}

/* As many of the wanted peers as there can be descriptors for. */
static int
allowed_peers(int wanted)
{
	rlim_t		needed = (rlim_t) wanted + SPARE_FILES;
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= needed)
		return wanted;
	files.rlim_cur = needed < files.rlim_max ? needed : files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= needed)
		return wanted;
	if (files.rlim_cur < SPARE_FILES + MIN_PEERS)
		return MIN_PEERS;
	return (int) (files.rlim_cur - SPARE_FILES);
}

void
nexus_peer_set_limits(int wanted, int64_t request_deadline_ms)
{
	int			allowed = allowed_peers(wanted);

	if (allowed < wanted && allowed != max_peers)
		nexus_control_pipe_log(true, "listener takes only %d connections, since it may not open more files",
							   allowed);
	max_peers = allowed;
	deadline_ms = request_deadline_ms;
}

bool
nexus_peer_admit(void)
{
	if (peers >= max_peers && idle.first == NULL)
	{
		nexus_control_pipe_complain("listener has reached its limit of %d connections", max_peers);
		return false;
	}
	if (peers >= max_peers)
		cut_off(idle.first);
	return true;
}

void
nexus_peer_enter(NexusPeer *peer, int fd)
{
	peer->fd = fd;
	append_peer(&receiving, peer);
	peers++;
}

void
nexus_peer_leave(NexusPeer *peer)
{
	remove_peer(peer);
	peers--;
}

void
nexus_peer_begin_request(NexusPeer *peer)
{
	if (peer->list != &idle)
		return;
	remove_peer(peer);
	append_peer(&receiving, peer);
}

int64_t
nexus_peer_wait(NexusPeer *peer)
{
	remove_peer(peer);
	return peer->since_ms + deadline_ms;
}

void
nexus_peer_answer(NexusPeer *peer)
{
	if (peer->list == NULL)
		append_peer(&receiving, peer);
}

void
nexus_peer_rest(NexusPeer *peer)
{
	remove_peer(peer);
	append_peer(&idle, peer);
}

static int64_t
expire(const NexusPeerList *list, int64_t allowed_ms)
{
	while (list->first != NULL && list->first->since_ms + allowed_ms <= nexus_loop_now())
		cut_off(list->first);
	return list->first != NULL ? list->first->since_ms + allowed_ms : NEXUS_LOOP_NEVER;
}

int64_t
nexus_peer_expire(void)
{
	int64_t		first = expire(&receiving, deadline_ms);
	int64_t		second = expire(&idle, IDLE_MS);

	return first < second ? first : second;
}

int
nexus_peer_count(void)
{
	return peers;
}
