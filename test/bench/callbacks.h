/*
 * callbacks.h
 *	  Callbacks that wait to be sent, and the connections that carry them.
 */
#ifndef NEXUS_BENCH_CALLBACKS_H
#define NEXUS_BENCH_CALLBACKS_H

#include <stddef.h>

#define CALLBACK_REQUEST_MAX 1536

/* A callback request, ready to be sent to a port of this machine. */
typedef struct Callback
{
	struct Callback *next;
	double		due;
	int			tries;
	int			port;
	size_t		len;
	char		request[CALLBACK_REQUEST_MAX];
} Callback;

typedef struct CallbackCounters
{
	long		callbacks;		/* that were accepted */
	long		repeated;
	long		refused;
} CallbackCounters;

extern void callbacks_init(int connection_count);

/* One that the caller fills and sends. */
extern Callback *callbacks_new(void);

extern void callbacks_send(Callback *callback, int delay_ms);

/* Give idle connections what is due; how long until there is more, in ms, -1 = unknown. */
extern int	callbacks_send_due(void);

extern CallbackCounters callbacks_counters(void);

#endif							/* NEXUS_BENCH_CALLBACKS_H */
