/*
 * local_socket.c
 *	  Frames over a Unix socket below the data directory: the worker's side.
 *
 * Frames are taken straight from the bytes that were read; only what is left
 * of an incomplete one is kept.  A connection whose peer does not read its
 * answers is not read from either, and is closed once too many are waiting.
 * A connection that fails while one of its frames is being taken is closed
 * after that.  The names in the directory and the side of those who connect
 * are in local_directory.c and local_client.c.
 */
#include "postgres.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/local_socket.h"

#include "lib/ilist.h"
#include "net/local_directory.h"
#include "portability/instr_time.h"
#include "storage/fd.h"

#define NEXUS_BACKLOG 4096		/* the kernel lowers it to its own limit */
#define NEXUS_ACCEPTS_PER_TURN 64
#define NEXUS_CHUNK (64 * 1024) /* bytes read at once */
#define NEXUS_CHUNKS_PER_TURN 4 /* then others have their turn */
#define NEXUS_KEPT_INPUT (256 * 1024)	/* more memory is given back */
#define NEXUS_OUTPUT_PAUSE (1024 * 1024)	/* waiting answers: read no more */
#define NEXUS_OUTPUT_MAX (16 * 1024 * 1024) /* waiting answers: close */
#define NEXUS_CLOSE_MS 1000

typedef struct Connection
{
	dlist_node	node;
	NexusLocalServer *server;
	int			fd;
	NexusLocalPeer peer;
	bool		has_greeted;
	bool		is_busy;		/* its frames are being taken */
	bool		is_lost;		/* close it once it is not busy */
	bool		has_news;		/* answers that the next flush sends */
	NexusBuffer in;				/* begin of an incomplete frame */
	NexusBuffer out;
	size_t		sent;			/* how much of "out" */
} Connection;

struct NexusLocalServer
{
	NexusIoLoop *loop;
	MemoryContext context;
	size_t		max_frame;
	NexusFrameTaken on_frame;
	void	   *arg;
	int			fd;
	int			spare_fd;		/* given up to accept and close at EMFILE */
	uint64		last_connection;
	dlist_head	connections;	/* the last used comes first */
	char		chunk[NEXUS_CHUNK];
};

static void on_connection_ready(void *arg, int fd, int ready);

static size_t
queued(const Connection *connection)
{
	return connection->out.len - connection->sent;
}

static void
close_connection(Connection *connection)
{
	nexus_io_loop_unwatch(connection->server->loop, connection->fd);
	close(connection->fd);
	ReleaseExternalFD();
	dlist_delete(&connection->node);
	nexus_buffer_free(&connection->in);
	nexus_buffer_free(&connection->out);
	pfree(connection);
}

static void
set_interest(Connection *connection)
{
	size_t		waiting = queued(connection);
	int			interest = 0;

	if (waiting < NEXUS_OUTPUT_PAUSE)
		interest |= NEXUS_IO_READ;
	if (waiting > 0)
		interest |= NEXUS_IO_WRITE;
	nexus_io_loop_watch(connection->server->loop, connection->fd, interest,
						on_connection_ready, connection);
}

/* Send what goes without waiting and cut it off; false where the peer is gone. */
static bool
send_some(int fd, NexusText *bytes)
{
	while (bytes->len > 0)
	{
		ssize_t		count = send(fd, bytes->data, bytes->len, MSG_NOSIGNAL);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK;
		bytes->data += count;
		bytes->len -= count;
	}
	return true;
}

static bool
send_queued(Connection *connection)
{
	NexusText	rest = nexus_text_make(connection->out.data + connection->sent,
									   queued(connection));

	if (rest.len > 0 && !send_some(connection->fd, &rest))
		return false;
	connection->sent = connection->out.len - rest.len;
	if (rest.len == 0)
	{
		nexus_buffer_free(&connection->out);
		connection->sent = 0;
	}
	return true;
}

/* Keep bytes for later behind those that wait; false where they are too many. */
static bool
queue(Connection *connection, NexusText bytes)
{
	NexusBuffer *out = &connection->out;

	if (connection->sent > out->len / 2)
	{
		out->len = queued(connection);
		memmove(out->data, out->data + connection->sent, out->len);
		connection->sent = 0;
	}
	return nexus_buffer_append_text(out, bytes);
}

/* One frame; false where it breaks the rules. */
static bool
take_frame(Connection *connection, const NexusFrame *frame)
{
	NexusLocalServer *server = connection->server;
	uint32_t	version;

	if (connection->has_greeted != (frame->kind != NEXUS_FRAME_HELLO))
		return false;
	if (frame->kind == NEXUS_FRAME_HELLO)
	{
		connection->has_greeted = true;
		return nexus_frame_decode_hello(frame->body, &version) && version == NEXUS_FRAME_VERSION;
	}
	server->on_frame(server->arg, &connection->peer, frame);
	return !connection->is_lost;
}

/* All whole frames; how many bytes they were, -1 where one breaks the rules. */
static int64
take_frames(Connection *connection, NexusText bytes)
{
	size_t		used = 0;

	for (;;)
	{
		NexusText	rest = nexus_text_make(bytes.data + used, bytes.len - used);
		NexusFrame	frame;
		int64		len = nexus_frame_decode(rest, connection->server->max_frame, &frame);

		if (len == 0)
			return (int64) used;
		if (len < 0 || !take_frame(connection, &frame))
			return -1;
		used += (size_t) len;
	}
}

static bool
take_bytes(Connection *connection, NexusText bytes)
{
	NexusBuffer *in = &connection->in;
	bool		is_kept = in->len > 0;
	int64		used;

	if (is_kept)
	{
		if (!nexus_buffer_append_text(in, bytes))
			return false;
		bytes = nexus_buffer_view(in);
	}
	used = take_frames(connection, bytes);
	if (used < 0)
		return false;
	bytes.data += used;
	bytes.len -= used;

	if (!is_kept)
		return bytes.len == 0 || nexus_buffer_append_text(in, bytes);
	if (bytes.len == 0 && in->capacity > NEXUS_KEPT_INPUT)
		nexus_buffer_free(in);
	else
		memmove(in->data, bytes.data, bytes.len);
	in->len = bytes.len;
	return true;
}

static bool
receive(Connection *connection)
{
	char	   *chunk = connection->server->chunk;

	for (int i = 0; i < NEXUS_CHUNKS_PER_TURN; i++)
	{
		ssize_t		count = recv(connection->fd, chunk, NEXUS_CHUNK, 0);

		if (count == 0)
			return false;
		if (count < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
		if (!take_bytes(connection, nexus_text_make(chunk, count)))
			return false;
		if (count < NEXUS_CHUNK)
			break;
	}
	return true;
}

static void
on_connection_ready(void *arg, int fd, int ready)
{
	Connection *connection = arg;
	bool		is_good = true;

	connection->is_busy = true;
	if (ready & NEXUS_IO_WRITE)
		is_good = send_queued(connection);
	if (is_good && (ready & NEXUS_IO_READ))
		is_good = receive(connection);
	connection->is_busy = false;

	if (!is_good || connection->is_lost)
		close_connection(connection);
	else
		set_interest(connection);
}

static size_t
max_input(const NexusLocalServer *server)
{
	return server->max_frame + NEXUS_CHUNK;
}

static void
add_connection(NexusLocalServer *server, int fd)
{
	struct ucred credentials;
	socklen_t	len = sizeof(credentials);
	Connection *connection;

	/* The directory keeps others out; this makes sure. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len) < 0 ||
		credentials.uid != geteuid())
	{
		close(fd);
		return;
	}

	/* Acquiring could fail long before there are too many. */
	ReserveExternalFD();

	connection = MemoryContextAllocZero(server->context, sizeof(Connection));
	connection->server = server;
	connection->fd = fd;
	connection->peer.connection = ++server->last_connection;
	connection->peer.pid = credentials.pid;
	nexus_buffer_init(&connection->in, max_input(server));
	nexus_buffer_init(&connection->out, NEXUS_OUTPUT_MAX);
	dlist_push_tail(&server->connections, &connection->node);
	set_interest(connection);
}

/*
 * Out of descriptors: a connection that cannot be accepted would keep us
 * awake for ever, so it is accepted with the spare one and closed.
 */
static bool
turn_away(NexusLocalServer *server)
{
	int			fd;

	if ((errno != EMFILE && errno != ENFILE) || server->spare_fd < 0)
		return false;
	close(server->spare_fd);
	fd = accept(server->fd, NULL, NULL);
	if (fd >= 0)
		close(fd);
	server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return fd >= 0;
}

static void
on_listen_ready(void *arg, int listen_fd, int ready)
{
	NexusLocalServer *server = arg;

	for (int i = 0; i < NEXUS_ACCEPTS_PER_TURN; i++)
	{
		int			fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
			add_connection(server, fd);
		else if (errno != ECONNABORTED && errno != EINTR && !turn_away(server))
			break;
	}
}

NexusLocalServer *
nexus_local_socket_listen(NexusIoLoop *loop, Oid database, size_t max_frame,
						  NexusFrameTaken on_frame, void *arg)
{
	NexusLocalServer *server = palloc0(sizeof(NexusLocalServer));

	server->loop = loop;
	server->context = CurrentMemoryContext;
	server->max_frame = max_frame;
	server->on_frame = on_frame;
	server->arg = arg;
	dlist_init(&server->connections);

	nexus_local_directory_create();
	server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (server->fd < 0)
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not create a Unix socket: %m")));
	PG_TRY();
	{
		nexus_local_directory_listen(server->fd, database, NEXUS_BACKLOG);
		nexus_io_loop_watch(loop, server->fd, NEXUS_IO_READ, on_listen_ready, server);
	}
	PG_CATCH();
	{
		close(server->fd);
		PG_RE_THROW();
	}
	PG_END_TRY();
	server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	/* The two descriptors of the server itself. */
	ReserveExternalFD();
	ReserveExternalFD();
	return server;
}

void
nexus_local_socket_set_max_frame(NexusLocalServer *server, size_t max_frame)
{
	dlist_iter	iter;

	server->max_frame = max_frame;
	/* what one has kept already stays within its limit */
	dlist_foreach(iter, &server->connections)
	{
		Connection *connection = dlist_container(Connection, node, iter.cur);

		connection->in.max = Max(max_input(server), connection->in.len);
	}
}

static Connection *
find_connection(NexusLocalServer *server, uint64 number)
{
	dlist_iter	iter;

	dlist_foreach(iter, &server->connections)
	{
		Connection *connection = dlist_container(Connection, node, iter.cur);

		if (connection->peer.connection == number)
			return connection;
	}
	return NULL;
}

bool
nexus_local_socket_reply(NexusLocalServer *server, uint64 number, NexusText frames)
{
	Connection *connection = find_connection(server, number);

	if (connection == NULL || connection->is_lost)
		return false;
	dlist_move_head(&server->connections, &connection->node);
	connection->has_news = true;
	/* the next flush closes it */
	connection->is_lost = !queue(connection, frames);
	return !connection->is_lost;
}

void
nexus_local_socket_flush(NexusLocalServer *server)
{
	dlist_mutable_iter iter;

	/* those with news were used last */
	dlist_foreach_modify(iter, &server->connections)
	{
		Connection *connection = dlist_container(Connection, node, iter.cur);

		if (!connection->has_news)
			break;
		connection->has_news = false;
		if (!connection->is_lost && send_queued(connection))
			set_interest(connection);
		else
			close_connection(connection);
	}
}

/* Wait until one that has answers waiting can take more, and send them. */
static bool
send_before(NexusLocalServer *server, int timeout_ms)
{
	dlist_mutable_iter iter;
	struct pollfd one = {.fd = -1,.events = POLLOUT};

	dlist_foreach_modify(iter, &server->connections)
	{
		Connection *connection = dlist_container(Connection, node, iter.cur);

		if (queued(connection) == 0)
			continue;
		if (!send_queued(connection))
			close_connection(connection);
		else if (queued(connection) > 0 && one.fd < 0)
			one.fd = connection->fd;
	}
	return one.fd >= 0 && timeout_ms > 0 && poll(&one, 1, timeout_ms) > 0;
}

void
nexus_local_socket_close(NexusLocalServer *server)
{
	instr_time	start;
	instr_time	passed;
	int			left = NEXUS_CLOSE_MS;

	nexus_io_loop_unwatch(server->loop, server->fd);
	close(server->fd);
	if (server->spare_fd >= 0)
		close(server->spare_fd);
	ReleaseExternalFD();
	ReleaseExternalFD();

	INSTR_TIME_SET_CURRENT(start);
	while (send_before(server, left))
	{
		INSTR_TIME_SET_CURRENT(passed);
		INSTR_TIME_SUBTRACT(passed, start);
		left = NEXUS_CLOSE_MS - (int) INSTR_TIME_GET_MILLISEC(passed);
	}

	while (!dlist_is_empty(&server->connections))
		close_connection(dlist_head_element(Connection, node, &server->connections));
	pfree(server);
}
