/*
 * test_completion.c
 *	  Callback requests.
 */
#include "protocol/completion.h"
#include "tap.h"

#define JSON "Content-Type: application/json"
#define STATE(name) "Nexus-Operation-State: " name
#define TOKEN(value) "Nexus-Operation-Token: " value
#define OLD_TOKEN(value) "Nexus-Operation-Id: " value
#define START(value) "Nexus-Operation-Start-Time: " value
#define CLOSE(value) "Nexus-Operation-Close-Time: " value
#define TYPED(message, state) "{\"message\":\"" message "\",\"metadata\":{\"type\":\"nexus.OperationError\"}," \
	"\"details\":{\"state\":\"" state "\"}}"
#define WRAPPED(state, cause) "{\"message\":\"nexus operation completed unsuccessfully\"," \
	"\"metadata\":{\"type\":\"nexus.OperationError\"},\"details\":{\"state\":\"" state "\"},\"cause\":" cause "}"
#define TEMPORAL "{\"message\":\"t\",\"metadata\":{\"type\":\"temporal.api.failure.v1.Failure\"},\"details\":{\"applicationFailureInfo\":{}}}"

#define MAX_TOKEN 8
#define MAX_HEADERS 7

typedef struct Row
{
	const char *name;
	const char *headers[MAX_HEADERS];
	const char *body;
	const char *error;			/* NULL where it is accepted */
	NexusCompletionState state;
	const char *token;			/* not looked at where NULL */
	const char *failure;		/* likewise */
} Row;

static const Row rows[] = {
	{"item 44: success", {JSON, STATE("succeeded"), TOKEN("t")}, "666", NULL, NEXUS_COMPLETION_SUCCEEDED, "t", ""},
	{"item 45: canceled, typed", {JSON, STATE("canceled")}, TYPED("expected message", "canceled"), NULL,
	NEXUS_COMPLETION_CANCELED, "", TYPED("expected message", "canceled")},
	{"the header's state wins", {JSON, STATE("canceled")}, TYPED("m", "failed"), NULL,
	NEXUS_COMPLETION_CANCELED, "", TYPED("m", "canceled")},
	{"item 46: failed, untyped", {JSON, STATE("failed")}, "{\"message\":\"m\"}", NULL,
	NEXUS_COMPLETION_FAILED, "", WRAPPED("failed", "{\"message\":\"m\"}")},
	{"item 47: Temporal's failure", {JSON, STATE("failed")}, TEMPORAL, NULL, NEXUS_COMPLETION_FAILED, "", WRAPPED("failed", TEMPORAL)},
	{"item 48: chunked, so without a length", {JSON "; charset=utf-8", STATE("failed"), "Transfer-Encoding: chunked"}, "{}", NULL,
	NEXUS_COMPLETION_FAILED, "", WRAPPED("failed", "{}")},
	{"item 49: the old name of the token", {STATE("succeeded"), OLD_TOKEN("old")}, "", NULL, NEXUS_COMPLETION_SUCCEEDED, "old", NULL},
	{"item 49: both names", {STATE("succeeded"), OLD_TOKEN("old"), TOKEN("new")}, "", NULL, NEXUS_COMPLETION_SUCCEEDED, "new", NULL},
	{"the longest token", {STATE("succeeded"), TOKEN("12345678")}, "", NULL, NEXUS_COMPLETION_SUCCEEDED, "12345678", NULL},
	{"a token too long", {STATE("succeeded"), TOKEN("123456789")}, "", "operation token length exceeds allowed limit (9/8)", 0, NULL, NULL},
	{"a token that is no UTF-8", {STATE("succeeded"), TOKEN("\xff")}, "", "operation token is not valid UTF-8", 0, NULL, NULL},
	{"item 50: ten digits", {STATE("succeeded"), CLOSE("2006-01-02T15:04:05.1234567890Z")}, "",
	"invalid operation close time: \"2006-01-02T15:04:05.1234567890Z\"", 0, NULL, NULL},
	{"item 50: garbage", {STATE("succeeded"), CLOSE("g\xff")}, "", "invalid operation close time", 0, NULL, NULL},
	{"item 51: garbage", {STATE("succeeded"), START("garbage")}, "", "invalid operation start time: \"garbage\"", 0, NULL, NULL},
	{"item 52: no state", {JSON}, "666", "invalid request operation state: \"\"", 0, NULL, NULL},
	{"item 52: running", {JSON, STATE("running")}, "666", "invalid request operation state: \"running\"", 0, NULL, NULL},
	{"item 53: plain text", {"Content-Type: text/plain", STATE("failed")}, "oops", "invalid request content type: \"text/plain\"", 0, NULL, NULL},
	{"item 53: bad JSON", {JSON, STATE("failed")}, "{", "body is not a failure in JSON", 0, NULL, NULL},
	{"item 53: no body", {JSON, STATE("canceled")}, "", "body is not a failure in JSON", 0, NULL, NULL},
	{"typed without details", {JSON, STATE("failed")}, "{\"metadata\":{\"type\":\"nexus.OperationError\"}}",
	"failure of type nexus.OperationError has no details", 0, NULL, NULL},
	{"item 54: bad link", {JSON, STATE("succeeded"), "Nexus-Link: <a:b>"}, "666", "link has no parameters", 0, NULL, NULL},
	{"item 55: nothing", {STATE("succeeded")}, "", NULL, NEXUS_COMPLETION_SUCCEEDED, "", ""}
};

static bool
decode(const char *const *lines, size_t count, NexusText body, NexusHeaders *headers,
	   NexusCompletion *completion, NexusError *error)
{
	nexus_headers_reset(headers);
	for (size_t i = 0; i < count && lines[i] != NULL; i++)
		nexus_headers_add_line(headers, nexus_text_of(lines[i]));
	return nexus_completion_decode(headers, body, MAX_TOKEN, completion, error);
}

static void
test_row(const Row *row, NexusHeaders *headers, NexusCompletion *completion)
{
	NexusText	body = exact_copy(row->body, strlen(row->body));
	NexusError	error = {0};

	ok(decode(row->headers, MAX_HEADERS, body, headers, completion, &error) == (row->error == NULL), row->name);
	is_text(nexus_text_of(error.message), row->error != NULL ? row->error : "", row->name);
	if (row->error == NULL)
		is_int(completion->state, row->state, row->name);
	if (row->token != NULL)
		is_text(completion->token, row->token, row->name);
	if (row->failure != NULL)
		is_text(nexus_buffer_view(&completion->failure), row->failure, row->name);
	free((char *) body.data);
}

/* Items 44, 50, 51 and 55 in full. */
static void
test_fields(NexusHeaders *headers, NexusCompletion *completion)
{
	static const char *const full[] = {
		JSON, STATE("succeeded"), TOKEN("t"), START("Mon, 02 Jan 2006 15:04:05 GMT"),
		CLOSE("2006-01-02T17:04:05.5+02:00"), "Nexus-Link: <a:b>; type=x", "Foo: bar"
	};
	static const char *const bare[] = {STATE("succeeded")};
	NexusText	body = nexus_text_of("666");

	ok(decode(full, LENGTH_OF(full), body, headers, completion, NULL), "item 44: everything");
	ok(completion->has_start_time && completion->has_close_time, "item 44: both times");
	is_int(completion->start_time, INT64_C(1136214245000000), "item 51: start time");
	is_int(completion->close_time, INT64_C(1136214245500000), "item 50: close time with an offset");
	is_text(nexus_buffer_view(&completion->links), "[{\"url\":\"a:b\",\"type\":\"x\"}]", "item 44: link");
	is_int(completion->payload.kind, NEXUS_PAYLOAD_JSON, "item 44: JSON");
	is_text(completion->payload.data, "666", "item 44: result");
	ok(decode(bare, LENGTH_OF(bare), nexus_text_of(""), headers, completion, NULL), "item 55: used again");
	is_int(completion->payload.kind, NEXUS_PAYLOAD_NULL, "item 55: no value");
	ok(!completion->has_start_time && !completion->has_close_time && completion->links.len == 0 && completion->token.len == 0,
	   "nothing is left of the one before");
}

int
main(void)
{
	NexusHeaders headers;
	NexusCompletion completion;

	nexus_headers_init(&headers, 10000);
	nexus_completion_init(&completion);
	for (size_t i = 0; i < LENGTH_OF(rows); i++)
		test_row(&rows[i], &headers, &completion);
	test_fields(&headers, &completion);
	nexus_completion_free(&completion);
	nexus_headers_free(&headers);
	return done();
}
