/*
 * io_loop.c
 *	  The one place where a worker sleeps.
 *
 * A WaitEventSet cannot forget a descriptor, so all that come and go live in
 * an epoll descriptor of our own, which is one member of the set and readable
 * while any of them is ready.  An event carries the descriptor's number and
 * the generation of its watch: events of a watch that has ended meanwhile,
 * even when the kernel gave its number to another, are thrown away.
 */
#include "postgres.h"

#include <sys/epoll.h>
#include <unistd.h>

#include "net/io_loop.h"

#include "compat.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define NEXUS_SET_MEMBERS 3		/* latch, postmaster death, inner epoll */
#define NEXUS_EVENTS_PER_ROUND 64
#define NEXUS_FIRST_WATCHES 64	/* descriptors the table has room for at first */

typedef struct NexusWatch
{
	int			interest;		/* 0 = not watched */
	uint32		generation;		/* of this watch */
	NexusIoReady on_ready;
	void	   *arg;
} NexusWatch;

struct NexusIoLoop
{
	WaitEventSet *set;
	int			epoll_fd;
	TimestampTz deadline;
	uint64		turns;
	uint32		last_generation;
	int			watched;		/* how many descriptors are */
	int			capacity;
	NexusWatch *watches;		/* by descriptor */
};

NexusIoLoop *
nexus_io_loop_create(void)
{
	NexusIoLoop *loop = palloc0(sizeof(NexusIoLoop));

	loop->deadline = DT_NOEND;
	loop->capacity = NEXUS_FIRST_WATCHES;
	loop->watches = palloc0(sizeof(NexusWatch) * loop->capacity);

	if (!AcquireExternalFD())
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not reserve a descriptor for the event loop: %m")));
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
	{
		int			save_errno = errno;

		ReleaseExternalFD();
		errno = save_errno;
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not create an epoll descriptor: %m")));
	}

	loop->set = nexus_create_wait_event_set(NEXUS_SET_MEMBERS);
	AddWaitEventToSet(loop->set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(loop->set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(loop->set, WL_SOCKET_READABLE, loop->epoll_fd, NULL, NULL);
	return loop;
}

void
nexus_io_loop_destroy(NexusIoLoop *loop)
{
	FreeWaitEventSet(loop->set);
	close(loop->epoll_fd);
	ReleaseExternalFD();
	pfree(loop->watches);
	pfree(loop);
}

static void
reserve_watch(NexusIoLoop *loop, int fd)
{
	int			capacity = loop->capacity;

	if (fd < capacity)
		return;
	while (capacity <= fd)
		capacity *= 2;
	loop->watches = repalloc(loop->watches, sizeof(NexusWatch) * capacity);
	memset(loop->watches + loop->capacity, 0, sizeof(NexusWatch) * (capacity - loop->capacity));
	loop->capacity = capacity;
}

void
nexus_io_loop_watch(NexusIoLoop *loop, int fd, int interest, NexusIoReady on_ready, void *arg)
{
	NexusWatch *watch;
	struct epoll_event event = {0};
	bool		is_new;

	Assert(fd >= 0 && interest != 0);
	reserve_watch(loop, fd);
	watch = &loop->watches[fd];
	is_new = watch->interest == 0;

	if (is_new)
		watch->generation = ++loop->last_generation;
	watch->on_ready = on_ready;
	watch->arg = arg;
	if (watch->interest == interest)
		return;

	event.events = ((interest & NEXUS_IO_READ) ? EPOLLIN : 0) |
		((interest & NEXUS_IO_WRITE) ? EPOLLOUT : 0);
	event.data.u64 = ((uint64) watch->generation << 32) | (uint32) fd;
	if (epoll_ctl(loop->epoll_fd, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) < 0)
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not watch a descriptor: %m")));
	watch->interest = interest;
	loop->watched += is_new;
}

void
nexus_io_loop_unwatch(NexusIoLoop *loop, int fd)
{
	if (fd < 0 || fd >= loop->capacity || loop->watches[fd].interest == 0)
		return;

	/* A failure means that the descriptor is gone, and its watch with it. */
	(void) epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	loop->watches[fd].interest = 0;
	loop->watched--;
}

void
nexus_io_loop_set_deadline(NexusIoLoop *loop, TimestampTz deadline)
{
	loop->deadline = deadline;
}

/*
 * Milliseconds to sleep at most, rounded up so that it does not wake early.
 * Neither a difference of extremes nor more than an int may come of it.
 */
static long
timeout_until(TimestampTz deadline)
{
	TimestampTz now;

	if (deadline == DT_NOEND)
		return -1;
	now = GetCurrentTimestamp();
	return deadline <= now ? 0 : Min(TimestampDifferenceMilliseconds(now, deadline), INT_MAX);
}

/* Call whom an event is for; false where its watch has ended. */
static bool
dispatch(NexusIoLoop *loop, const struct epoll_event *event)
{
	int			fd = (int) (uint32) event->data.u64;
	uint32		generation = (uint32) (event->data.u64 >> 32);
	const NexusWatch *watch = &loop->watches[fd];
	int			ready = 0;

	if (watch->interest == 0 || watch->generation != generation)
		return false;

	if (event->events & EPOLLIN)
		ready |= NEXUS_IO_READ;
	if (event->events & EPOLLOUT)
		ready |= NEXUS_IO_WRITE;
	/* An error or hang-up shows itself to whoever reads or writes next. */
	if (event->events & (EPOLLERR | EPOLLHUP))
		ready |= watch->interest;

	watch->on_ready(watch->arg, fd, ready);
	return true;
}

static int
dispatch_ready(NexusIoLoop *loop)
{
	struct epoll_event events[NEXUS_EVENTS_PER_ROUND];
	int			rounds = loop->watched / NEXUS_EVENTS_PER_ROUND + 1;
	int			called = 0;
	int			count;

	/*
	 * A full batch may have left others behind; the kernel then goes on with
	 * those, so this many rounds see each descriptor.
	 */
	do
	{
		count = epoll_wait(loop->epoll_fd, events, NEXUS_EVENTS_PER_ROUND, 0);
		for (int i = 0; i < count; i++)
			called += dispatch(loop, &events[i]);
	} while (count == NEXUS_EVENTS_PER_ROUND && --rounds > 0);

	if (count < 0 && errno != EINTR)
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not wait for descriptors: %m")));
	return called;
}

int
nexus_io_loop_wait(NexusIoLoop *loop, bool block)
{
	WaitEvent	events[NEXUS_SET_MEMBERS];
	int			count;

	loop->turns++;
	count = WaitEventSetWait(loop->set, block ? timeout_until(loop->deadline) : 0,
							 events, NEXUS_SET_MEMBERS, PG_WAIT_EXTENSION);
	for (int i = 0; i < count; i++)
	{
		if (events[i].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
	}

	/* A latch that was set already hides the descriptors: look whatever came. */
	return count > 0 ? dispatch_ready(loop) : 0;
}

uint64
nexus_io_loop_turns(const NexusIoLoop *loop)
{
	return loop->turns;
}
