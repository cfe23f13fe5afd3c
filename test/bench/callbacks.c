/*
 * callbacks.c
 *	  Callbacks that wait to be sent, and the connections that carry them.
 *
 * A connection carries one callback at a time.  What is answered with a status
 * that may be tried again, or not at all, is sent again.
 */
#include "callbacks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "bench.h"
#include "connection.h"

#define MAX_CONNECTIONS 1024
#define MAX_LANES 32
#define MAX_TRIES 600			/* a minute */
#define REPEAT_MS 100

/* Callbacks with the same delay become due in the order in which they came. */
typedef struct Lane
{
	int			delay_ms;
	Callback   *first;
	Callback   *last;
} Lane;

static Connection connections[MAX_CONNECTIONS];
static Connection *idle[MAX_CONNECTIONS];
static int	idle_count;
static Lane lanes[MAX_LANES];
static int	lane_count;
static Callback *spare;
static CallbackCounters counters;

static void on_answer(Connection *connection);

void
callbacks_init(int connection_count)
{
	if (connection_count < 1 || connection_count > MAX_CONNECTIONS)
		bench_die("1 to %d connections can carry callbacks", MAX_CONNECTIONS);
	for (int i = 0; i < connection_count; i++)
	{
		connections[i].fd = -1;
		connections[i].on_event = on_answer;
		idle[idle_count++] = &connections[i];
	}
}

CallbackCounters
callbacks_counters(void)
{
	return counters;
}

Callback *
callbacks_new(void)
{
	Callback   *callback = spare;

	if (callback != NULL)
		spare = callback->next;
	else if ((callback = malloc(sizeof(Callback))) == NULL)
		bench_die("out of memory");
	callback->tries = 0;
	return callback;
}

static void
forget(Callback *callback)
{
	callback->next = spare;
	spare = callback;
}

/* ---- what waits ---- */

static Lane *
lane_of(int delay_ms)
{
	for (int i = 0; i < lane_count; i++)
		if (lanes[i].delay_ms == delay_ms)
			return &lanes[i];
	if (lane_count == MAX_LANES)
		bench_die("callbacks have more than %d different delays", MAX_LANES);
	lanes[lane_count].delay_ms = delay_ms;
	return &lanes[lane_count++];
}

static Lane *
next_lane(void)
{
	Lane	   *next = NULL;

	for (int i = 0; i < lane_count; i++)
		if (lanes[i].first != NULL && (next == NULL || lanes[i].first->due < next->first->due))
			next = &lanes[i];
	return next;
}

void
callbacks_send(Callback *callback, int delay_ms)
{
	Lane	   *lane = lane_of(delay_ms);

	callback->due = bench_now() + delay_ms / 1e3;
	callback->next = NULL;
	if (lane->first == NULL)
		lane->first = callback;
	else
		lane->last->next = callback;
	lane->last = callback;
}

static void
repeat(Callback *callback)
{
	if (++callback->tries < MAX_TRIES)
	{
		counters.repeated++;
		callbacks_send(callback, REPEAT_MS);
		return;
	}
	if (counters.refused++ == 0)
		fprintf(stderr, "a callback was given up after %d tries\n", MAX_TRIES);
	forget(callback);
}

/* ---- what is under way ---- */

static Callback *
release(Connection *connection)
{
	Callback   *callback = connection->callback;

	if (callback != NULL)
	{
		connection->callback = NULL;
		idle[idle_count++] = connection;
	}
	return callback;
}

static void
lose(Connection *connection)
{
	Callback   *callback = release(connection);

	connection_close(connection);
	if (callback != NULL)
		repeat(callback);
}

static void
begin_to_connect(Connection *connection, int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,.sin_port = htons((uint16_t) port)};

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	connection->fd = connection_socket();
	connection->port = port;
	connection->is_connecting = true;
	if (connect(connection->fd, (struct sockaddr *) &address, sizeof(address)) == 0 || errno == EINPROGRESS)
		connection_watch(connection, EPOLL_CTL_ADD, EPOLLOUT);
	else
		lose(connection);
}

static void
send_request(Connection *connection)
{
	if (!connection_send(connection, connection->callback->request, connection->callback->len))
		lose(connection);
}

static void
on_connected(Connection *connection)
{
	int			error = 0;
	socklen_t	len = sizeof(error);

	getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error != 0)
	{
		lose(connection);
		return;
	}
	connection->is_connecting = false;
	connection_watch(connection, EPOLL_CTL_MOD, EPOLLIN);
	send_request(connection);
}

/* Status and length of an answer, once all of it is there. */
static bool
read_answer(const Connection *connection, long *status, bool *is_last)
{
	Text		head = connection_head(connection);
	Text		text;
	Text		name;
	Text		value;
	long		length = -1;

	if (head.len == 0)
		return false;
	if (connection->callback == NULL || !text_cut(&head, " ", &text) || !text_is(text, "HTTP/1.1") ||
		!text_cut(&head, " ", &text) || !text_cut(&head, "\r\n", &value))
		bench_die("no answer to a callback: %.*s", (int) connection->len, connection->data);
	*status = text_number(text);
	*is_last = false;
	while (text_next_header(&head, &name, &value))
	{
		if (text_is(name, "Content-Length"))
			length = text_number(value);
		else if (text_is(name, "Connection"))
			*is_last = text_is(value, "close");
	}
	if (length < 0)
		bench_die("an answer without its length: %.*s", (int) connection->len, connection->data);
	return (size_t) (head.data + 2 - connection->data + length) <= connection->len;
}

static bool
may_be_tried_again(long status)
{
	return status == 408 || status == 429 || (status >= 500 && status != 501);
}

static void
take_answer(Connection *connection, long status)
{
	Callback   *callback = release(connection);

	if (may_be_tried_again(status))
	{
		repeat(callback);
		return;
	}
	if (status >= 200 && status < 300)
		counters.callbacks++;
	else if (counters.refused++ == 0)
		fprintf(stderr, "a callback was refused: %.*s\n", (int) connection->len, connection->data);
	forget(callback);
}

static void
on_answer(Connection *connection)
{
	long		status;
	bool		is_last;

	if (connection->is_connecting)
		on_connected(connection);
	else if (!connection_receive(connection))
		lose(connection);
	else if (read_answer(connection, &status, &is_last))
	{
		take_answer(connection, status);
		connection->len = 0;
		if (is_last)
			connection_close(connection);
	}
}

int
callbacks_send_due(void)
{
	double		now = bench_now();
	Lane	   *lane;

	while (idle_count > 0 && (lane = next_lane()) != NULL)
	{
		Connection *connection = idle[idle_count - 1];
		Callback   *callback = lane->first;

		if (callback->due > now)
			return (int) ((callback->due - now) * 1e3) + 1;
		idle_count--;
		lane->first = callback->next;
		connection->callback = callback;
		if (connection->fd >= 0 && connection->port != callback->port)
			connection_close(connection);
		if (connection->fd < 0)
			begin_to_connect(connection, callback->port);
		else
			send_request(connection);
	}
	return -1;
}
