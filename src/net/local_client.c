/*
 * local_client.c
 *	  Frames over a Unix socket: the side of a backend, which asks and waits.
 *
 * The descriptor never blocks; all waiting is on the latch too, so that a
 * cancel or a shutdown ends it at once.
 */
#include "postgres.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/local_socket.h"

#include "miscadmin.h"
#include "net/local_directory.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define NEXUS_ANSWER_MAX NEXUS_FRAME_OVERHEAD	/* a state and a message */
#define NEXUS_CHUNK 4096
#define NEXUS_CONNECT_TRIES 100 /* while the queue of the socket is full */
#define NEXUS_CONNECT_PAUSE_MS 10

struct NexusLocalClient
{
	int			fd;
	NexusBuffer in;
	size_t		taken;			/* bytes of the last answer, at its start */
};

/* Connect without waiting; -1 with errno where it did not work. */
static int
open_connection(Oid database)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int			save_errno;
	int			fd;

	StaticAssertStmt(sizeof(address.sun_path) >= NEXUS_LOCAL_PATH_MAX,
					 "a path must fit into a socket address");
	if (!AcquireExternalFD())
		return -1;
	nexus_local_directory_path(database, address.sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *) &address, sizeof(address)) == 0)
		return fd;

	save_errno = errno;
	if (fd >= 0)
		close(fd);
	ReleaseExternalFD();
	errno = save_errno;
	return -1;
}

static void
close_connection(int fd)
{
	int			save_errno = errno;

	close(fd);
	ReleaseExternalFD();
	errno = save_errno;
}

/* A fresh socket always has room for these few bytes. */
static bool
say_hello(int fd)
{
	NexusBuffer hello;
	bool		is_said;

	nexus_buffer_init(&hello, NEXUS_CHUNK);
	is_said = nexus_frame_encode_hello(&hello) &&
		send(fd, hello.data, hello.len, MSG_NOSIGNAL) == (ssize_t) hello.len;
	nexus_buffer_free(&hello);
	return is_said;
}

NexusLocalClient *
nexus_local_socket_connect(Oid database)
{
	/* Before there is a descriptor that an error would leak. */
	NexusLocalClient *client = palloc0(sizeof(NexusLocalClient));
	int			fd = open_connection(database);

	/* On a Unix socket EAGAIN means that its queue is full. */
	for (int i = 0; fd < 0 && errno == EAGAIN && i < NEXUS_CONNECT_TRIES; i++)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 NEXUS_CONNECT_PAUSE_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		fd = open_connection(database);
	}
	if (fd >= 0 && !say_hello(fd))
	{
		close_connection(fd);
		fd = -1;
	}
	if (fd < 0)
	{
		int			save_errno = errno;

		pfree(client);
		errno = save_errno;
		return NULL;
	}
	client->fd = fd;
	nexus_buffer_init(&client->in, NEXUS_ANSWER_MAX + NEXUS_CHUNK);
	return client;
}

void
nexus_local_socket_disconnect(NexusLocalClient *client)
{
	close_connection(client->fd);
	nexus_buffer_free(&client->in);
	pfree(client);
}

/* Send what goes without waiting and cut it off; false where it is lost. */
static bool
send_some(NexusLocalClient *client, NexusText *frames)
{
	while (frames->len > 0)
	{
		ssize_t		count = send(client->fd, frames->data, frames->len, MSG_NOSIGNAL);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK;
		frames->data += count;
		frames->len -= count;
	}
	return true;
}

/* Read what is there; false where the connection is lost. */
static bool
receive_some(NexusLocalClient *client)
{
	char		chunk[NEXUS_CHUNK];
	ssize_t		count;

	do
		count = recv(client->fd, chunk, sizeof(chunk), 0);
	while (count < 0 && errno == EINTR);
	if (count < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK;
	return count > 0 && nexus_buffer_append(&client->in, chunk, count);
}

/* Forget the last answer. */
static void
drop_taken(NexusLocalClient *client)
{
	NexusBuffer *in = &client->in;

	if (client->taken == 0)
		return;
	in->len -= client->taken;
	memmove(in->data, in->data + client->taken, in->len);
	client->taken = 0;
}

/* Sleep until there is something to do; false where the time is up. */
static bool
wait_for_peer(NexusLocalClient *client, bool is_sending, TimestampTz deadline)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | WL_SOCKET_READABLE;
	long		timeout = -1;
	int			woken;

	if (is_sending)
		events |= WL_SOCKET_WRITEABLE;
	if (deadline != DT_NOEND)
	{
		events |= WL_TIMEOUT;
		timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
	}
	woken = WaitLatchOrSocket(MyLatch, events, client->fd, timeout, PG_WAIT_EXTENSION);
	if (woken & WL_LATCH_SET)
	{
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return (woken & WL_TIMEOUT) == 0;
}

bool
nexus_local_socket_call(NexusLocalClient *client, NexusText frames, long timeout_ms,
						NexusFrame *answer)
{
	TimestampTz deadline = DT_NOEND;

	if (timeout_ms >= 0)
		deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	drop_taken(client);

	for (;;)
	{
		int64		len = nexus_frame_decode(nexus_buffer_view(&client->in),
											 NEXUS_ANSWER_MAX, answer);

		if (len > 0)
			client->taken = (size_t) len;
		if (len != 0)
			return len > 0;
		if (!send_some(client, &frames) ||
			!wait_for_peer(client, frames.len > 0, deadline) ||
			!receive_some(client))
			return false;
	}
}
