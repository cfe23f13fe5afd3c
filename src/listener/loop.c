/*
 * loop.c
 *	  The one place where the listener sleeps, and its clock.
 *
 * What is ready is fetched in batches.  A handler may end any watch, also one
 * that stands further down in the batch; its entry is then cleared there.
 */
#include "listener/loop.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#define BATCH_SIZE 64

static int	epoll_fd = -1;
static struct epoll_event batch[BATCH_SIZE];
static int	batch_len = 0;
static int64_t now_ms = 0;

static int64_t
read_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool
nexus_loop_init(void)
{
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	now_ms = read_clock();
	return epoll_fd >= 0;
}

static bool
control(int operation, NexusWatch *watch, uint32_t events)
{
	struct epoll_event event = {0};

	event.events = events;
	event.data.ptr = watch;
	return epoll_ctl(epoll_fd, operation, watch->fd, &event) == 0;
}

bool
nexus_loop_watch(NexusWatch *watch, uint32_t events)
{
	return control(EPOLL_CTL_ADD, watch, events);
}

void
nexus_loop_change(NexusWatch *watch, uint32_t events)
{
	(void) control(EPOLL_CTL_MOD, watch, events);
}

void
nexus_loop_unwatch(NexusWatch *watch)
{
	(void) control(EPOLL_CTL_DEL, watch, 0);
	for (int i = 0; i < batch_len; i++)
	{
		if (batch[i].data.ptr == watch)
			batch[i].data.ptr = NULL;
	}
}

/* Rounded up, so that a deadline has passed when it wakes us. */
static int
timeout_until(int64_t deadline_ms)
{
	int64_t		left;

	if (deadline_ms == NEXUS_LOOP_NEVER)
		return -1;
	left = deadline_ms - read_clock();
	if (left <= 0)
		return 0;
	return left > INT_MAX ? INT_MAX : (int) left;
}

void
nexus_loop_wait(int64_t deadline_ms)
{
	batch_len = epoll_wait(epoll_fd, batch, BATCH_SIZE, timeout_until(deadline_ms));
	now_ms = read_clock();
	for (int i = 0; i < batch_len; i++)
	{
		NexusWatch *watch = batch[i].data.ptr;

		if (watch != NULL)
			watch->on_ready(watch->arg, batch[i].events);
	}
	batch_len = 0;
}

int64_t
nexus_loop_now(void)
{
	return now_ms;
}
