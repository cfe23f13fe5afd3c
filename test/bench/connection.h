/*
 * connection.h
 *	  Connections on epoll, and the messages of HTTP/1.1 that come on them.
 *
 * For a program with one thread whose peers are trusted: what they send and it
 * does not understand ends it.
 */
#ifndef NEXUS_BENCH_CONNECTION_H
#define NEXUS_BENCH_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Part of a message, with no NUL behind it. */
typedef struct Text
{
	const char *data;
	size_t		len;
} Text;

struct Callback;

typedef struct Connection
{
	void		(*on_event) (struct Connection *connection);
	int			fd;				/* -1 = none */
	char	   *data;			/* what has come and is not used up */
	size_t		len;
	size_t		size;
	/* of connections that carry callbacks */
	int			port;
	bool		is_connecting;
	struct Callback *callback;	/* NULL = idle */
} Connection;

extern void connection_init(void);

/* Call on_event of the connections that have events; wait for them so long, -1 = for ever. */
extern void connection_turn(int timeout_ms);

/* Ask for events, by an operation of epoll_ctl. */
extern void connection_watch(Connection *connection, int operation, uint32_t events);

extern void connection_close(Connection *connection);

/* A new socket; its small messages are sent at once. */
extern int	connection_socket(void);
extern void connection_send_at_once(int fd);

/* Read what is there; false when the other side has gone. */
extern bool connection_receive(Connection *connection);

/*
 * Messages are short and peers read them, so there is always room for them;
 * false when the other side has gone.
 */
extern bool connection_send(Connection *connection, const char *data, size_t len);

/* The head without the empty line behind it; an empty text until all of it has come. */
extern Text connection_head(const Connection *connection);

/* Throw away what has been used up. */
extern void connection_consume(Connection *connection, size_t len);

/* Take the text up to a separator off the front of another; false where there is none. */
extern bool text_cut(Text *rest, const char *separator, Text *front);

/* Without regard to case. */
extern bool text_is(Text text, const char *other);
extern bool text_begins_with(Text text, const char *prefix);

/* A text of digits. */
extern long text_number(Text text);

/* Take the next header off lines; false behind the last one. */
extern bool text_next_header(Text *lines, Text *name, Text *value);

#endif							/* NEXUS_BENCH_CONNECTION_H */
