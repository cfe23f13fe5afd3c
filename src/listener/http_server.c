/*
 * http_server.c
 *	  The HTTP side of the listener; the only file that sees libmicrohttpd.
 *
 * libmicrohttpd's own time-out is about inactivity only, so a peer that sends a
 * byte now and then could stay for ever.  Every connection therefore stands in
 * one of two lists, each in the order of its deadlines: "receiving" from its
 * accept, or from the request line of a later request, until the request is
 * complete; "idle" from an answer to the next request line.  It is in neither
 * while its callback waits for a worker, whose own deadline then counts.
 *
 * A suspended connection does not notice that its peer left; it is resumed by
 * the answer like any other, and fails then.
 */
#include "listener/http_server.h"

#include <microhttpd.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "listener/control_pipe.h"
#include "listener/linger.h"
#include "listener/loop.h"
#include "listener/worker_link.h"
#include "protocol/failure.h"
#include "protocol/token.h"
#include "protocol/url.h"

#define HEAD_MAX (16 * 1024)	/* names and values of all headers of a request */
#define CONNECTION_MEMORY (32 * 1024)	/* a head of HEAD_MAX and what is made of it */
#define IDLE_MS 60000			/* kept-alive connections between two requests */
#define SPARE_FILES 64			/* sockets to workers, pipes, epoll, lingering */
#define MIN_CONNECTIONS 8		/* however few descriptors there are */
#define LOG_MAX 512

typedef struct List
{
	struct Connection *first;
	struct Connection *last;
} List;

typedef struct Connection
{
	int			fd;
	List	   *list;			/* in which it stands; NULL for none */
	struct Connection *next;
	struct Connection *previous;
	int64_t		since_ms;		/* start of the request, or of being idle */
	bool		has_unread_body;	/* refused before its body was read */
} Connection;

typedef struct Request
{
	NexusCallback callback;		/* first, so that one leads to the other */
	struct MHD_Connection *mhd;
	NexusBuffer body;
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
static int	max_connections;	/* limits.max_connections or as many as we may open */
static List receiving;
static List idle;
static int	connections = 0;
static int	requests = 0;
static int64_t rejected = 0;
static bool is_leaving = false;
static bool must_run = false;	/* something happened that no descriptor shows */

static const char *const hop_by_hop[] = {
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade"
};

static void
list_append(List *list, Connection *connection)
{
	connection->list = list;
	connection->since_ms = nexus_loop_now();
	connection->next = NULL;
	connection->previous = list->last;
	if (list->last != NULL)
		list->last->next = connection;
	else
		list->first = connection;
	list->last = connection;
}

static void
list_remove(Connection *connection)
{
	List	   *list = connection->list;

	if (list == NULL)
		return;
	if (connection->previous != NULL)
		connection->previous->next = connection->next;
	else
		list->first = connection->next;
	if (connection->next != NULL)
		connection->next->previous = connection->previous;
	else
		list->last = connection->previous;
	connection->list = NULL;
}

static Connection *
connection_of(struct MHD_Connection *mhd)
{
	return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* libmicrohttpd sees the end of the connection and cleans up. */
static void
cut_off(Connection *connection)
{
	list_remove(connection);
	(void) shutdown(connection->fd, SHUT_RDWR);
	must_run = true;
}

/* The answer, whose body is a Failure object unless all is well. */
static struct MHD_Response *
make_response(int status, NexusText message)
{
	NexusBuffer body;
	struct MHD_Response *response;
	const char *type = nexus_failure_type_of_status(status);

	nexus_buffer_init(&body, 2 * NEXUS_FRAME_OVERHEAD);
	if (status != MHD_HTTP_OK)
		(void) nexus_failure_encode_handler_error(&body, type != NULL ? type : status < 500 ? "BAD_REQUEST" : "INTERNAL",
												  message, NEXUS_RETRYABLE_UNSPECIFIED, nexus_text_of(""));
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

typedef struct HeadReader
{
	NexusHeaders *headers;
	size_t		len;
	int			content_lengths;
	bool		is_chunked;
	bool		is_too_long;
} HeadReader;

static bool
is_hop_by_hop(NexusText name)
{
	for (size_t i = 0; i < sizeof(hop_by_hop) / sizeof(hop_by_hop[0]); i++)
	{
		if (nexus_text_equal_fold(name, nexus_text_of(hop_by_hop[i])))
			return true;
	}
	return false;
}

static enum MHD_Result
take_header(void *arg, enum MHD_ValueKind kind, const char *key, size_t key_len,
			const char *value, size_t value_len)
{
	HeadReader *reader = arg;
	NexusText	name = nexus_text_make(key, key_len);
	NexusText	content = nexus_text_make(value != NULL ? value : "", value_len);

	reader->len += key_len + value_len;
	if (nexus_text_equal_fold(name, nexus_text_of("Content-Length")))
		reader->content_lengths++;
	if (nexus_text_equal_fold(name, nexus_text_of("Transfer-Encoding")))
		reader->is_chunked = true;
	if (reader->len > HEAD_MAX ||
		(!is_hop_by_hop(name) && !nexus_headers_add(reader->headers, name, content)))
	{
		reader->is_too_long = true;
		return MHD_NO;
	}
	return MHD_YES;
}

static bool
declared_length_is_valid(const HeadReader *reader, int64_t *length)
{
	NexusText	text;

	*length = 0;
	if (reader->content_lengths + (reader->is_chunked ? 1 : 0) > 1)
		return false;
	return !nexus_headers_get(reader->headers, "Content-Length", &text) || nexus_text_to_int64(text, length);
}

/*
 * The status of a request as far as its head tells, 0 where it may go on.  The
 * token comes first, so that a stranger learns nothing but that one is needed.
 */
static int
check_head(struct MHD_Connection *mhd, NexusCompletionFrame *frame, const char *url,
		   const char *method, NexusError *reason)
{
	HeadReader	reader = {&frame->headers, 0, 0, false, false};
	NexusText	token;
	int64_t		length;
	int			status = 0;

	(void) MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, take_header, &reader);
	if (reader.is_too_long)
	{
		status = MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
		nexus_error_set(reason, "request headers exceed %d bytes", HEAD_MAX);
	}
	else if (!nexus_headers_get(&frame->headers, NEXUS_TOKEN_HEADER, &token) || !nexus_token_is_well_formed(token))
	{
		status = MHD_HTTP_UNAUTHORIZED;
		nexus_error_set(reason, "missing or malformed callback token");
	}
	else if (!nexus_url_parse_callback(nexus_text_of(url), &frame->incarnation, &frame->operation_id))
	{
		status = MHD_HTTP_NOT_FOUND;
		nexus_error_set(reason, "not found");
	}
	else if (strcmp(method, MHD_HTTP_METHOD_POST) != 0)
	{
		status = MHD_HTTP_BAD_REQUEST;
		nexus_error_set(reason, "invalid request method: expected POST, got %.32s", method);
	}
	else if (!declared_length_is_valid(&reader, &length))
	{
		status = MHD_HTTP_BAD_REQUEST;
		nexus_error_set(reason, "contradictory length of the request body");
	}
	else if (length > limits.max_body)
	{
		status = MHD_HTTP_CONTENT_TOO_LARGE;
		nexus_error_set(reason, "request body exceeds %lld bytes", (long long) limits.max_body);
	}
	return status;
}

static void
free_request(Request *request)
{
	nexus_headers_free(&request->callback.frame.headers);
	nexus_buffer_free(&request->body);
	if (request->response != NULL)
		MHD_destroy_response(request->response);
	free(request);
}

static enum MHD_Result
begin_request(struct MHD_Connection *mhd, const char *url, const char *method, void **req_cls)
{
	Request    *request = calloc(1, sizeof(Request));
	NexusError	reason = {false, ""};
	int			status;

	if (request == NULL)
		return MHD_NO;
	request->mhd = mhd;
	nexus_headers_init(&request->callback.frame.headers, HEAD_MAX);
	nexus_buffer_init(&request->body, (size_t) limits.max_body);
	status = check_head(mhd, &request->callback.frame, url, method, &reason);
	if (status != 0)
	{
		free_request(request);
		return refuse(mhd, status, nexus_text_of(reason.message));
	}
	*req_cls = request;
	requests++;
	return MHD_YES;
}

/* What is over the limit is read and thrown away, since no answer can be sent in between. */
static void
take_body(Request *request, const char *data, size_t len)
{
	if (!request->body.is_broken && !nexus_buffer_append(&request->body, data, len))
	{
		nexus_buffer_free(&request->body);
		request->body.is_broken = true;
	}
}

static void
hand_over(Request *request)
{
	Connection *connection = connection_of(request->mhd);
	NexusCallback *callback = &request->callback;
	int64_t		hold = nexus_loop_now() + NEXUS_WORKER_LINK_HOLD_MS;
	int64_t		deadline = connection->since_ms + limits.request_deadline_ms;

	list_remove(connection);
	callback->frame.body = nexus_buffer_view(&request->body);
	callback->deadline_ms = deadline < hold ? deadline : hold;
	request->is_taken = true;
	on_complete(callback);
}

static enum MHD_Result
end_request(Request *request)
{
	if (!request->is_taken && request->body.is_broken)
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
	if (connection == NULL)
		return;
	list_remove(connection);
	list_append(&idle, connection);
}

/* Called at the request line; what it returns becomes req_cls. */
static void *
on_request_line(void *arg, const char *uri, struct MHD_Connection *mhd)
{
	Connection *connection = connection_of(mhd);

	if (connection != NULL && connection->list == &idle)
	{
		list_remove(connection);
		list_append(&receiving, connection);
	}
	return NULL;
}

static void
on_connection(void *arg, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode what)
{
	int			fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	Connection *connection = *context;

	if (what == MHD_CONNECTION_NOTIFY_STARTED)
	{
		connections++;
		connection = calloc(1, sizeof(Connection));
		*context = connection;
		if (connection == NULL)
		{
			(void) shutdown(fd, SHUT_RDWR);
			return;
		}
		connection->fd = fd;
		list_append(&receiving, connection);
		return;
	}
	connections--;
	if (connection == NULL)
		return;
	list_remove(connection);
	if (connection->has_unread_body && !is_leaving)
		nexus_linger(fd);
	free(connection);
	*context = NULL;
}

/*
 * Over the limit, the connection that was idle longest makes room: its owner
 * only has to connect again.  Where none is idle, the new one is closed.
 */
static enum MHD_Result
on_accept(void *arg, const struct sockaddr *address, socklen_t len)
{
	if (connections < max_connections)
		return MHD_YES;
	if (idle.first != NULL)
	{
		cut_off(idle.first);
		return MHD_YES;
	}
	nexus_control_pipe_complain("listener has reached its limit of %d connections", max_connections);
	return MHD_NO;
}

/* Paths are compared as they came: nothing in ours is ever escaped. */
static size_t
keep_escapes(void *arg, struct MHD_Connection *mhd, char *text)
{
	return strlen(text);
}

static void
on_log(void *arg, const char *format, va_list args)
{
	char		text[LOG_MAX];

	(void) vsnprintf(text, sizeof(text), format, args);
	nexus_control_pipe_complain("listener: %s", text);
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
	struct rlimit files;
	rlim_t		wanted = (rlim_t) settings->max_connections + SPARE_FILES;

	limits = *settings;
	max_connections = settings->max_connections;
	if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= wanted)
		return;
	files.rlim_cur = wanted < files.rlim_max ? wanted : files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= wanted)
		return;
	max_connections = files.rlim_cur > SPARE_FILES + MIN_CONNECTIONS ? (int) (files.rlim_cur - SPARE_FILES) : MIN_CONNECTIONS;
	nexus_control_pipe_log(true, "listener takes only %d connections, since it may open only %lld files",
						   max_connections, (long long) files.rlim_cur);
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
									  MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int) (IDLE_MS / 1000 + 1),
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

/* Cut off what is overdue in a list; returns the next deadline in it. */
static int64_t
expire(const List *list, int64_t allowed_ms)
{
	while (list->first != NULL && list->first->since_ms + allowed_ms <= nexus_loop_now())
		cut_off(list->first);
	return list->first != NULL ? list->first->since_ms + allowed_ms : NEXUS_LOOP_NEVER;
}

static int64_t
min_deadline(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t
nexus_http_server_run(void)
{
	int64_t		deadline = NEXUS_LOOP_NEVER;
	MHD_UNSIGNED_LONG_LONG left;

	(void) expire(&receiving, limits.request_deadline_ms);
	(void) expire(&idle, IDLE_MS);
	for (int i = 0; i < server_count; i++)
	{
		if (must_run)
			(void) MHD_run(servers[i].daemon);
	}
	must_run = false;
	for (int i = 0; i < server_count; i++)
	{
		if (MHD_get_timeout(servers[i].daemon, &left) == MHD_NO)
			continue;
		if (left == 0)
			must_run = true;
		deadline = min_deadline(deadline, nexus_loop_now() + (int64_t) left);
	}
	deadline = min_deadline(deadline, expire(&receiving, limits.request_deadline_ms));
	return min_deadline(deadline, expire(&idle, IDLE_MS));
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
	figures->connections = connections;
	figures->rejected = rejected;
}

void
nexus_http_server_close(void)
{
	/* A suspended connection must be seen as resumed before its end. */
	must_run = true;
	(void) nexus_http_server_run();
	while (server_count > 0)
	{
		server_count--;
		nexus_loop_unwatch(&servers[server_count].watch);
		MHD_stop_daemon(servers[server_count].daemon);
	}
}
