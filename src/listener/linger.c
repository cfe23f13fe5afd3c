/*
 * linger.c
 *	  Let a peer read an answer that came before it had sent its whole request.
 */
#include "listener/linger.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "listener/loop.h"

#define SLOTS 32				/* who finds none only risks its answer */
#define LINGER_MS 2000
#define LINGER_BYTES (16 * 1024 * 1024)
#define READ_SIZE (64 * 1024)

typedef struct Slot
{
	bool		is_used;
	NexusWatch	watch;
	int64_t		end_ms;
	int64_t		bytes_left;
} Slot;

static Slot slots[SLOTS];

static void
close_slot(Slot *slot)
{
	nexus_loop_unwatch(&slot->watch);
	(void) close(slot->watch.fd);
	slot->is_used = false;
}

static void
discard(void *arg, uint32_t events)
{
	static char bytes[READ_SIZE];
	Slot	   *slot = arg;
	ssize_t		len = recv(slot->watch.fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	slot->bytes_left -= len;
	if (len <= 0 || slot->bytes_left <= 0)
		close_slot(slot);
}

void
nexus_linger(int fd)
{
	Slot	   *slot = slots;

	while (slot < slots + SLOTS && slot->is_used)
		slot++;
	if (slot == slots + SLOTS)
		return;
	slot->watch.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (slot->watch.fd < 0)
		return;
	slot->watch.on_ready = discard;
	slot->watch.arg = slot;
	slot->end_ms = nexus_loop_now() + LINGER_MS;
	slot->bytes_left = LINGER_BYTES;
	slot->is_used = true;
	(void) shutdown(slot->watch.fd, SHUT_WR);
	if (!nexus_loop_watch(&slot->watch, EPOLLIN))
	{
		(void) close(slot->watch.fd);
		slot->is_used = false;
	}
}

int64_t
nexus_linger_run(void)
{
	int64_t		deadline = NEXUS_LOOP_NEVER;

	for (Slot *slot = slots; slot < slots + SLOTS; slot++)
	{
		if (slot->is_used && slot->end_ms <= nexus_loop_now())
			close_slot(slot);
		if (slot->is_used && slot->end_ms < deadline)
			deadline = slot->end_ms;
	}
	return deadline;
}

void
nexus_linger_close_all(void)
{
	for (Slot *slot = slots; slot < slots + SLOTS; slot++)
	{
		if (slot->is_used)
			close_slot(slot);
	}
}
