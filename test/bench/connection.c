/*
 * connection.c
 *	  Connections on epoll, and the messages of HTTP/1.1 that come on them.
 */
#include "connection.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define EVENTS 64
#define FIRST_BUFFER 4096
#define MAX_BUFFER (64 << 20)

static int	epoll_fd;

void
connection_init(void)
{
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		bench_die("epoll_create1: %s", strerror(errno));
}

void
connection_turn(int timeout_ms)
{
	struct epoll_event events[EVENTS];
	int			count = epoll_wait(epoll_fd, events, EVENTS, timeout_ms);

	if (count < 0 && errno != EINTR)
		bench_die("epoll_wait: %s", strerror(errno));
	for (int i = 0; i < count; i++)
	{
		Connection *connection = events[i].data.ptr;

		connection->on_event(connection);
	}
}

void
connection_watch(Connection *connection, int operation, uint32_t events)
{
	struct epoll_event event = {.events = events,.data.ptr = connection};

	if (epoll_ctl(epoll_fd, operation, connection->fd, &event) != 0)
		bench_die("epoll_ctl: %s", strerror(errno));
}

void
connection_close(Connection *connection)
{
	if (connection->fd >= 0)
		close(connection->fd);
	connection->fd = -1;
	connection->len = 0;
}

int
connection_socket(void)
{
	int			fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		bench_die("socket: %s", strerror(errno));
	connection_send_at_once(fd);
	return fd;
}

void
connection_send_at_once(int fd)
{
	int			on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void
make_room(Connection *connection)
{
	if (connection->len < connection->size)
		return;
	connection->size = connection->size == 0 ? FIRST_BUFFER : connection->size * 2;
	if (connection->size > MAX_BUFFER)
		bench_die("a message is longer than %d bytes", MAX_BUFFER);
	connection->data = realloc(connection->data, connection->size);
	if (connection->data == NULL)
		bench_die("out of memory");
}

bool
connection_receive(Connection *connection)
{
	ssize_t		got;

	make_room(connection);
	got = recv(connection->fd, connection->data + connection->len, connection->size - connection->len, 0);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (got <= 0)
		return false;
	connection->len += (size_t) got;
	return true;
}

bool
connection_send(Connection *connection, const char *data, size_t len)
{
	ssize_t		sent = send(connection->fd, data, len, MSG_NOSIGNAL);

	if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
		return false;
	if (sent < 0)
		bench_die("send: %s", strerror(errno));
	if ((size_t) sent < len)
		bench_die("a peer does not read what it is sent");
	return true;
}

Text
connection_head(const Connection *connection)
{
	char	   *end = connection->len == 0 ? NULL : memmem(connection->data, connection->len, "\r\n\r\n", 4);
	Text		head = {connection->data, end == NULL ? 0 : (size_t) (end - connection->data) + 2};

	return head;
}

void
connection_consume(Connection *connection, size_t len)
{
	connection->len -= len;
	memmove(connection->data, connection->data + len, connection->len);
}

bool
text_cut(Text *rest, const char *separator, Text *front)
{
	size_t		separator_len = strlen(separator);
	char	   *end = memmem(rest->data, rest->len, separator, separator_len);

	if (end == NULL)
		return false;
	front->data = rest->data;
	front->len = (size_t) (end - rest->data);
	rest->data = end + separator_len;
	rest->len -= front->len + separator_len;
	return true;
}

bool
text_is(Text text, const char *other)
{
	return text.len == strlen(other) && strncasecmp(text.data, other, text.len) == 0;
}

bool
text_begins_with(Text text, const char *prefix)
{
	return text.len >= strlen(prefix) && strncasecmp(text.data, prefix, strlen(prefix)) == 0;
}

long
text_number(Text text)
{
	long		value = 0;

	for (size_t i = 0; i < text.len; i++)
	{
		if (text.data[i] < '0' || text.data[i] > '9' || value > INT_MAX / 10)
			bench_die("no number: %.*s", (int) text.len, text.data);
		value = value * 10 + text.data[i] - '0';
	}
	if (text.len == 0)
		bench_die("a number is missing");
	return value;
}

bool
text_next_header(Text *lines, Text *name, Text *value)
{
	Text		line;

	if (!text_cut(lines, "\r\n", &line))
		return false;
	*value = line;
	if (!text_cut(value, ":", name))
		bench_die("no header: %.*s", (int) line.len, line.data);
	while (value->len > 0 && *value->data == ' ')
	{
		value->data++;
		value->len--;
	}
	return true;
}
