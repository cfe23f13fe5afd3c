/*
 * http_callbacks.c
 *	  What libcurl calls back into.
 *
 * All of it runs below a libcurl frame with signals blocked: it may use malloc
 * and system calls, but no memory context, and must not raise.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <time.h>
#include <unistd.h>

#include "net/http_callbacks.h"

#include "net/link_local.h"

/* Added to libcurl's timers, which are cut to whole milliseconds. */
#define NEXUS_TIMER_SLACK_US 1000

int64
nexus_http_callbacks_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64CONST(1000000) + now.tv_nsec / 1000;
}

void
nexus_http_callbacks_settle_host(NexusHttpCall *call, bool is_resolved)
{
	NexusHttpClient *client = call->client;
	NexusResolveHost *host = call->host;
	dlist_mutable_iter iter;

	if (host == NULL || call->state != NEXUS_CALL_RUNNING)
		return;
	call->host = NULL;
	nexus_resolve_gate_settle(host, is_resolved, nexus_http_callbacks_now_us());
	dlist_foreach_modify(iter, &client->waiting)
	{
		NexusHttpCall *other = dlist_container(NexusHttpCall, node, iter.cur);

		if (other->host != host)
			continue;
		other->host = NULL;
		dlist_delete(&other->node);
		dlist_push_tail(&client->pending, &other->node);
		other->state = NEXUS_CALL_PENDING;
	}
}

static void
refuse(NexusHttpCall *call, const char *address)
{
	call->is_refused = true;
	strlcpy(call->refused_address, address, sizeof(call->refused_address));
}

static void
refuse_binary(NexusHttpCall *call, const struct sockaddr *address)
{
	char		text[INET6_ADDRSTRLEN] = "";
	const void *bytes = address->sa_family == AF_INET ?
	(const void *) &((const struct sockaddr_in *) address)->sin_addr :
	(const void *) &((const struct sockaddr_in6 *) address)->sin6_addr;

	(void) inet_ntop(address->sa_family, bytes, text, sizeof(text));
	refuse(call, text);
}

/* CURLOPT_OPENSOCKETFUNCTION */
static curl_socket_t
on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	NexusHttpCall *call = arg;
	NexusHttpClient *client = call->client;
	int			fd;

	nexus_http_callbacks_settle_host(call, true);
	if (nexus_link_local_is(&address->addr))
	{
		if (!call->allow_link_local)
		{
			refuse_binary(call, &address->addr);
			return CURL_SOCKET_BAD;
		}
		client->has_link_local = true;
	}

	fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	if (!nexus_socket_table_opened(&client->sockets, fd, call))
	{
		close(fd);
		return CURL_SOCKET_BAD;
	}
	call->has_socket = true;
	return fd;
}

/* CURLOPT_CLOSESOCKETFUNCTION */
static int
on_close_socket(void *arg, curl_socket_t fd)
{
	NexusHttpClient *client = arg;

	nexus_socket_table_closing(&client->sockets, fd);
	return close(fd);
}

/* CURLOPT_PREREQFUNCTION: there is a connection, perhaps one used before. */
static int
on_connected(void *arg, char *remote, char *local, int remote_port, int local_port)
{
	NexusHttpCall *call = arg;

	call->is_connected = true;
	nexus_http_callbacks_settle_host(call, true);
	if (call->has_socket)
		nexus_socket_table_settle(&call->client->sockets, call, local_port);
	if (call->client->has_link_local && !call->allow_link_local &&
		nexus_link_local_is_text(remote))
	{
		refuse(call, remote);
		return CURL_PREREQFUNC_ABORT;
	}
	return CURL_PREREQFUNC_OK;
}

/* CURLMOPT_SOCKETFUNCTION */
static int
on_interest(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
	NexusHttpClient *client = arg;
	int			interest = 0;

	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		interest |= NEXUS_IO_READ;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		interest |= NEXUS_IO_WRITE;
	return nexus_socket_table_want(&client->sockets, fd, interest) ? 0 : -1;
}

/* CURLMOPT_TIMERFUNCTION */
static int
on_timer(CURLM *multi, long timeout_ms, void *arg)
{
	NexusHttpClient *client = arg;

	if (timeout_ms < 0)
		client->timer_us = NEXUS_HTTP_NEVER;
	else if (timeout_ms == 0)
		client->timer_us = 0;
	else
		client->timer_us = nexus_http_callbacks_now_us() +
			timeout_ms * INT64CONST(1000) + NEXUS_TIMER_SLACK_US;
	return 0;
}

bool
nexus_http_callbacks_set_multi(NexusHttpClient *client)
{
	CURLM	   *multi = client->multi;

	return curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_interest) == CURLM_OK &&
		curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, client) == CURLM_OK &&
		curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK &&
		curl_multi_setopt(multi, CURLMOPT_TIMERDATA, client) == CURLM_OK &&
		curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, client->max_connections) == CURLM_OK;
}

bool
nexus_http_callbacks_set_easy(NexusHttpCall *call)
{
	CURL	   *easy = call->easy;
	bool		ok = nexus_http_call_set_constant(call);

	NEXUS_SET_OPTION(ok, easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	NEXUS_SET_OPTION(ok, easy, CURLOPT_OPENSOCKETDATA, call);
	NEXUS_SET_OPTION(ok, easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
	NEXUS_SET_OPTION(ok, easy, CURLOPT_CLOSESOCKETDATA, call->client);
	NEXUS_SET_OPTION(ok, easy, CURLOPT_PREREQFUNCTION, on_connected);
	NEXUS_SET_OPTION(ok, easy, CURLOPT_PREREQDATA, call);
	return ok;
}
