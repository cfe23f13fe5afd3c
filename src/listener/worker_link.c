/*
 * worker_link.c
 *	  Connections to the workers: callbacks out as frames, their answers in.
 *
 * A link's callbacks stand in the order in which they came; those before
 * next_unsent were sent on the connection that is open now.  Losing the
 * connection moves next_unsent back to the first.
 *
 * A callback's body stays with the callback until it is answered; a frame is
 * built from it only when the connection has room for more, so that the copies
 * are bounded by OUT_BATCH and one frame for each link.
 */
#include "listener/worker_link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "listener/control_pipe.h"
#include "listener/loop.h"

#define SOCKET_DIRECTORY "pgsql_tmp_nexus"	/* base backups skip such names */
#define RECONNECT_MS 100
#define OUT_BATCH (256 * 1024)	/* frames written at once; more saves nothing */
#define OUT_KEPT (1024 * 1024)	/* a larger buffer is not used again */
#define IN_SIZE NEXUS_FRAME_OVERHEAD	/* of one answer at least */

typedef struct Link
{
	NexusUuid	incarnation;
	NexusWatch	watch;			/* watch.fd is -1 while not connected */
	bool		wants_room;		/* the socket is full: told when it is not */
	int64_t		retry_ms;		/* while not connected */
	NexusBuffer out;
	size_t		out_sent;
	char	   *in;
	size_t		in_len;
	NexusCallback *first;
	NexusCallback *last;
	NexusCallback *next_unsent;
	struct Link *next;
} Link;

static Link *links = NULL;
static NexusCallbackAnswer on_answer;
static void *on_answer_arg;
static bool is_scanned = false;
static int	waiting = 0;
static uint64_t last_correlation = 0;
static int64_t give_up_ms = NEXUS_LOOP_NEVER;	/* none is earlier */

static void read_link(void *arg, uint32_t events);

void
nexus_worker_link_init(NexusCallbackAnswer answer, void *arg)
{
	on_answer = answer;
	on_answer_arg = arg;
}

int
nexus_worker_link_waiting(void)
{
	return waiting;
}

static void
append_callback(Link *link, NexusCallback *callback)
{
	callback->next = NULL;
	callback->previous = link->last;
	if (link->last != NULL)
		link->last->next = callback;
	else
		link->first = callback;
	link->last = callback;
	if (link->next_unsent == NULL)
		link->next_unsent = callback;
	waiting++;
	if (callback->deadline_ms < give_up_ms)
		give_up_ms = callback->deadline_ms;
}

static void
remove_callback(Link *link, NexusCallback *callback)
{
	if (link->next_unsent == callback)
		link->next_unsent = callback->next;
	if (callback->previous != NULL)
		callback->previous->next = callback->next;
	else
		link->first = callback->next;
	if (callback->next != NULL)
		callback->next->previous = callback->previous;
	else
		link->last = callback->previous;
	waiting--;
	if (waiting == 0)
		give_up_ms = NEXUS_LOOP_NEVER;
}

static void
answer_callback(Link *link, NexusCallback *callback, int status, NexusText message)
{
	remove_callback(link, callback);
	on_answer(on_answer_arg, callback, status, message);
}

static void
answer_link(Link *link, int status, const char *message)
{
	while (link->first != NULL)
		answer_callback(link, link->first, status, nexus_text_of(message));
}

static Link *
find_link(const NexusUuid *incarnation)
{
	for (Link *link = links; link != NULL; link = link->next)
	{
		if (memcmp(link->incarnation.bytes, incarnation->bytes, sizeof(incarnation->bytes)) == 0)
			return link;
	}
	return NULL;
}

static Link *
create_link(const NexusUuid *incarnation)
{
	Link	   *link = calloc(1, sizeof(Link));

	if (link == NULL)
		return NULL;
	link->in = malloc(IN_SIZE);
	if (link->in == NULL)
	{
		free(link);
		return NULL;
	}
	link->incarnation = *incarnation;
	link->watch.fd = -1;
	link->watch.on_ready = read_link;
	link->watch.arg = link;
	nexus_buffer_init(&link->out, INT32_MAX);
	link->next = links;
	links = link;
	return link;
}

static void
disconnect(Link *link)
{
	if (link->watch.fd < 0)
		return;
	nexus_loop_unwatch(&link->watch);
	(void) close(link->watch.fd);
	link->watch.fd = -1;
	link->wants_room = false;
	link->retry_ms = nexus_loop_now() + RECONNECT_MS;
	link->in_len = 0;
	link->out_sent = 0;
	nexus_buffer_free(&link->out);
	nexus_buffer_init(&link->out, INT32_MAX);
	link->next_unsent = link->first;
}

static void
free_link(Link *link)
{
	disconnect(link);
	nexus_buffer_free(&link->out);
	free(link->in);
	free(link);
}

/* Relative, since a socket's path is short and a data directory's may not be. */
static void
socket_path(const Link *link, struct sockaddr_un *address)
{
	char		text[NEXUS_UUID_TEXT_LEN + 1];

	nexus_uuid_format(&link->incarnation, text);
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	(void) snprintf(address->sun_path, sizeof(address->sun_path), SOCKET_DIRECTORY "/%s", text);
}

/* False where the incarnation has no symlink, not even a dangling one. */
static bool
has_symlink(const struct sockaddr_un *address)
{
	struct stat status;

	return lstat(address->sun_path, &status) == 0 || errno != ENOENT;
}

static bool
open_socket(Link *link, const struct sockaddr_un *address)
{
	int			fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	link->watch.fd = fd;
	if (connect(fd, (const struct sockaddr *) address, sizeof(*address)) == 0 &&
		nexus_frame_encode_hello(&link->out) &&
		nexus_loop_watch(&link->watch, EPOLLIN))
		return true;
	nexus_buffer_reset(&link->out);
	(void) close(fd);
	link->watch.fd = -1;
	return false;
}

static void
connect_link(Link *link)
{
	struct sockaddr_un address;

	link->retry_ms = nexus_loop_now() + RECONNECT_MS;
	socket_path(link, &address);
	if (has_symlink(&address))
		(void) open_socket(link, &address);
	else if (is_scanned)
		answer_link(link, 404, "no database here owns this callback");
}

/* Refill the buffer of frames once it has been written.  False when all is out. */
static bool
next_batch(Link *link)
{
	if (link->out_sent < link->out.len)
		return true;
	if (link->out_sent > 0)
	{
		link->out_sent = 0;
		nexus_buffer_reset(&link->out);
		if (link->out.capacity > OUT_KEPT)
		{
			nexus_buffer_free(&link->out);
			nexus_buffer_init(&link->out, INT32_MAX);
		}
	}
	while (link->next_unsent != NULL && link->out.len < OUT_BATCH)
	{
		NexusCallback *callback = link->next_unsent;

		if (!nexus_frame_encode_completion(&link->out, callback->correlation, &callback->frame))
			break;
		link->next_unsent = callback->next;
	}
	return link->out.len > 0;
}

static void
set_wants_room(Link *link, bool wants_room)
{
	if (link->wants_room == wants_room)
		return;
	link->wants_room = wants_room;
	nexus_loop_change(&link->watch, wants_room ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void
write_link(Link *link)
{
	while (next_batch(link))
	{
		ssize_t		len = send(link->watch.fd, link->out.data + link->out_sent,
							   link->out.len - link->out_sent, MSG_NOSIGNAL);

		if (link->out.is_broken || (len < 0 && errno != EAGAIN && errno != EINTR))
		{
			disconnect(link);
			return;
		}
		if (len < 0)
		{
			set_wants_room(link, true);
			return;
		}
		link->out_sent += (size_t) len;
	}
	set_wants_room(link, false);
}

/* An answer to a callback that was given up in the meantime finds nothing. */
static void
take_answer(Link *link, const NexusFrame *frame)
{
	NexusCompletionAnswerFrame answer;

	if (frame->kind != NEXUS_FRAME_COMPLETION_ANSWER ||
		!nexus_frame_decode_completion_answer(frame->body, &answer))
		return;
	for (NexusCallback *callback = link->first; callback != link->next_unsent; callback = callback->next)
	{
		if (callback->correlation == frame->correlation)
		{
			answer_callback(link, callback, answer.status, answer.message);
			return;
		}
	}
}

/* False where the worker sends something that is no frame. */
static bool
take_frames(Link *link)
{
	size_t		used = 0;
	NexusFrame	frame;
	int64_t		len;

	while ((len = nexus_frame_decode(nexus_text_make(link->in + used, link->in_len - used), IN_SIZE, &frame)) > 0)
	{
		take_answer(link, &frame);
		used += (size_t) len;
	}
	memmove(link->in, link->in + used, link->in_len - used);
	link->in_len -= used;
	return len == 0 && link->in_len < IN_SIZE;
}

static void
read_link(void *arg, uint32_t events)
{
	Link	   *link = arg;
	ssize_t		len;

	if (events & EPOLLOUT)
		set_wants_room(link, false);
	len = recv(link->watch.fd, link->in + link->in_len, IN_SIZE - link->in_len, 0);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	link->in_len += len > 0 ? (size_t) len : 0;
	if (len <= 0)
		disconnect(link);
	else if (!take_frames(link))
	{
		nexus_control_pipe_complain("listener got a malformed frame from a worker");
		disconnect(link);
	}
}

void
nexus_worker_link_set_scanned(bool scanned)
{
	is_scanned = scanned;
	for (Link *link = links; link != NULL; link = link->next)
		link->retry_ms = nexus_loop_now();
}

void
nexus_worker_link_take(NexusCallback *callback)
{
	Link	   *link = find_link(&callback->frame.incarnation);

	if (link == NULL)
		link = create_link(&callback->frame.incarnation);
	if (link == NULL)
	{
		on_answer(on_answer_arg, callback, 503, nexus_text_of("out of memory"));
		return;
	}
	callback->correlation = ++last_correlation;
	append_callback(link, callback);
	if (link->watch.fd < 0 && link->retry_ms <= nexus_loop_now())
		connect_link(link);
}

static void
give_up_overdue(Link *link)
{
	NexusCallback *next;

	for (NexusCallback *callback = link->first; callback != NULL; callback = next)
	{
		next = callback->next;
		if (callback->deadline_ms <= nexus_loop_now())
		{
			nexus_control_pipe_complain("listener gave up a callback whose worker did not answer in time");
			answer_callback(link, callback, 503, nexus_text_of("the database did not answer in time"));
		}
		else if (callback->deadline_ms < give_up_ms)
			give_up_ms = callback->deadline_ms;
	}
}

/* The cached deadline may be that of a callback that was answered since. */
static void
give_up_all_overdue(void)
{
	if (give_up_ms > nexus_loop_now())
		return;
	give_up_ms = NEXUS_LOOP_NEVER;
	for (Link *link = links; link != NULL; link = link->next)
		give_up_overdue(link);
}

static void
run_link(Link *link)
{
	if (link->watch.fd < 0 && link->first != NULL && link->retry_ms <= nexus_loop_now())
		connect_link(link);
	if (link->watch.fd >= 0 && !link->wants_room)
		write_link(link);
}

int64_t
nexus_worker_link_run(void)
{
	int64_t		deadline;

	give_up_all_overdue();
	deadline = give_up_ms;
	for (Link **place = &links; *place != NULL;)
	{
		Link	   *link = *place;

		run_link(link);
		if (link->watch.fd < 0 && link->first == NULL)
		{
			*place = link->next;
			free_link(link);
			continue;
		}
		if (link->watch.fd < 0 && link->retry_ms < deadline)
			deadline = link->retry_ms;
		place = &link->next;
	}
	return deadline;
}

void
nexus_worker_link_close_all(void)
{
	while (links != NULL)
	{
		Link	   *link = links;

		answer_link(link, 503, "the server is shutting down");
		links = link->next;
		free_link(link);
	}
}
