/*
 * http_server.c
 *	  The HTTP side of the listener; the only file that sees libmicrohttpd.
 *
 * A suspended connection does not notice that its peer left; it is resumed by
 * the answer like any other, and fails then.
 */
#include "listener/http_server.h"

#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "listener/body_room.h"
#include "listener/control_pipe.h"
#include "listener/linger.h"
#include "listener/loop.h"
#include "listener/peer.h"
#include "listener/request_head.h"
#include "listener/worker_link.h"
#include "protocol/failure.h"

/* Holds a head of NEXUS_REQUEST_HEAD_MAX and what is made of it. */
#define CONNECTION_MEMORY (32 * 1024)
#define LOG_INTERVAL_MS 1000	/* between messages of libmicrohttpd */
#define LOG_MAX 512
/* The longest message that a frame can bring, each byte of it escaped. */
#define FAILURE_MAX (8 * NEXUS_FRAME_OVERHEAD)

typedef struct Connection
{
	NexusPeer	peer;
	bool		has_unread_body;	/* refused before its body was read */
} Connection;

typedef struct Request
{
	NexusCallback callback;		/* first, so that one leads to the other */
	struct MHD_Connection *mhd;
	NexusBuffer body;
	size_t		room;			/* held by the body */
	bool		is_crowded_out; /* there was no room for its body */
	bool		is_taken;		/* by on_callback */
	bool		is_suspended;
	bool		is_answered;
	struct MHD_Response *response;	/* once answered; NULL for lack of memory */
	unsigned int status;
} Request;

typedef struct Server
{
	struct MHD_Daemon *daemon;
	NexusWatch	watch;
} Server;

static Server servers[NEXUS_HTTP_SERVER_MAX_SOCKETS];
static int	server_count = 0;
static NexusHttpServerOnCallback on_complete;
static NexusListenerSettings limits;
static int	requests = 0;
static int64_t rejected = 0;
static bool is_leaving = false;
static bool is_closing = false; /* nobody is there any more to answer */
static bool must_run = false;	/* something happened that no descriptor shows */

static Connection *
connection_of(struct MHD_Connection *mhd)
{
	return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static const char *
failure_type(int status)
{
	const char *type = nexus_failure_type_of_status(status);

	if (type != NULL)
		return type;
	return status < 500 ? "BAD_REQUEST" : "INTERNAL";
}

/* The answer, whose body is a Failure object unless all is well. */
static struct MHD_Response *
make_response(int status, NexusText message)
{
	NexusBuffer body;
	struct MHD_Response *response;

	nexus_buffer_init(&body, FAILURE_MAX);
	if (status != MHD_HTTP_OK &&
		!nexus_failure_encode_handler_error(&body, failure_type(status), message,
											NEXUS_RETRYABLE_UNSPECIFIED, nexus_text_of("")))
		nexus_buffer_reset(&body);
	response = MHD_create_response_from_buffer(body.len, body.data, MHD_RESPMEM_MUST_COPY);
	nexus_buffer_free(&body);
	if (response == NULL)
		return NULL;
	if (status != MHD_HTTP_OK)
		(void) MHD_add_response_header(response, "Content-Type", "application/json");
	if (status == MHD_HTTP_SERVICE_UNAVAILABLE)
		(void) MHD_add_response_header(response, "Nexus-Request-Retryable", "true");
	if (is_leaving)
		(void) MHD_add_response_header(response, "Connection", "close");
	return response;
}

static void
count_answer(int status)
{
	if ((status >= 400 && status < 500) || status == MHD_HTTP_SERVICE_UNAVAILABLE)
		rejected++;
}

/* Answer from the head alone; libmicrohttpd then closes after the answer. */
static enum MHD_Result
refuse(struct MHD_Connection *mhd, int status, NexusText message)
{
	struct MHD_Response *response = make_response(status, message);
	enum MHD_Result result = MHD_NO;

	connection_of(mhd)->has_unread_body = true;
	count_answer(status);
	if (response != NULL)
	{
		result = MHD_queue_response(mhd, (unsigned int) status, response);
		MHD_destroy_response(response);
	}
	return result;
}

static enum MHD_Result
take_header(void *arg, enum MHD_ValueKind kind, const char *key, size_t key_len,
			const char *value, size_t value_len)
{
	return nexus_request_head_add(arg, nexus_text_make(key, key_len),
								  nexus_text_make(value != NULL ? value : "", value_len)) ? MHD_YES : MHD_NO;
}

static void
free_request(Request *request)
{
	nexus_body_room_give_back(&request->room);
	nexus_headers_free(&request->callback.frame.headers);
	nexus_buffer_free(&request->body);
	if (request->response != NULL)
		MHD_destroy_response(request->response);
	free(request);
}

static enum MHD_Result
begin_request(struct MHD_Connection *mhd, const char *path, const char *method, void **req_cls)
{
	Request    *request = calloc(1, sizeof(Request));
	NexusError	reason = {false, ""};
	NexusRequestHead head;
	int			status;

	if (request == NULL)
		return MHD_NO;
	request->mhd = mhd;
	nexus_headers_init(&request->callback.frame.headers, NEXUS_REQUEST_HEAD_MAX);
	nexus_buffer_init(&request->body, (size_t) limits.max_body);
	nexus_request_head_init(&head, &request->callback.frame, path, method);
	(void) MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, take_header, &head);
	status = nexus_request_head_check(&head, limits.max_body, &reason);
	if (status != 0)
	{
		free_request(request);
		return refuse(mhd, status, nexus_text_of(reason.message));
	}
	*req_cls = request;
	requests++;
	return MHD_YES;
}

/* What is over a limit is read and thrown away, since no answer can be sent in between. */
static void
take_body(Request *request, const char *data, size_t len)
{
	if (request->body.is_broken)
		return;
	if (!nexus_body_room_take(&request->room, request->body.len + len))
		request->is_crowded_out = true;
	else if (nexus_buffer_append(&request->body, data, len))
		return;
	nexus_buffer_free(&request->body);
	request->body.is_broken = true;
	nexus_body_room_give_back(&request->room);
}

static void
hand_over(Request *request)
{
	NexusCallback *callback = &request->callback;
	int64_t		hold = nexus_loop_now() + NEXUS_WORKER_LINK_HOLD_MS;

	callback->frame.body = nexus_buffer_view(&request->body);
	callback->deadline_ms = nexus_peer_wait(&connection_of(request->mhd)->peer);
	if (hold < callback->deadline_ms)
		callback->deadline_ms = hold;
	if (is_closing)
	{
		nexus_http_server_answer(NULL, callback, MHD_HTTP_SERVICE_UNAVAILABLE,
								 nexus_text_of("the server is shutting down"));
		return;
	}
	request->is_taken = true;
	on_complete(callback);
}

static enum MHD_Result
end_request(Request *request)
{
	if (!request->is_taken && request->is_crowded_out)
		nexus_http_server_answer(NULL, &request->callback, MHD_HTTP_SERVICE_UNAVAILABLE,
								 nexus_text_of("too many large requests at once"));
	else if (!request->is_taken && request->body.is_broken)
		nexus_http_server_answer(NULL, &request->callback, MHD_HTTP_CONTENT_TOO_LARGE,
								 nexus_text_of("request body exceeds the limit"));
	else if (!request->is_taken)
		hand_over(request);
	if (request->is_answered)
		return MHD_queue_response(request->mhd, request->status, request->response);
	request->is_suspended = true;
	MHD_suspend_connection(request->mhd);
	return MHD_YES;
}

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *mhd, const char *url, const char *method,
		   const char *version, const char *data, size_t *len, void **req_cls)
{
	if (connection_of(mhd) == NULL)
		return MHD_NO;
	if (*req_cls == NULL)
		return begin_request(mhd, url, method, req_cls);
	if (*len == 0)
		return end_request(*req_cls);
	take_body(*req_cls, data, *len);
	*len = 0;
	return MHD_YES;
}

void
nexus_http_server_answer(void *arg, NexusCallback *callback, int status, NexusText message)
{
	Request    *request = (Request *) callback;

	if (status != MHD_HTTP_OK && (status < 400 || status > 599))
		status = MHD_HTTP_INTERNAL_SERVER_ERROR;
	count_answer(status);
	request->response = make_response(status, message);
	request->status = (unsigned int) status;
	request->is_answered = true;
	nexus_peer_answer(&connection_of(request->mhd)->peer);
	if (!request->is_suspended)
		return;
	request->is_suspended = false;
	MHD_resume_connection(request->mhd);
	must_run = true;
}

static void
on_request_end(void *arg, struct MHD_Connection *mhd, void **req_cls, enum MHD_RequestTerminationCode how)
{
	Connection *connection = connection_of(mhd);

	if (*req_cls != NULL)
	{
		free_request(*req_cls);
		requests--;
	}
	*req_cls = NULL;
	if (connection != NULL)
		nexus_peer_rest(&connection->peer);
}

/* Called at the request line; what it returns becomes req_cls. */
static void *
on_request_line(void *arg, const char *uri, struct MHD_Connection *mhd)
{
	Connection *connection = connection_of(mhd);

	if (connection != NULL)
		nexus_peer_begin_request(&connection->peer);
	return NULL;
}

/* Without memory for it, it is closed at once. */
static Connection *
open_connection(int fd)
{
	Connection *connection = calloc(1, sizeof(Connection));

	if (connection != NULL)
		nexus_peer_enter(&connection->peer, fd);
	else
		(void) shutdown(fd, SHUT_RDWR);
	return connection;
}

static void
close_connection(Connection *connection, int fd)
{
	if (connection->has_unread_body && !is_leaving)
		nexus_linger(fd);
	nexus_peer_leave(&connection->peer);
	free(connection);
}

static void
on_connection(void *arg, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode what)
{
	int			fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;

	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		*context = open_connection(fd);
	else if (*context != NULL)
	{
		close_connection(*context, fd);
		*context = NULL;
	}
}

static enum MHD_Result
on_accept(void *arg, const struct sockaddr *address, socklen_t len)
{
	return nexus_peer_admit() ? MHD_YES : MHD_NO;
}

/* Paths are compared as they came: nothing in ours is ever escaped. */
static size_t
keep_escapes(void *arg, struct MHD_Connection *mhd, char *text)
{
	return strlen(text);
}

/* Mostly clients that went away: no trouble of ours, so one a second is told as news. */
static void
on_log(void *arg, const char *format, va_list args)
{
	static int64_t told_ms = INT64_MIN;
	char		text[LOG_MAX];

	if (told_ms != INT64_MIN && nexus_loop_now() < told_ms + LOG_INTERVAL_MS)
		return;
	told_ms = nexus_loop_now();
	(void) vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\r\n")] = '\0';
	nexus_control_pipe_log(false, "listener: %s", text);
}

static void
on_panic(void *arg, const char *file, unsigned int line, const char *reason)
{
	nexus_control_pipe_log(true, "listener ends: libmicrohttpd: %s", reason != NULL ? reason : "internal error");
	_exit(1);
}

void
nexus_http_server_set_limits(const NexusListenerSettings *settings)
{
	limits = *settings;
	nexus_peer_set_limits(settings->max_connections, settings->request_deadline_ms);
}

static void
mark_ready(void *arg, uint32_t events)
{
	must_run = true;
}

bool
nexus_http_server_start(int fd, NexusHttpServerOnCallback on_callback)
{
	Server	   *server = &servers[server_count];

	if (server_count == NEXUS_HTTP_SERVER_MAX_SOCKETS)
		return false;
	on_complete = on_callback;
	MHD_set_panic_func(on_panic, NULL);
	server->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
									  on_accept, NULL, on_request, NULL,
									  MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
									  MHD_OPTION_LISTEN_SOCKET, fd,
									  MHD_OPTION_CONNECTION_LIMIT, (unsigned int) INT32_MAX,
									  MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) CONNECTION_MEMORY,
									  MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int) NEXUS_PEER_IDLE_SECONDS,
									  MHD_OPTION_NOTIFY_COMPLETED, on_request_end, NULL,
									  MHD_OPTION_NOTIFY_CONNECTION, on_connection, NULL,
									  MHD_OPTION_URI_LOG_CALLBACK, on_request_line, NULL,
									  MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
									  MHD_OPTION_STRICT_FOR_CLIENT, 1,
									  MHD_OPTION_END);
	if (server->daemon == NULL)
		return false;
	server->watch.fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	server->watch.on_ready = mark_ready;
	server_count++;
	must_run = true;
	return nexus_loop_watch(&server->watch, EPOLLIN);
}

/* When libmicrohttpd wants to run again, ready or not. */
static int64_t
own_deadline(const Server *server)
{
	MHD_UNSIGNED_LONG_LONG left;

	if (MHD_get_timeout(server->daemon, &left) == MHD_NO)
		return NEXUS_LOOP_NEVER;
	if (left == 0)
		must_run = true;
	return nexus_loop_now() + (int64_t) left;
}

int64_t
nexus_http_server_run(void)
{
	int64_t		deadline;

	for (int i = 0; i < server_count && must_run; i++)
		(void) MHD_run(servers[i].daemon);
	must_run = false;
	deadline = nexus_peer_expire();
	for (int i = 0; i < server_count; i++)
	{
		int64_t		own = own_deadline(&servers[i]);

		if (own < deadline)
			deadline = own;
	}
	return deadline;
}

bool
nexus_http_server_has_answers(void)
{
	return must_run;
}

void
nexus_http_server_stop_accepting(void)
{
	is_leaving = true;
	for (int i = 0; i < server_count; i++)
		(void) MHD_quiesce_daemon(servers[i].daemon);
}

int
nexus_http_server_requests(void)
{
	return requests;
}

void
nexus_http_server_read_figures(NexusListenerFigures *figures)
{
	figures->connections = nexus_peer_count();
	figures->rejected = rejected;
}

void
nexus_http_server_close(void)
{
	/* A suspended connection must be seen as resumed before its end. */
	is_closing = true;
	must_run = true;
	(void) nexus_http_server_run();
	while (server_count > 0)
	{
		server_count--;
		nexus_loop_unwatch(&servers[server_count].watch);
		MHD_stop_daemon(servers[server_count].daemon);
	}
}
