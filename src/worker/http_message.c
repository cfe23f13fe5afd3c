/*
 * http_message.c
 *	  The HTTP requests of an operation: start and cancel.
 *
 * The Nexus specification, "Start Operation" and "Cancel Operation".
 */
#include "postgres.h"

#include "worker/http_message.h"

#include "config.h"
#include "protocol/duration.h"
#include "protocol/link.h"
#include "protocol/url.h"
#include "utils/timestamp.h"

#define URL_MAX (64 * 1024)		/* escaped names, a base and a callback */
#define HEADERS_MAX (128 * 1024)	/* a caller's headers and ours */
#define REPLY_HEADROOM (64 * 1024)	/* a reply may be wrapped in a little more
									 * than its payload */
#define LINK_MAX 512			/* an escaped database name and two ids */
#define LINK_TYPE "nexus_pg.Operation"

static NexusBuffer url;
static NexusBuffer callback;
static NexusHeaders headers;

/* The link to an operation, of which only the id differs from the last one. */
static NexusBuffer link;
static NexusUuid link_incarnation;
static size_t link_id_at;

static void
reset_buffers(void)
{
	if (url.max == 0)
	{
		nexus_buffer_init(&url, URL_MAX);
		nexus_buffer_init(&callback, NEXUS_CALLBACK_URL_MAX);
		nexus_headers_init(&headers, HEADERS_MAX);
	}
	nexus_buffer_reset(&url);
	nexus_buffer_reset(&callback);
	nexus_headers_reset(&headers);
}

static int64
left_ms(TimestampTz deadline, TimestampTz now)
{
	if (TIMESTAMP_NOT_FINITE(deadline))
		return PG_INT64_MAX;
	return Max((deadline - now + 999) / 1000, 1);
}

static void
add_timeout(const char *name, int64 ms)
{
	char		text[NEXUS_DURATION_MAX_LEN];

	nexus_duration_format(ms, text);
	nexus_headers_add_string(&headers, name, text);
}

/* Names and values one after the other; see NexusDue. */
static void
add_callers_headers(const NexusDue *due)
{
	const char *name = due->headers;

	while (name != NULL && *name != '\0')
	{
		const char *value = name + strlen(name) + 1;

		nexus_headers_add_string(&headers, name, value);
		name = value + strlen(value) + 1;
	}
}

/* What is left for the handler to finish; 0 = no limit. */
static int64
operation_timeout_ms(const NexusDue *due, TimestampTz now)
{
	int64		left = PG_INT64_MAX;

	if (due->start_to_close > 0)
		left = due->start_to_close / 1000;
	if (due->schedule_to_close > 0)
		left = Min(left, left_ms(due->scheduled_time + due->schedule_to_close, now));
	return left == PG_INT64_MAX ? 0 : left;
}

static bool
add_token(const NexusWorker *worker, const NexusDue *due)
{
	char		token[NEXUS_TOKEN_MAX_LEN];

	if (!nexus_token_make(token, worker->incarnation.key_number, &worker->incarnation.id, &due->id,
						  nexus_incarnation_mac, unconstify(NexusIncarnation *, &worker->incarnation)))
		return false;
	return nexus_headers_add_string(&headers, "Nexus-Callback-" NEXUS_TOKEN_HEADER, token)
		&& nexus_headers_add_string(&headers, "Nexus-Callback-" NEXUS_TOKEN_HEADER_OF_SPEC, token);
}

/*
 * nexus-pg:///databases/DATABASE/operations/ID?incarnation=UUID.  The name is
 * escaped as the bytes that pg_database has: which encoding they are in is not
 * known.
 */
static bool
make_link(const NexusWorker *worker, NexusError *error)
{
	static const NexusUuid any = {{0}};
	char		id[NEXUS_UUID_TEXT_LEN + 1];
	NexusLink	named = {.type = nexus_text_of(LINK_TYPE)};
	NexusBuffer target;
	bool		ok;

	nexus_buffer_init(&target, LINK_MAX);
	nexus_buffer_append_string(&target, "nexus-pg:///databases/");
	nexus_url_append_segment(&target, nexus_text_of(worker->database_name));
	nexus_buffer_append_string(&target, "/operations/");
	link_id_at = target.len + 1;	/* behind "<" */
	nexus_uuid_format(&any, id);
	nexus_buffer_append_string(&target, id);
	nexus_buffer_append_string(&target, "?incarnation=");
	nexus_uuid_format(&worker->incarnation.id, id);
	nexus_buffer_append_string(&target, id);

	nexus_buffer_free(&link);
	nexus_buffer_init(&link, LINK_MAX);
	named.url = nexus_buffer_view(&target);
	ok = nexus_link_format(&link, named, error);
	nexus_buffer_free(&target);
	link_incarnation = worker->incarnation.id;
	return ok;
}

/* Where the handler's people find what has called them. */
static bool
add_link(const NexusWorker *worker, const char *id, NexusError *error)
{
	if ((link.len == 0 || memcmp(&link_incarnation, &worker->incarnation.id, sizeof(NexusUuid)) != 0)
		&& !make_link(worker, error))
		return false;
	memcpy(link.data + link_id_at, id, NEXUS_UUID_TEXT_LEN);
	return nexus_headers_add(&headers, nexus_text_of(NEXUS_LINK_HEADER), nexus_buffer_view(&link));
}

static void
fill_request(const NexusEndpointQueue *queue, const NexusCaller *caller, int64 timeout_ms, NexusHttpRequest *request)
{
	memset(request, 0, sizeof(*request));
	request->url = url.data;
	request->shared_headers = &caller->headers;
	request->headers = &headers;
	request->body = nexus_text_make("", 0);
	request->timeout_ms = timeout_ms;
	request->max_response_body = (size_t) nexus_max_payload_size + REPLY_HEADROOM;
	request->allow_link_local = nexus_allow_link_local;
	request->username = caller->credentials.username;
	request->password = caller->credentials.password;
	request->tls = caller->has_tls ? &caller->tls : NULL;
}

bool
nexus_http_message_start(const NexusWorker *worker, const NexusEndpointQueue *queue, const NexusCaller *caller,
						 const NexusDue *due, TimestampTz now, NexusHttpRequest *request, NexusError *error)
{
	int64		timeout_ms = Min(queue->config->request_timeout_ms, left_ms(due->deadline, now));
	int64		operation_ms = operation_timeout_ms(due, now);
	char		id[NEXUS_UUID_TEXT_LEN + 1];
	NexusText	callers_own;

	reset_buffers();
	nexus_url_callback(&callback, nexus_text_of(due->callback_base), &worker->incarnation.id, &due->id);
	if (!nexus_url_start(&url, nexus_text_of(queue->config->url), nexus_text_of(due->service),
						 nexus_text_of(due->operation), nexus_buffer_view(&callback), error))
		return false;

	nexus_uuid_format(&due->id, id);
	nexus_headers_add_string(&headers, "Nexus-Request-Id", id);
	if (!add_link(worker, id, error))
		return false;
	if (!add_token(worker, due))
		return nexus_error_set(error, "the callback token could not be made");
	if (due->input.data != NULL && due->input_content_type != NULL)
		nexus_headers_add_string(&headers, "Content-Type", due->input_content_type);
	add_timeout("Request-Timeout", timeout_ms);
	add_callers_headers(due);
	if (operation_ms > 0 && !nexus_headers_get(&headers, "operation-timeout", &callers_own))
		add_timeout("Operation-Timeout", operation_ms);

	fill_request(queue, caller, timeout_ms, request);
	if (due->input.data != NULL)
		request->body = due->input;
	return true;
}

bool
nexus_http_message_cancel(const NexusWorker *worker, const NexusEndpointQueue *queue, const NexusCaller *caller,
						  const NexusDue *due, TimestampTz now, NexusHttpRequest *request, NexusError *error)
{
	int64		timeout_ms = Min(queue->config->request_timeout_ms, left_ms(due->deadline, now));
	const char *token = due->operation_token == NULL ? "" : due->operation_token;

	reset_buffers();

	/*
	 * it is the handler's, and a line break in it would begin a header of its
	 * making
	 */
	if (!nexus_headers_check(nexus_text_of("Nexus-Operation-Token"), nexus_text_of(token), error))
		return false;
	if (!nexus_url_cancel(&url, nexus_text_of(queue->config->url), nexus_text_of(due->service),
						  nexus_text_of(due->operation), error))
		return false;
	nexus_headers_add_string(&headers, "Nexus-Operation-Token", token);
	add_timeout("Request-Timeout", timeout_ms);
	add_callers_headers(due);
	fill_request(queue, caller, timeout_ms, request);
	return true;
}
