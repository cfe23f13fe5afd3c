/*
 * async_handler.c
 *	  A handler that answers 201 and calls back over connections that it keeps.
 *
 * async_handler CONNECTIONS
 *
 * It listens on a free port of 127.0.0.1, which it prints.  What happens to an
 * operation is in its name: "hold" is never called back, "delay-100" after 100
 * ms, "until-canceled" once its cancel request has come, all others at once, in
 * the order of their starts.
 *
 * SIGTERM ends it: it prints what it has done.  It trusts its peers, so what it
 * does not understand ends it, too.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "callbacks.h"
#include "connection.h"

#define BACKLOG 1024
#define HEADERS_MAX 512
#define TOKEN_MAX 64
#define ANSWER_MAX 256

#define HEADER_PREFIX "Nexus-Callback-"
#define DELAY_PREFIX "delay-"
#define CANCEL_SUFFIX "/cancel"
#define MAX_CANCELABLE 65536
#define ACCEPTED "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
#define CANCELED "{\"message\": \"as it was asked for\"}"
#define RESULT "{\"message\": \"Hello, Ada Lovelace!\", \"language\": \"en\"}"

/* What a start or cancel request says, as far as it matters here. */
typedef struct Start
{
	bool		is_cancel;
	Text		operation;
	Text		token;			/* of what is canceled */
	Text		callback_url;	/* still escaped */
	char		headers[HEADERS_MAX];	/* that the callback has to carry */
	size_t		headers_len;
	size_t		content_length;
} Start;

static Connection listener;
static Connection signals;
static bool is_ending;
static long starts;
static long held;
static long canceled;
static Callback *cancelable[MAX_CANCELABLE];	/* by the number in the token */

/* ---- reading a start ---- */

static bool
text_ends_with(Text text, const char *suffix)
{
	size_t		len = strlen(suffix);

	return text.len >= len && memcmp(text.data + text.len - len, suffix, len) == 0;
}

static void
read_target(Text target, Start *start)
{
	Text		path;
	Text		segment;

	start->is_cancel = text_ends_with(target, CANCEL_SUFFIX);
	if (start->is_cancel)
		return;
	if (!text_cut(&target, "?callback=", &path) || memchr(target.data, '&', target.len) != NULL)
		bench_die("a start must have a callback and no other parameter: %.*s", (int) target.len, target.data);
	start->callback_url = target;
	while (text_cut(&path, "/", &segment))
		;
	start->operation = path;
}

static void
keep_for_callback(Start *start, Text name, Text value)
{
	size_t		room = HEADERS_MAX - start->headers_len;
	size_t		skipped = strlen(HEADER_PREFIX);
	int			len = snprintf(start->headers + start->headers_len, room, "%.*s: %.*s\r\n",
							   (int) (name.len - skipped), name.data + skipped, (int) value.len, value.data);

	if ((size_t) len >= room)
		bench_die("the headers of a callback are too long");
	start->headers_len += (size_t) len;
}

static void
read_start(Text head, Start *start)
{
	Text		method;
	Text		target;
	Text		name;
	Text		value;

	if (!text_cut(&head, " ", &method) || !text_is(method, "POST") || !text_cut(&head, " ", &target) ||
		!text_cut(&head, "\r\n", &value) || !text_is(value, "HTTP/1.1"))
		bench_die("no start request: %.*s", (int) head.len, head.data);
	read_target(target, start);
	start->token.len = 0;
	start->headers_len = 0;
	start->content_length = 0;
	while (text_next_header(&head, &name, &value))
	{
		if (text_begins_with(name, HEADER_PREFIX))
			keep_for_callback(start, name, value);
		else if (text_is(name, "Nexus-Operation-Token"))
			start->token = value;
		else if (text_is(name, "Content-Length"))
			start->content_length = (size_t) text_number(value);
		else if (text_is(name, "Transfer-Encoding") || text_is(name, "Expect"))
			bench_die("this handler does not know %.*s", (int) name.len, name.data);
	}
}

/* ---- its callback ---- */

static char
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return (char) (c - '0');
	if (c >= 'A' && c <= 'F')
		return (char) (c - 'A' + 10);
	bench_die("no hexadecimal digit in a callback URL: %c", c);
}

static void
unescape(Text text, char *out, size_t size)
{
	if (text.len >= size)
		bench_die("a callback URL is too long");
	for (size_t i = 0; i < text.len; i++)
	{
		if (text.data[i] != '%')
			*out++ = text.data[i];
		else if (i + 2 < text.len)
		{
			*out++ = (char) (hex_digit(text.data[i + 1]) << 4 | hex_digit(text.data[i + 2]));
			i += 2;
		}
		else
			bench_die("a callback URL ends too early: %.*s", (int) text.len, text.data);
	}
	*out = '\0';
}

static Callback *
make_callback(const Start *start, const char *token, const char *state, const char *body)
{
	Callback   *callback = callbacks_new();
	char		url[CALLBACK_REQUEST_MAX];
	int			path = 0;
	int			len;

	unescape(start->callback_url, url, sizeof(url));
	if (sscanf(url, "http://127.0.0.1:%d%n", &callback->port, &path) != 1 || url[path] != '/')
		bench_die("callbacks go to http://127.0.0.1:PORT/ only, not to %s", url);
	len = snprintf(callback->request, CALLBACK_REQUEST_MAX,
				   "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%.*sNexus-Operation-State: %s\r\n"
				   "Nexus-Operation-Token: %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
				   url + path, callback->port, (int) start->headers_len, start->headers, state, token, strlen(body), body);
	if (len >= CALLBACK_REQUEST_MAX)
		bench_die("a callback is too long");
	callback->len = (size_t) len;
	return callback;
}

static void
keep_until_canceled(const Start *start, const char *token)
{
	Callback  **place = &cancelable[starts % MAX_CANCELABLE];

	if (*place != NULL)
		bench_die("an operation was not canceled for %d others", MAX_CANCELABLE);
	*place = make_callback(start, token, "canceled", CANCELED);
}

static void
schedule_callback(const Start *start, const char *token)
{
	Text		operation = start->operation;

	if (text_is(operation, "hold"))
		held++;
	else if (text_begins_with(operation, DELAY_PREFIX))
	{
		operation.data += strlen(DELAY_PREFIX);
		operation.len -= strlen(DELAY_PREFIX);
		callbacks_send(make_callback(start, token, "succeeded", RESULT), (int) text_number(operation));
	}
	else if (text_is(operation, "until-canceled"))
		keep_until_canceled(start, token);
	else
		callbacks_send(make_callback(start, token, "succeeded", RESULT), 0);
}

static bool
answer_cancel(Connection *peer, const Start *start)
{
	Text		number = start->token;
	Text		pid;
	Callback  **place;

	if (!text_cut(&number, "-", &pid))
		bench_die("an unknown operation is canceled: %.*s", (int) start->token.len, start->token.data);
	place = &cancelable[text_number(number) % MAX_CANCELABLE];
	if (*place != NULL)
	{
		canceled++;
		callbacks_send(*place, 0);
	}
	*place = NULL;
	return connection_send(peer, ACCEPTED, strlen(ACCEPTED));
}

/* ---- connections ---- */

static bool
answer_start(Connection *peer, const Start *start)
{
	char		token[TOKEN_MAX];
	char		body[ANSWER_MAX];
	char		answer[ANSWER_MAX];
	int			len;

	snprintf(token, sizeof(token), "%ld-%ld", (long) getpid(), ++starts);
	len = snprintf(body, sizeof(body), "{\"token\": \"%s\", \"state\": \"running\"}", token);
	len = snprintf(answer, sizeof(answer), "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
				   "Content-Length: %d\r\n\r\n%s", len, body);
	schedule_callback(start, token);
	return connection_send(peer, answer, (size_t) len);
}

/* False when the other side has gone. */
static bool
serve(Connection *peer)
{
	Start		start;
	Text		head;

	if (!connection_receive(peer))
		return false;
	while ((head = connection_head(peer)).len > 0)
	{
		size_t		total;

		read_start(head, &start);
		total = head.len + 2 + start.content_length;
		if (peer->len < total)
			return true;
		if (!(start.is_cancel ? answer_cancel : answer_start) (peer, &start))
			return false;
		connection_consume(peer, total);
	}
	return true;
}

static void
on_request(Connection *peer)
{
	if (serve(peer))
		return;
	connection_close(peer);
	free(peer->data);
	free(peer);
}

static void
on_peer(Connection *connection)
{
	Connection *peer;
	int			fd = accept4(connection->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR))
		return;
	if (fd < 0 || (peer = calloc(1, sizeof(Connection))) == NULL)
		bench_die("a connection could not be accepted: %s", strerror(errno));
	peer->fd = fd;
	peer->on_event = on_request;
	connection_send_at_once(fd);
	connection_watch(peer, EPOLL_CTL_ADD, EPOLLIN);
}

static int
listen_for_peers(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t	len = sizeof(address);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener.fd = connection_socket();
	listener.on_event = on_peer;
	if (bind(listener.fd, (struct sockaddr *) &address, len) != 0 || listen(listener.fd, BACKLOG) != 0 ||
		getsockname(listener.fd, (struct sockaddr *) &address, &len) != 0)
		bench_die("could not listen: %s", strerror(errno));
	connection_watch(&listener, EPOLL_CTL_ADD, EPOLLIN);
	return ntohs(address.sin_port);
}

static void
on_signal(Connection *connection)
{
	(void) connection;
	is_ending = true;
}

static void
listen_for_signals(void)
{
	sigset_t	set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals.fd = signalfd(-1, &set, SFD_CLOEXEC);
	signals.on_event = on_signal;
	if (signals.fd < 0)
		bench_die("signalfd: %s", strerror(errno));
	connection_watch(&signals, EPOLL_CTL_ADD, EPOLLIN);
}

int
main(int argc, char **argv)
{
	CallbackCounters counters;

	if (argc != 2)
		bench_die("usage: async_handler CONNECTIONS");
	connection_init();
	callbacks_init(atoi(argv[1]));
	listen_for_signals();
	printf("{\"port\": %d}\n", listen_for_peers());
	fflush(stdout);
	while (!is_ending)
		connection_turn(callbacks_send_due());
	counters = callbacks_counters();
	printf("{\"starts\": %ld, \"held\": %ld, \"canceled\": %ld, \"callbacks\": %ld, \"repeated\": %ld, \"refused\": %ld}\n",
		   starts, held, canceled, counters.callbacks, counters.repeated, counters.refused);
	return 0;
}
