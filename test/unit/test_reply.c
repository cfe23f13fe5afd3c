/*
 * test_reply.c
 *	  What answers to start and cancel requests mean.
 */
#include "protocol/reply.h"
#include "tap.h"

#define JSON "Content-Type: application/json"
#define TEXT "Content-Type: text/plain"
#define STATE(name) "Nexus-Operation-State: " name
#define RETRYABLE(value) "Nexus-Request-Retryable: " value
#define LINK "Nexus-Link: <a:b>; type=x"
#define LINK_JSON "[{\"url\":\"a:b\",\"type\":\"x\"}]"

#define TYPED(type, rest) "{\"message\":\"m\",\"metadata\":{\"type\":\"nexus." type "\"}" rest "}"
#define BAD_REQUEST TYPED("HandlerError", ",\"details\":{\"type\":\"BAD_REQUEST\"}")
#define OVERRIDDEN TYPED("HandlerError", ",\"details\":{\"type\":\"BAD_REQUEST\",\"retryableOverride\":true}")
#define INTERNAL TYPED("HandlerError", ",\"details\":{\"type\":\"INTERNAL\"}")
#define CUSTOM TYPED("HandlerError", ",\"details\":{\"type\":\"CUSTOM\"}")
#define CHAIN TYPED("HandlerError", ",\"details\":{\"type\":\"BAD_REQUEST\"},\"cause\":{\"message\":\"1\",\"stackTrace\":\"s\"," \
	"\"cause\":{\"metadata\":{\"a\":\"b\"},\"cause\":{\"details\":[1]}}}")
#define FAILED TYPED("OperationError", ",\"details\":{\"state\":\"failed\"}")
#define CANCELED TYPED("OperationError", ",\"details\":{\"state\":\"canceled\"}")
#define INTENTIONAL "{\"message\":\"intentional\"}"
#define RUNNING(fields) "{" fields ",\"state\":\"running\"}"

typedef struct Row
{
	const char *name;
	int			status;
	const char *headers[3];
	const char *body;
	NexusReplyKind kind;
	bool		is_retryable;
	const char *content;		/* token, or what the failure contains */
} Row;

static const Row starts[] = {
	{"item 15: 200 without a state", 200, {JSON}, "666", NEXUS_REPLY_SUCCEEDED, false, NULL},
	{"item 16: 200 without anything", 200, {NULL}, "", NEXUS_REPLY_SUCCEEDED, false, NULL},
	{"item 19: 201", 201, {JSON}, RUNNING("\"token\":\"async\""), NEXUS_REPLY_STARTED, false, "async"},
	{"item 19: 201 with a charset", 201, {JSON "; charset=utf-8"}, RUNNING("\"token\":\"async\""), NEXUS_REPLY_STARTED, false, "async"},
	{"item 20: 201 with an id", 201, {JSON}, RUNNING("\"id\":\"x\""), NEXUS_REPLY_STARTED, false, "x"},
	{"item 20: 201 with both", 201, {JSON}, RUNNING("\"id\":\"x\",\"token\":\"y\""), NEXUS_REPLY_STARTED, false, "y"},
	{"item 21: 201 succeeded", 201, {JSON}, "{\"token\":\"a\",\"state\":\"succeeded\"}", NEXUS_REPLY_ERROR, true, "not \\\"running\\\""},
	{"item 21: 201 with an empty token", 201, {JSON}, RUNNING("\"token\":\"\""), NEXUS_REPLY_ERROR, true, "no operation token"},
	{"item 21: 201 with a numeric token", 201, {JSON}, RUNNING("\"token\":1"), NEXUS_REPLY_ERROR, true, "no operation token"},
	{"item 21: 201 in plain text", 201, {TEXT}, RUNNING("\"token\":\"a\""), NEXUS_REPLY_ERROR, true, "text/plain"},
	{"item 21: 201 without a type", 201, {NULL}, RUNNING("\"token\":\"a\""), NEXUS_REPLY_ERROR, true, "no content type"},
	{"item 21: 201 with an array", 201, {JSON}, "[]", NEXUS_REPLY_ERROR, true, "not a JSON object"},
	{"item 21: 201 cut off", 201, {JSON}, "{\"token\":\"a\"", NEXUS_REPLY_ERROR, true, "not a JSON object"},
	{"item 21: 201 with NUL in its token", 201, {JSON}, RUNNING("\"token\":\"\\u0000\""), NEXUS_REPLY_ERROR, true, "not a JSON object"},
	{"the longest token", 201, {JSON}, RUNNING("\"token\":\"12345678\""), NEXUS_REPLY_STARTED, false, "12345678"},
	{"a token too long", 201, {JSON}, RUNNING("\"token\":\"123456789\""), NEXUS_REPLY_ERROR, false,
	"{\"message\":\"invalid operation token: length exceeds allowed limit (9/8)\"}"},
	{"item 22: 200 with a link", 200, {JSON, LINK}, "1", NEXUS_REPLY_SUCCEEDED, false, NULL},
	{"item 22: 201 with a link", 201, {JSON, LINK}, RUNNING("\"token\":\"a\""), NEXUS_REPLY_STARTED, false, "a"},
	{"200 with a bad link", 200, {JSON, "Nexus-Link: x"}, "1", NEXUS_REPLY_ERROR, true, "link"},
	{"201 with a bad link", 201, {JSON, "Nexus-Link: x"}, RUNNING("\"token\":\"a\""), NEXUS_REPLY_ERROR, true, "link"},
	{"400 with a bad link", 400, {JSON, "Nexus-Link: x"}, BAD_REQUEST, NEXUS_REPLY_ERROR, true, "link"},
	{"item 23: 424 typed failed", 424, {JSON}, FAILED, NEXUS_REPLY_FAILED, false, FAILED},
	{"item 23: 424 typed canceled", 424, {JSON, LINK}, CANCELED, NEXUS_REPLY_CANCELED, false, CANCELED},
	{"item 24: 424 untyped", 424, {JSON, STATE("canceled")}, INTENTIONAL, NEXUS_REPLY_CANCELED, false, "\"cause\":" INTENTIONAL},
	{"item 25: 424 without a state", 424, {JSON}, INTENTIONAL, NEXUS_REPLY_ERROR, true, "no valid operation state"},
	{"item 25: 424 in a bogus state", 424, {JSON, STATE("running")}, INTENTIONAL, NEXUS_REPLY_ERROR, true, "no valid operation state"},
	{"item 26: 424 in plain text", 424, {TEXT, STATE("failed")}, "oops", NEXUS_REPLY_ERROR, true, "text/plain"},
	{"424 that does not parse", 424, {JSON, STATE("failed")}, "{", NEXUS_REPLY_ERROR, true, "not a failure"},
	{"item 28: retryable false", 500, {JSON, RETRYABLE("false")}, INTENTIONAL, NEXUS_REPLY_ERROR, false, "\"retryableOverride\":false"},
	{"item 28: retryable TRUE", 400, {JSON, RETRYABLE("TRUE")}, INTENTIONAL, NEXUS_REPLY_ERROR, true, "\"retryableOverride\":true"},
	{"item 28: without JSON", 500, {TEXT, RETRYABLE("false")}, "oops", NEXUS_REPLY_ERROR, false, "INTERNAL"},
	{"item 28: any other word", 400, {RETRYABLE("yes")}, "", NEXUS_REPLY_ERROR, false, "BAD_REQUEST"},
	{"item 29: the body wins", 500, {JSON}, BAD_REQUEST, NEXUS_REPLY_ERROR, false, BAD_REQUEST},
	{"item 30: override against header", 500, {JSON, RETRYABLE("false")}, OVERRIDDEN, NEXUS_REPLY_ERROR, true, OVERRIDDEN},
	{"item 30: a typed body without override", 500, {JSON, RETRYABLE("false")}, INTERNAL, NEXUS_REPLY_ERROR, true, INTERNAL},
	{"item 31: a chain of causes", 400, {JSON}, CHAIN, NEXUS_REPLY_ERROR, false, CHAIN},
	{"item 32: typed without details", 400, {JSON}, TYPED("HandlerError", ""), NEXUS_REPLY_ERROR, true, "has no details"},
	{"item 33: 400 {}", 400, {JSON}, "{}", NEXUS_REPLY_ERROR, false, "\"BAD_REQUEST\"},\"cause\":{}}"},
	{"item 33: 400 null", 400, {JSON}, "null", NEXUS_REPLY_ERROR, false, "\"BAD_REQUEST\"},\"cause\":{}}"},
	{"item 34: 400 cut off", 400, {JSON}, "{\"mess", NEXUS_REPLY_ERROR, false,
	"{\"message\":\"bad request\",\"metadata\":{\"type\":\"nexus.HandlerError\"},\"details\":{\"type\":\"BAD_REQUEST\"}}"},
	{"item 35: 418", 418, {NULL}, "", NEXUS_REPLY_ERROR, true, "{\"message\":\"unexpected response status: 418\"}"},
	{"item 35: 302", 302, {TEXT}, "moved", NEXUS_REPLY_ERROR, true, "unexpected response status: 302"},
	{"item 35: 204", 204, {NULL}, "", NEXUS_REPLY_ERROR, true, "unexpected response status: 204"},
	{"item 35: 202", 202, {RETRYABLE("false")}, "", NEXUS_REPLY_ERROR, true, "unexpected response status: 202"},
	{"item 35: 502 with a failure", 502, {JSON}, INTENTIONAL, NEXUS_REPLY_ERROR, true, "502\",\"cause\":" INTENTIONAL},
	{"item 35: 418 with a typed body", 418, {JSON}, BAD_REQUEST, NEXUS_REPLY_ERROR, false, BAD_REQUEST},
	{"item 36: 408", 408, {NULL}, "", NEXUS_REPLY_ERROR, true, "REQUEST_TIMEOUT"},
	{"item 36: 409", 409, {NULL}, "", NEXUS_REPLY_ERROR, false, "CONFLICT"},
	{"item 37: unknown type", 400, {JSON}, CUSTOM, NEXUS_REPLY_ERROR, true, CUSTOM},
	{"an operation error on 500 is a cause", 500, {JSON}, FAILED, NEXUS_REPLY_ERROR, true, "\"cause\":" FAILED}
};

static const Row cancels[] = {
	{"item 41: 202", 202, {NULL}, "", NEXUS_REPLY_CANCEL_ACCEPTED, false, NULL},
	{"item 41: 200", 200, {NULL}, "", NEXUS_REPLY_ERROR, true, "unexpected response status: 200"},
	{"item 41: 204", 204, {NULL}, "", NEXUS_REPLY_ERROR, true, "unexpected response status: 204"},
	{"item 43: 404", 404, {JSON}, INTENTIONAL, NEXUS_REPLY_ERROR, false, "NOT_FOUND"},
	{"item 43: 500", 500, {TEXT}, "oops", NEXUS_REPLY_ERROR, true, "INTERNAL"},
	{"424 means nothing here", 424, {JSON}, FAILED, NEXUS_REPLY_ERROR, true, "unexpected response status: 424"}
};

static void
test_row(const Row *row, bool is_cancel, NexusHeaders *headers, NexusReply *reply)
{
	NexusReplyLimits limits = {8};
	NexusText	body = exact_copy(row->body, strlen(row->body));
	NexusText	value;

	nexus_headers_reset(headers);
	for (size_t i = 0; i < LENGTH_OF(row->headers) && row->headers[i] != NULL; i++)
		nexus_headers_add_line(headers, nexus_text_of(row->headers[i]));
	if (is_cancel)
		nexus_reply_decode_cancel(row->status, headers, body, reply);
	else
		nexus_reply_decode_start(row->status, headers, body, &limits, reply);
	is_int(reply->kind, row->kind, row->name);
	is_int(reply->is_retryable, row->is_retryable, row->name);
	if (row->kind == NEXUS_REPLY_STARTED)
		is_text(nexus_buffer_view(&reply->token), row->content, row->name);
	else if (row->content != NULL && !ok(reply->failure.len > 0 && strstr(reply->failure.data, row->content) != NULL, row->name))
		printf("#      got: %s\n# expected: %s\n", reply->failure.data, row->content);
	else if (row->content == NULL)
		ok(reply->failure.len == 0 && reply->token.len == 0, row->name);
	if (row->kind == NEXUS_REPLY_SUCCEEDED)
		ok(reply->payload.data.data == body.data, row->name);
	is_text(nexus_buffer_view(&reply->links),
			nexus_headers_get(headers, "nexus-link", &value) && reply->kind <= NEXUS_REPLY_STARTED ? LINK_JSON : "",
			row->name);
	free((char *) body.data);
}

/* Item 27: each status with an empty body. */
static void
test_statuses(NexusHeaders *headers, NexusReply *reply)
{
	static const int retried[] = {408, 429, 500, 503, 520};
	NexusReplyLimits limits = {8};

	nexus_headers_reset(headers);
	for (int status = 100; status < 600; status++)
	{
		const char *type = nexus_failure_type_of_status(status);
		bool		is_retryable = false;

		if (type == NULL)
			continue;
		for (size_t i = 0; i < LENGTH_OF(retried); i++)
			is_retryable |= retried[i] == status;
		nexus_reply_decode_start(status, headers, nexus_text_of(""), &limits, reply);
		ok(reply->kind == NEXUS_REPLY_ERROR && reply->is_retryable == is_retryable &&
		   strstr(reply->failure.data, type) != NULL, "item 27: a status alone");
	}
}

int
main(void)
{
	NexusHeaders headers;
	NexusReply	reply;

	nexus_headers_init(&headers, 10000);
	nexus_reply_init(&reply);
	for (size_t i = 0; i < LENGTH_OF(starts); i++)
		test_row(&starts[i], false, &headers, &reply);
	for (size_t i = 0; i < LENGTH_OF(cancels); i++)
		test_row(&cancels[i], true, &headers, &reply);
	test_statuses(&headers, &reply);
	nexus_reply_free(&reply);
	nexus_headers_free(&headers);
	return done();
}
