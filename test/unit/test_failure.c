/*
 * test_failure.c
 *	  Failure objects.
 */
#include "protocol/failure.h"
#include "tap.h"

#define TYPED(type, rest) "{\"message\":\"m\",\"metadata\":{\"type\":\"nexus." type "\"}" rest "}"

typedef struct DecodeRow
{
	const char *name;
	const char *json;
	bool		is_valid;
	bool		is_parsed;
	NexusFailureKind kind;
	const char *type;
	NexusRetryable retryable;
	NexusOperationError state;
} DecodeRow;

static const DecodeRow rows[] = {
	{"item 29: handler error", TYPED("HandlerError", ",\"details\":{\"type\":\"BAD_REQUEST\"}"), true, true,
	NEXUS_FAILURE_HANDLER_ERROR, "BAD_REQUEST", NEXUS_RETRYABLE_UNSPECIFIED, NEXUS_OPERATION_ERROR_NONE},
	{"item 30: override true", TYPED("HandlerError", ",\"details\":{\"type\":\"X\",\"retryableOverride\":true}"), true, true,
	NEXUS_FAILURE_HANDLER_ERROR, "X", NEXUS_RETRYABLE_YES, NEXUS_OPERATION_ERROR_NONE},
	{"item 89: override false", TYPED("HandlerError", ",\"details\":{\"retryableOverride\":false}"), true, true,
	NEXUS_FAILURE_HANDLER_ERROR, "", NEXUS_RETRYABLE_NO, NEXUS_OPERATION_ERROR_NONE},
	{"item 23: operation error", TYPED("OperationError", ",\"details\":{\"state\":\"canceled\"}"), true, true,
	NEXUS_FAILURE_OPERATION_ERROR, "", NEXUS_RETRYABLE_UNSPECIFIED, NEXUS_OPERATION_ERROR_CANCELED},
	{"operation error in no state", TYPED("OperationError", ",\"details\":{\"state\":\"odd\"}"), true, true,
	NEXUS_FAILURE_OPERATION_ERROR, "", NEXUS_RETRYABLE_UNSPECIFIED, NEXUS_OPERATION_ERROR_NONE},
	{"item 33: empty", "{}", true, true, NEXUS_FAILURE_PLAIN, "", NEXUS_RETRYABLE_UNSPECIFIED, NEXUS_OPERATION_ERROR_NONE},
	{"item 47: Temporal's", "{\"metadata\":{\"type\":\"temporal.api.failure.v1.Failure\"},\"details\":{}}", true, true,
	NEXUS_FAILURE_PLAIN, "", NEXUS_RETRYABLE_UNSPECIFIED, NEXUS_OPERATION_ERROR_NONE},
	{"an integer beyond 64 bits", "{\"details\":123456789012345678901234567890}", true, true,
	NEXUS_FAILURE_PLAIN, "", NEXUS_RETRYABLE_UNSPECIFIED, NEXUS_OPERATION_ERROR_NONE},
	{"item 32: no details", TYPED("HandlerError", ""), false, true, NEXUS_FAILURE_PLAIN, "", 0, 0},
	{"item 32: details that are no object", TYPED("OperationError", ",\"details\":[]"), false, true, NEXUS_FAILURE_PLAIN, "", 0, 0},
	{"item 32: no details, further down", "{\"cause\":" TYPED("HandlerError", "") "}", false, true, NEXUS_FAILURE_PLAIN, "", 0, 0},
	{"a numeric type", TYPED("HandlerError", ",\"details\":{\"type\":1}"), false, true, NEXUS_FAILURE_HANDLER_ERROR, "", 0, 0},
	{"a numeric message", "{\"message\":1}", false, false, NEXUS_FAILURE_PLAIN, "", 0, 0},
	{"a numeric stack trace", "{\"stackTrace\":1}", false, false, NEXUS_FAILURE_PLAIN, "", 0, 0},
	{"metadata of numbers", "{\"metadata\":{\"a\":1}}", false, false, NEXUS_FAILURE_PLAIN, "", 0, 0},
	{"metadata that is a list", "{\"metadata\":[]}", false, false, NEXUS_FAILURE_PLAIN, "", 0, 0},
	{"a cause that is a string", "{\"cause\":\"x\"}", false, false, NEXUS_FAILURE_PLAIN, "", 0, 0},
	{"item 34: cut off", "{\"message\":\"m", false, false, NEXUS_FAILURE_PLAIN, "", 0, 0},
	{"empty body", "", false, false, NEXUS_FAILURE_PLAIN, "", 0, 0},
	{"an array", "[]", false, false, NEXUS_FAILURE_PLAIN, "", 0, 0},
	{"a string", "\"m\"", false, false, NEXUS_FAILURE_PLAIN, "", 0, 0},
	{"not UTF-8", "{\"message\":\"\xff\"}", false, false, NEXUS_FAILURE_PLAIN, "", 0, 0},
	{"something behind it", "{} x", false, false, NEXUS_FAILURE_PLAIN, "", 0, 0}
};

static void
test_decode(void)
{
	NexusBuffer out;

	nexus_buffer_init(&out, NEXUS_FAILURE_MAX_BYTES);
	for (size_t i = 0; i < LENGTH_OF(rows); i++)
	{
		const DecodeRow *row = &rows[i];
		NexusText	json = exact_copy(row->json, strlen(row->json));
		NexusFailureInfo info;
		NexusError	error = {0};

		nexus_buffer_reset(&out);
		ok(nexus_failure_decode(json, &info, &out, &error) == row->is_valid && error.is_set != row->is_valid, row->name);
		is_int(info.is_parsed, row->is_parsed, row->name);
		is_text(nexus_buffer_view(&out), row->is_valid ? row->json : "", row->name);
		if (row->is_valid)
			ok(info.kind == row->kind && strcmp(info.type, row->type) == 0 && info.retryable == row->retryable &&
			   info.state == row->state, row->name);
		free((char *) json.data);
	}
	nexus_buffer_free(&out);
}

static void
test_odd_escapes(void)
{
	NexusBuffer out;
	NexusFailureInfo info;

	nexus_buffer_init(&out, 1000);
	ok(nexus_failure_decode(nexus_text_of("{\"message\":\"a\\u0000b\\ud800\"}"), &info, &out, NULL), "NUL and half a pair");
	is_text(nexus_buffer_view(&out), "{\"message\":\"a\\ufffdb\\ufffd\"}", "are replaced");
	nexus_buffer_free(&out);
}

/* A chain of causes, as deep as asked. */
static bool
decode_chain(int depth)
{
	NexusBuffer json;
	NexusBuffer out;
	NexusFailureInfo info;
	bool		decoded;

	nexus_buffer_init(&json, SIZE_MAX);
	nexus_buffer_init(&out, SIZE_MAX);
	for (int i = 1; i < depth; i++)
		nexus_buffer_append_string(&json, "{\"cause\":");
	nexus_buffer_append_string(&json, "{}");
	for (int i = 1; i < depth; i++)
		nexus_buffer_append_string(&json, "}");
	decoded = nexus_failure_decode(nexus_buffer_view(&json), &info, &out, NULL);
	nexus_buffer_free(&json);
	nexus_buffer_free(&out);
	return decoded;
}

static void
test_text(void)
{
	NexusBuffer out;
	NexusFailureInfo info;

	nexus_buffer_init(&out, 1000);
	ok(nexus_failure_decode(nexus_text_of(" null "), &info, &out, NULL), "item 33: null");
	is_text(nexus_buffer_view(&out), "{}", "item 33: null counts as empty");
	nexus_buffer_reset(&out);
	nexus_failure_decode(nexus_text_of("\n{\"message\":\"\xc3\xa9\",\"details\":0.1}"), &info, &out, NULL);
	is_text(nexus_buffer_view(&out), "{\"message\":\"\\u00e9\",\"details\":0.1}", "ASCII, and numbers as they came");
	nexus_buffer_free(&out);
	nexus_buffer_init(&out, 4);
	ok(!nexus_failure_decode(nexus_text_of("{\"a\":1}"), &info, &out, NULL), "larger than the buffer");
	nexus_buffer_free(&out);
	ok(decode_chain(NEXUS_FAILURE_MAX_DEPTH), "as deep as allowed");
	ok(!decode_chain(NEXUS_FAILURE_MAX_DEPTH + 1), "deeper");
	ok(!decode_chain(10000), "very much deeper");
}

typedef struct OutcomeRow
{
	const char *name;
	const char *json;
	bool		is_header_stronger;
	NexusOperationError header;
	NexusOperationError state;
	const char *expected;		/* NULL where it is refused */
} OutcomeRow;

#define FAILED NEXUS_OPERATION_ERROR_FAILED
#define CANCELED NEXUS_OPERATION_ERROR_CANCELED
#define NONE NEXUS_OPERATION_ERROR_NONE
#define OPERATION_ERROR(state) TYPED("OperationError", ",\"details\":{\"state\":\"" state "\"}")
#define WRAPPED(state, cause) "{\"message\":\"nexus operation completed unsuccessfully\"," \
	"\"metadata\":{\"type\":\"nexus.OperationError\"},\"details\":{\"state\":\"" state "\"},\"cause\":" cause "}"
#define MARKED "{\"message\":\"m\",\"metadata\":{\"type\":\"nexus.OperationError\",\"unwrap-error\":\"true\"}," \
	"\"details\":{\"state\":\"failed\"},\"cause\":{\"message\":\"c\"}}"
#define UNMARKED "{\"message\":\"m\",\"metadata\":{\"type\":\"nexus.OperationError\"}," \
	"\"details\":{\"state\":\"failed\"},\"cause\":{\"message\":\"c\"}}"

static const OutcomeRow outcomes[] = {
	{"item 23: the body says it", OPERATION_ERROR("canceled"), false, NONE, CANCELED, OPERATION_ERROR("canceled")},
	{"the body against the header", OPERATION_ERROR("canceled"), false, FAILED, CANCELED, OPERATION_ERROR("canceled")},
	{"the header of a completion wins", OPERATION_ERROR("canceled"), true, FAILED, FAILED, OPERATION_ERROR("failed")},
	{"a state that is none", OPERATION_ERROR("odd"), false, FAILED, FAILED, OPERATION_ERROR("failed")},
	{"item 24: untyped", "{\"message\":\"intentional\"}", false, CANCELED, CANCELED, WRAPPED("canceled", "{\"message\":\"intentional\"}")},
	{"item 25: untyped without a state", "{\"message\":\"intentional\"}", false, NONE, NONE, NULL},
	{"a handler error is a cause", TYPED("HandlerError", ",\"details\":{}"), false, FAILED, FAILED,
	WRAPPED("failed", TYPED("HandlerError", ",\"details\":{}"))},
	{"null is a cause", "null", true, FAILED, FAILED, WRAPPED("failed", "{}")},
	{"the marker goes", MARKED, false, NONE, FAILED, UNMARKED},
	{"without details", TYPED("OperationError", ""), true, FAILED, FAILED, NULL},
	{"no JSON", "x", true, FAILED, FAILED, NULL}
};

static void
test_outcomes(void)
{
	NexusBuffer out;

	nexus_buffer_init(&out, 10000);
	for (size_t i = 0; i < LENGTH_OF(outcomes); i++)
	{
		const OutcomeRow *row = &outcomes[i];
		NexusOperationError state = row->header;

		nexus_buffer_reset(&out);
		ok(nexus_failure_decode_outcome(nexus_text_of(row->json), row->is_header_stronger, &state, &out, NULL) ==
		   (row->expected != NULL), row->name);
		is_int(state, row->state, row->name);
		is_text(nexus_buffer_view(&out), row->expected != NULL ? row->expected : "", row->name);
	}
	nexus_buffer_free(&out);
}

static void
expect(NexusBuffer *out, const char *json, const char *name)
{
	NexusBuffer copy;
	NexusFailureInfo info;

	is_text(nexus_buffer_view(out), json, name);
	nexus_buffer_init(&copy, 10000);
	ok(nexus_failure_decode(nexus_buffer_view(out), &info, &copy, NULL), name);
	nexus_buffer_free(&copy);
	nexus_buffer_reset(out);
}

static void
test_encode(void)
{
	NexusBuffer out;
	NexusText	m = nexus_text_of("m\xff");

	nexus_buffer_init(&out, 10000);
	nexus_failure_encode_handler_error(&out, "BAD_REQUEST", m, NEXUS_RETRYABLE_UNSPECIFIED, nexus_text_of(""));
	expect(&out, "{\"message\":\"m\\ufffd\",\"metadata\":{\"type\":\"nexus.HandlerError\"},\"details\":{\"type\":\"BAD_REQUEST\"}}",
		   "item 60: handler error");
	nexus_failure_encode_handler_error(&out, "INTERNAL", m, NEXUS_RETRYABLE_NO, nexus_text_of("{}"));
	expect(&out, "{\"message\":\"m\\ufffd\",\"metadata\":{\"type\":\"nexus.HandlerError\"},"
		   "\"details\":{\"type\":\"INTERNAL\",\"retryableOverride\":false},\"cause\":{}}", "override and cause");
	nexus_failure_encode_operation_error(&out, CANCELED, m, nexus_text_of(""));
	expect(&out, "{\"message\":\"m\\ufffd\",\"metadata\":{\"type\":\"nexus.OperationError\"},\"details\":{\"state\":\"canceled\"}}",
		   "operation error");
	nexus_failure_encode_message(&out, m);
	expect(&out, "{\"message\":\"m\\ufffd\"}", "message");
	nexus_failure_encode_timeout(&out, NEXUS_TIMEOUT_SCHEDULE_TO_CLOSE, m);
	expect(&out, "{\"message\":\"m\\ufffd\",\"metadata\":{\"type\":\"temporal.api.failure.v1.Failure\"},"
		   "\"details\":{\"timeoutFailureInfo\":{\"timeoutType\":\"TIMEOUT_TYPE_SCHEDULE_TO_CLOSE\"}}}", "timeout");
	nexus_failure_encode_canceled(&out, m);
	expect(&out, "{\"message\":\"m\\ufffd\",\"metadata\":{\"type\":\"temporal.api.failure.v1.Failure\"},"
		   "\"details\":{\"canceledFailureInfo\":{}}}", "canceled");
	nexus_failure_encode_terminated(&out, m, nexus_text_of("\"me\""));
	expect(&out, "{\"message\":\"m\\ufffd\",\"metadata\":{\"type\":\"temporal.api.failure.v1.Failure\"},"
		   "\"details\":{\"terminatedFailureInfo\":{\"identity\":\"\\\"me\\\"\"}}}", "terminated");
	nexus_buffer_free(&out);
}

static void
test_types(void)
{
	static const int statuses[] = {400, 401, 403, 404, 408, 409, 429, 500, 501, 503, 520};

	for (size_t i = 0; i < LENGTH_OF(statuses); i++)
		is_int(nexus_failure_status_of_type(nexus_text_of(nexus_failure_type_of_status(statuses[i]))), statuses[i],
			   nexus_failure_type_of_status(statuses[i]));
	ok(nexus_failure_type_of_status(502) == NULL && nexus_failure_type_of_status(422) == NULL, "item 35: no ranges");
	is_int(nexus_failure_status_of_type(nexus_text_of("CUSTOM")), 500, "unknown type");
	ok(nexus_failure_is_retryable("CUSTOM") && nexus_failure_is_retryable(""), "item 37: unknown types are retried");
	ok(nexus_failure_is_retryable("REQUEST_TIMEOUT") && !nexus_failure_is_retryable("CONFLICT"), "item 36");
}

int
main(void)
{
	test_decode();
	test_odd_escapes();
	test_text();
	test_outcomes();
	test_encode();
	test_types();
	return done();
}
