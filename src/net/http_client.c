/*
 * http_client.c
 *	  Many HTTP requests at once on one curl multi handle.
 *
 * nexus_http_client_start copies and queues, the loop's callback notes which
 * sockets are ready, and all of libcurl runs inside drive(), so that blocking
 * signals is paid for once a turn.  on_done is called when libcurl has returned.
 * One request's options and result are in http_call.c, what libcurl calls back
 * into is in http_callbacks.c.
 */
#include "postgres.h"

#include <malloc.h>
#include <signal.h>

#include "net/http_client.h"

#include "compat.h"
#include "net/http_callbacks.h"
#include "utils/timestamp.h"

#define NEXUS_RUN_ROUNDS 4		/* then the loop has its turn */
#define NEXUS_MIN_CONNECTIONS 64	/* idle ones are kept up to here at least */
#define NEXUS_LARGE_BLOCK (128 * 1024)

/* Threads that libcurl starts inherit the mask and never run our handlers. */
static void
block_signals(sigset_t *saved)
{
	sigset_t	all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, saved);
}

static void
restore_signals(const sigset_t *saved)
{
	sigprocmask(SIG_SETMASK, saved, NULL);
}

/*
 * Have large blocks given back to the system when they are freed.  glibc does
 * so at first, but with each one freed it takes larger ones for usual, and what
 * is left of many large answers at once would stay for good.
 */
static void
keep_large_blocks_apart(void)
{
#ifdef M_MMAP_THRESHOLD
	(void) mallopt(M_MMAP_THRESHOLD, NEXUS_LARGE_BLOCK);
#endif
}

static void
move(NexusHttpCall *call, dlist_head *list, NexusCallState state)
{
	dlist_delete(&call->node);
	dlist_push_tail(list, &call->node);
	call->state = state;
}

NexusHttpClient *
nexus_http_client_create(NexusIoLoop *loop)
{
	static bool is_library_ready = false;
	NexusHttpClient *client = palloc0(sizeof(NexusHttpClient));
	sigset_t	saved;
	bool		ok;

	nexus_socket_table_init(&client->sockets, loop);
	nexus_resolve_gate_init(&client->gate);
	client->timer_us = NEXUS_HTTP_NEVER;
	client->max_connections = NEXUS_MIN_CONNECTIONS;
	dlist_init(&client->pool);
	dlist_init(&client->pending);
	dlist_init(&client->waiting);
	dlist_init(&client->running);
	dlist_init(&client->done);
	keep_large_blocks_apart();

	block_signals(&saved);
	if (!is_library_ready)
		is_library_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
	if (is_library_ready)
		client->multi = curl_multi_init();
	ok = client->multi != NULL && nexus_http_callbacks_set_multi(client);
	restore_signals(&saved);

	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not initialize the HTTP client")));
	return client;
}

static void
free_calls(NexusHttpClient *client, dlist_head *list)
{
	while (!dlist_is_empty(list))
	{
		NexusHttpCall *call = dlist_container(NexusHttpCall, node, dlist_pop_head_node(list));

		if (call->state == NEXUS_CALL_RUNNING)
			(void) curl_multi_remove_handle(client->multi, call->easy);
		nexus_http_call_free(call);
	}
}

void
nexus_http_client_destroy(NexusHttpClient *client)
{
	sigset_t	saved;

	block_signals(&saved);
	free_calls(client, &client->running);
	free_calls(client, &client->pool);
	free_calls(client, &client->pending);
	free_calls(client, &client->waiting);
	free_calls(client, &client->done);
	(void) curl_multi_cleanup(client->multi);
	restore_signals(&saved);

	nexus_socket_table_free(&client->sockets);
	nexus_resolve_gate_free(&client->gate);
	pfree(client);
}

/* ---- calls ---- */

/* Make one more call and keep libcurl from closing what it needs. */
static NexusHttpCall *
add_call(NexusHttpClient *client)
{
	NexusHttpCall *call;
	sigset_t	saved;

	block_signals(&saved);
	call = nexus_http_call_create(client);
	if (call != NULL && !nexus_http_callbacks_set_easy(call))
	{
		nexus_http_call_free(call);
		call = NULL;
	}
	if (call != NULL && ++client->calls > client->max_connections)
	{
		client->max_connections *= 2;
		(void) curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, client->max_connections);
	}
	restore_signals(&saved);

	if (call != NULL)
		dlist_push_head(&client->pool, &call->node);
	return call;
}

NexusHttpCall *
nexus_http_client_start(NexusHttpClient *client, const NexusHttpRequest *request,
						NexusHttpDone on_done, void *arg)
{
	NexusHttpCall *call;

	if (dlist_is_empty(&client->pool))
		call = add_call(client);
	else
		call = dlist_head_element(NexusHttpCall, node, &client->pool);
	if (call == NULL || !nexus_http_call_copy(call, request))
		return NULL;

	call->on_done = on_done;
	call->arg = arg;
	call->started_us = nexus_http_callbacks_now_us();
	call->deadline_us = call->started_us + request->timeout_ms * INT64CONST(1000);
	call->host = NULL;
	move(call, &client->pending, NEXUS_CALL_PENDING);
	client->in_flight++;
	return call;
}

static void
recycle(NexusHttpCall *call)
{
	NexusHttpClient *client = call->client;

	dlist_delete(&call->node);
	dlist_push_head(&client->pool, &call->node);
	call->state = NEXUS_CALL_FREE;
	client->in_flight--;

	/* of many large answers at once, none is to stay until it is used again */
	nexus_http_response_reset(&call->response, 0);
}

void
nexus_http_client_abort(NexusHttpClient *client, NexusHttpCall *call)
{
	sigset_t	saved;

	switch (call->state)
	{
		case NEXUS_CALL_FREE:
		case NEXUS_CALL_DELIVERING:
			return;
		case NEXUS_CALL_RUNNING:
			block_signals(&saved);
			(void) curl_multi_remove_handle(client->multi, call->easy);
			restore_signals(&saved);
			nexus_http_callbacks_settle_host(call, false);
			nexus_socket_table_settle(&client->sockets, call, 0);
			break;
		case NEXUS_CALL_PENDING:
		case NEXUS_CALL_WAITING:
		case NEXUS_CALL_DONE:
			break;
	}
	recycle(call);
}

static void
finish(NexusHttpCall *call, CURLcode code, int64 now_us)
{
	nexus_http_callbacks_settle_host(call, false);
	if (call->has_socket)
		nexus_socket_table_settle(&call->client->sockets, call, 0);
	call->code = code;
	call->elapsed_us = now_us - call->started_us;
	move(call, &call->client->done, NEXUS_CALL_DONE);
}

/* Hand one call to libcurl, unless it has to wait for its name. */
static void
admit(NexusHttpClient *client, NexusHttpCall *call, int64 now_us)
{
	NexusResolveHost *host = nexus_resolve_gate_find(&client->gate, nexus_text_of(call->url), now_us);
	bool		ok = true;

	if (call->deadline_us <= now_us)
	{
		finish(call, CURLE_OPERATION_TIMEDOUT, now_us);
		return;
	}
	call->host = host;
	if (host != NULL && !nexus_resolve_gate_lead(host))
	{
		move(call, &client->waiting, NEXUS_CALL_WAITING);
		return;
	}
	move(call, &client->running, NEXUS_CALL_RUNNING);

	/* Only a reset brings libcurl's own defaults back. */
	if (call->has_own_options)
	{
		call->has_own_options = false;
		curl_easy_reset(call->easy);
		ok = nexus_http_callbacks_set_easy(call);
	}
	if (!ok || !nexus_http_call_set_own(call, call->deadline_us - now_us))
		finish(call, CURLE_OUT_OF_MEMORY, now_us);
	else if (curl_multi_add_handle(client->multi, call->easy) != CURLM_OK)
		finish(call, CURLE_FAILED_INIT, now_us);
}

/* Those that libcurl has not seen yet, and must not because it is too late. */
static void
expire_waiting(NexusHttpClient *client, int64 now_us)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &client->waiting)
	{
		NexusHttpCall *call = dlist_container(NexusHttpCall, node, iter.cur);

		if (call->deadline_us <= now_us)
			finish(call, CURLE_OPERATION_TIMEDOUT, now_us);
	}
}

/* Take what libcurl has finished. */
static void
collect(NexusHttpClient *client)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(client->multi, &left)) != NULL)
	{
		CURL	   *easy = message->easy_handle;
		CURLcode	code = message->data.result;
		NexusHttpCall *call = NULL;

		(void) curl_easy_getinfo(easy, CURLINFO_PRIVATE, &call);
		(void) curl_multi_remove_handle(client->multi, easy);
		finish(call, code, nexus_http_callbacks_now_us());
	}
}

static int
to_curl(int ready)
{
	return ((ready & NEXUS_IO_READ) ? CURL_CSELECT_IN : 0) |
		((ready & NEXUS_IO_WRITE) ? CURL_CSELECT_OUT : 0);
}

/* All that libcurl has to do now: finished ones first, since they free connections. */
static CURLMcode
drive(NexusHttpClient *client)
{
	CURLMcode	code = CURLM_OK;
	int64		now_us = nexus_http_callbacks_now_us();
	sigset_t	saved;
	int			fd;
	int			ready;
	int			running;

	expire_waiting(client, now_us);
	block_signals(&saved);
	while (code == CURLM_OK && nexus_socket_table_take_ready(&client->sockets, &fd, &ready))
		code = curl_multi_socket_action(client->multi, fd, to_curl(ready), &running);
	collect(client);

	while (!dlist_is_empty(&client->pending))
		admit(client, dlist_head_element(NexusHttpCall, node, &client->pending), now_us);
	if (code == CURLM_OK && client->timer_us <= nexus_http_callbacks_now_us())
	{
		client->timer_us = NEXUS_HTTP_NEVER;
		code = curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	collect(client);
	restore_signals(&saved);
	return code;
}

static void
deliver(NexusHttpClient *client)
{
	while (!dlist_is_empty(&client->done))
	{
		NexusHttpCall *call = dlist_head_element(NexusHttpCall, node, &client->done);
		NexusHttpResult result;
		char		error[NEXUS_HTTP_ERROR_MAX];

		nexus_http_call_result(call, &result, error);
		call->state = NEXUS_CALL_DELIVERING;
		call->on_done(call->arg, &result);
		recycle(call);
	}
}

static bool
has_work(const NexusHttpClient *client)
{
	return !dlist_is_empty((dlist_head *) &client->pending) ||
		client->sockets.ready_count > 0 ||
		(client->timer_us != NEXUS_HTTP_NEVER && client->timer_us <= nexus_http_callbacks_now_us());
}

void
nexus_http_client_run(NexusHttpClient *client)
{
	CURLMcode	code = CURLM_OK;

	expire_waiting(client, nexus_http_callbacks_now_us());
	deliver(client);
	for (int i = 0; i < NEXUS_RUN_ROUNDS && code == CURLM_OK && has_work(client); i++)
	{
		code = drive(client);
		nexus_socket_table_apply(&client->sockets);
		deliver(client);
	}
	nexus_socket_table_apply(&client->sockets);

	if (code != CURLM_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("the HTTP client is unusable: %s", curl_multi_strerror(code))));
}

int
nexus_http_client_in_flight(const NexusHttpClient *client)
{
	return client->in_flight;
}

TimestampTz
nexus_http_client_next_deadline(const NexusHttpClient *client)
{
	int64		due_us = client->timer_us;
	dlist_iter	iter;

	if (has_work(client) || !dlist_is_empty((dlist_head *) &client->done))
		return GetCurrentTimestamp();
	dlist_foreach(iter, (dlist_head *) &client->waiting)
		due_us = Min(due_us, dlist_container(NexusHttpCall, node, iter.cur)->deadline_us);
	if (due_us == NEXUS_HTTP_NEVER)
		return DT_NOEND;
	return GetCurrentTimestamp() + (due_us - nexus_http_callbacks_now_us());
}
