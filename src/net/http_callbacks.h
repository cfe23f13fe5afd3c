/*
 * http_callbacks.h
 *	  What libcurl calls back into; private to http_client.c.
 */
#ifndef NEXUS_NET_HTTP_CALLBACKS_H
#define NEXUS_NET_HTTP_CALLBACKS_H

#include "net/http_call.h"
#include "net/socket_table.h"

#define NEXUS_HTTP_NEVER PG_INT64_MAX

struct NexusHttpClient
{
	CURLM	   *multi;
	NexusSocketTable sockets;
	NexusResolveGate gate;
	int64		timer_us;		/* monotonic: libcurl wants to be called then */
	int			in_flight;
	int			calls;			/* in all lists */
	long		max_connections;
	bool		has_link_local; /* one was ever connected to */
	dlist_head	pool;
	dlist_head	pending;
	dlist_head	waiting;
	dlist_head	running;
	dlist_head	done;
};

/* Microseconds on the monotonic clock. */
extern int64 nexus_http_callbacks_now_us(void);

/* Set the callbacks of the multi handle, and max_connections. */
extern bool nexus_http_callbacks_set_multi(NexusHttpClient *client);

/* Set all constant options of a call's handle that is new or was reset. */
extern bool nexus_http_callbacks_set_easy(NexusHttpCall *call);

/*
 * The name that a running call led the way to is known, or will not be: those
 * that waited for it become pending.
 */
extern void nexus_http_callbacks_settle_host(NexusHttpCall *call, bool is_resolved);

#endif							/* NEXUS_NET_HTTP_CALLBACKS_H */
