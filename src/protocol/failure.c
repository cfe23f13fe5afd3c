/*
 * failure.c
 *	  Decode, classify and encode Failure objects.
 *
 * A failure is parsed to be understood, but what is stored is the text that
 * came, escaped to ASCII, so that its numbers stay exactly what they were.
 * Names of libjansson functions that PostgreSQL exports too must not be used
 * here: json_object() above all.
 */
#include "protocol/failure.h"
#include "protocol/json_text.h"

#include <jansson.h>

#define TYPE_HANDLER_ERROR "nexus.HandlerError"
#define TYPE_OPERATION_ERROR "nexus.OperationError"
#define TYPE_TEMPORAL "temporal.api.failure.v1.Failure"
#define UNSUCCESSFUL "nexus operation completed unsuccessfully"
#define UNWRAP_MARKER "unwrap-error"

typedef struct Handler
{
	const char *type;
	int			status;
	bool		is_retryable;
} Handler;

static const Handler handler_errors[] = {
	{"BAD_REQUEST", 400, false},
	{"UNAUTHENTICATED", 401, false},
	{"UNAUTHORIZED", 403, false},
	{"NOT_FOUND", 404, false},
	{"REQUEST_TIMEOUT", 408, true},
	{"CONFLICT", 409, false},
	{"RESOURCE_EXHAUSTED", 429, true},
	{"INTERNAL", 500, true},
	{"NOT_IMPLEMENTED", 501, false},
	{"UNAVAILABLE", 503, true},
	{"UPSTREAM_TIMEOUT", 520, true}
};

#define HANDLER_ERRORS (sizeof(handler_errors) / sizeof(handler_errors[0]))
#define STATUS_OF_UNKNOWN 500

const char *
nexus_failure_type_of_status(int status)
{
	for (size_t i = 0; i < HANDLER_ERRORS; i++)
	{
		if (handler_errors[i].status == status)
			return handler_errors[i].type;
	}
	return NULL;
}

static const Handler *
find_type(NexusText type)
{
	for (size_t i = 0; i < HANDLER_ERRORS; i++)
	{
		if (nexus_text_equal(type, nexus_text_of(handler_errors[i].type)))
			return &handler_errors[i];
	}
	return NULL;
}

int
nexus_failure_status_of_type(NexusText type)
{
	const Handler *known = find_type(type);

	return known != NULL ? known->status : STATUS_OF_UNKNOWN;
}

bool
nexus_failure_is_retryable(const char *type)
{
	const Handler *known = find_type(nexus_text_of(type));

	return known == NULL || known->is_retryable;
}

NexusOperationError
nexus_failure_state_of_name(NexusText name)
{
	if (nexus_text_equal(name, nexus_text_of("failed")))
		return NEXUS_OPERATION_ERROR_FAILED;
	if (nexus_text_equal(name, nexus_text_of("canceled")))
		return NEXUS_OPERATION_ERROR_CANCELED;
	return NEXUS_OPERATION_ERROR_NONE;
}

static const char *
name_of_state(NexusOperationError state)
{
	return state == NEXUS_OPERATION_ERROR_CANCELED ? "canceled" : "failed";
}

/* A new reference to the object in a text; NULL where it holds none. */
static json_t *
load_object(NexusText text)
{
	json_t	   *json;

	if (text.len == 0 || !nexus_json_is_storable(text, NEXUS_FAILURE_MAX_DEPTH))
		return NULL;
	json = json_loadb(text.data, text.len, JSON_DECODE_ANY, NULL);

	/* an integer beyond 64 bits is no reason to refuse a failure */
	if (json == NULL)
		json = json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
	if (json_is_null(json))
		return json_pack("{}");
	if (json_is_object(json))
		return json;
	json_decref(json);
	return NULL;
}

/* The text of a string, empty for anything else. */
static NexusText
text_of_json(const json_t *json)
{
	if (!json_is_string(json))
		return nexus_text_make("", 0);
	return nexus_text_make(json_string_value(json), json_string_length(json));
}

/* Where a field stands, it has the right type; null is as good as absent. */
static bool
is_shaped(json_t *failure)
{
	json_t	   *message = json_object_get(failure, "message");
	json_t	   *stack_trace = json_object_get(failure, "stackTrace");
	json_t	   *metadata = json_object_get(failure, "metadata");
	json_t	   *cause = json_object_get(failure, "cause");
	const char *key;
	json_t	   *value;

	if ((message != NULL && !json_is_string(message) && !json_is_null(message)) ||
		(stack_trace != NULL && !json_is_string(stack_trace) && !json_is_null(stack_trace)) ||
		(metadata != NULL && !json_is_object(metadata) && !json_is_null(metadata)) ||
		(cause != NULL && !json_is_object(cause) && !json_is_null(cause)))
		return false;
	json_object_foreach(metadata, key, value)
	{
		if (!json_is_string(value) && !json_is_null(value))
			return false;
	}
	return true;
}

/* The next failure of a chain; NULL at its end. */
static json_t *
cause_of(const json_t *failure)
{
	json_t	   *cause = json_object_get(failure, "cause");

	return json_is_object(cause) ? cause : NULL;
}

static bool
read_handler_error(const json_t *details, NexusFailureInfo *info, NexusError *error)
{
	json_t	   *type = json_object_get(details, "type");
	json_t	   *override = json_object_get(details, "retryableOverride");
	NexusText	name = text_of_json(type);

	info->kind = NEXUS_FAILURE_HANDLER_ERROR;
	if ((type != NULL && !json_is_string(type) && !json_is_null(type)) ||
		(override != NULL && !json_is_boolean(override) && !json_is_null(override)))
		return nexus_error_set(error, "failure of type %s has malformed details", TYPE_HANDLER_ERROR);
	if (name.len >= sizeof(info->type))
		name.len = sizeof(info->type) - 1;
	memcpy(info->type, name.data, name.len);
	info->type[name.len] = '\0';
	if (json_is_boolean(override))
		info->retryable = json_is_true(override) ? NEXUS_RETRYABLE_YES : NEXUS_RETRYABLE_NO;
	return true;
}

static bool
read_operation_error(const json_t *details, NexusFailureInfo *info, NexusError *error)
{
	json_t	   *state = json_object_get(details, "state");

	info->kind = NEXUS_FAILURE_OPERATION_ERROR;
	if (state != NULL && !json_is_string(state) && !json_is_null(state))
		return nexus_error_set(error, "failure of type %s has malformed details", TYPE_OPERATION_ERROR);
	info->state = nexus_failure_state_of_name(text_of_json(state));
	return true;
}

/* What one failure of a chain says of itself. */
static bool
read_info(const json_t *failure, NexusFailureInfo *info, NexusError *error)
{
	NexusText	type = text_of_json(json_object_get(json_object_get(failure, "metadata"), "type"));
	json_t	   *details = json_object_get(failure, "details");
	bool		is_handler_error = nexus_text_equal(type, nexus_text_of(TYPE_HANDLER_ERROR));
	bool		is_operation_error = nexus_text_equal(type, nexus_text_of(TYPE_OPERATION_ERROR));

	memset(info, 0, sizeof(*info));
	info->is_parsed = true;
	if (!is_handler_error && !is_operation_error)
		return true;
	if (!json_is_object(details))
		return nexus_error_set(error, "failure of type %.*s has no details", (int) type.len, type.data);
	if (is_handler_error)
		return read_handler_error(details, info, error);
	return read_operation_error(details, info, error);
}

/* Parse a failure and check its whole chain; a new reference, or NULL. */
static json_t *
parse(NexusText text, NexusFailureInfo *info, NexusError *error)
{
	json_t	   *root = load_object(text);
	NexusFailureInfo inner;

	memset(info, 0, sizeof(*info));
	for (json_t *failure = root; failure != NULL; failure = cause_of(failure))
	{
		if (is_shaped(failure))
			continue;
		json_decref(root);
		root = NULL;
		break;
	}
	if (root == NULL)
	{
		nexus_error_set(error, "body is not a failure in JSON");
		return NULL;
	}
	info->is_parsed = true;
	for (json_t *failure = root; failure != NULL; failure = cause_of(failure))
	{
		if (read_info(failure, failure == root ? info : &inner, error))
			continue;
		json_decref(root);
		return NULL;
	}
	return root;
}

/* "null" stands for an empty failure. */
static bool
append_source(NexusBuffer *out, NexusText text)
{
	while (text.len > 0 && strchr(" \t\r\n", text.data[0]) != NULL)
	{
		text.data++;
		text.len--;
	}
	if (text.len > 0 && text.data[0] != '{')
		return nexus_buffer_append_string(out, "{}");
	return nexus_json_append_ascii(out, text);
}

/*
 * The text to read and to keep: a copy in "copy" where it has escapes that
 * PostgreSQL cannot hold, since a handler's odd message must not cost its failure.
 */
static NexusText
storable(NexusText json, NexusBuffer *copy)
{
	nexus_buffer_init(copy, NEXUS_FAILURE_MAX_BYTES);
	if (json.len == 0 || memchr(json.data, '\\', json.len) == NULL || !nexus_buffer_append_text(copy, json))
		return json;
	nexus_json_make_storable(copy->data, copy->len);
	return nexus_buffer_view(copy);
}

static bool
decode(NexusText json, NexusFailureInfo *info, NexusBuffer *out, NexusError *error)
{
	json_t	   *root = parse(json, info, error);

	if (root == NULL)
		return false;
	json_decref(root);
	if (!append_source(out, json))
		return nexus_error_set(error, "failure is too large");
	return true;
}

bool
nexus_failure_decode(NexusText json, NexusFailureInfo *info, NexusBuffer *out, NexusError *error)
{
	NexusBuffer copy;
	bool		ok = decode(storable(json, &copy), info, out, error);

	nexus_buffer_free(&copy);
	return ok;
}

static int
append_dumped(const char *data, size_t len, void *out)
{
	return nexus_buffer_append(out, data, len) ? 0 : -1;
}

/* Append an OperationError, in another state or without the marker where need be. */
static bool
append_operation_error(json_t *root, NexusText source, NexusOperationError said,
					   NexusOperationError state, NexusBuffer *out)
{
	/* never NULL: an OperationError has both */
	json_t	   *details = json_object_get(root, "details");
	bool		was_marked = json_object_del(json_object_get(root, "metadata"), UNWRAP_MARKER) == 0;
	bool		is_changed = said != state;

	if (!was_marked && !is_changed)
		return append_source(out, source);
	if (is_changed && json_object_set_new(details, "state", json_string(name_of_state(state))) != 0)
		return false;
	return json_dump_callback(root, append_dumped, out, JSON_ENSURE_ASCII | JSON_COMPACT) == 0;
}

/* Append an OperationError around a failure, as it came. */
static bool
append_wrapped(NexusText source, NexusOperationError state, NexusBuffer *out)
{
	NexusBuffer cause;
	bool		done;

	nexus_buffer_init(&cause, out->max);
	done = append_source(&cause, source) &&
		nexus_failure_encode_operation_error(out, state, nexus_text_of(UNSUCCESSFUL),
											 nexus_buffer_view(&cause));
	nexus_buffer_free(&cause);
	return done;
}

static bool
decode_outcome(NexusText json, bool is_header_stronger, NexusOperationError *state,
			   NexusBuffer *out, NexusError *error)
{
	NexusFailureInfo info;
	json_t	   *root = parse(json, &info, error);
	bool		is_typed = info.kind == NEXUS_FAILURE_OPERATION_ERROR;
	bool		done;

	if (root == NULL)
		return false;
	if (is_typed && !is_header_stronger && info.state != NEXUS_OPERATION_ERROR_NONE)
		*state = info.state;
	if (*state == NEXUS_OPERATION_ERROR_NONE)
	{
		json_decref(root);
		return nexus_error_set(error, "no valid operation state");
	}
	if (is_typed)
		done = append_operation_error(root, json, info.state, *state, out);
	else
		done = append_wrapped(json, *state, out);
	json_decref(root);
	if (!done)
		return nexus_error_set(error, "failure is too large");
	return true;
}

bool
nexus_failure_decode_outcome(NexusText json, bool is_header_stronger, NexusOperationError *state,
							 NexusBuffer *out, NexusError *error)
{
	NexusBuffer copy;
	bool		ok = decode_outcome(storable(json, &copy), is_header_stronger, state, out, error);

	nexus_buffer_free(&copy);
	return ok;
}

/* {"message":"...","metadata":{"type":"..."},"details": -- what follows is up to the caller */
static void
begin_typed(NexusBuffer *out, NexusText message, const char *metadata_type)
{
	nexus_buffer_append_string(out, "{\"message\":");
	nexus_json_append_string(out, message);
	nexus_buffer_append_format(out, ",\"metadata\":{\"type\":\"%s\"},\"details\":", metadata_type);
}

static bool
end_with_cause(NexusBuffer *out, NexusText cause)
{
	if (cause.len > 0)
	{
		nexus_buffer_append_string(out, ",\"cause\":");
		nexus_buffer_append_text(out, cause);
	}
	return nexus_buffer_append(out, "}", 1);
}

bool
nexus_failure_encode_handler_error(NexusBuffer *out, const char *type, NexusText message,
								   NexusRetryable retryable, NexusText cause)
{
	begin_typed(out, message, TYPE_HANDLER_ERROR);
	nexus_buffer_append_string(out, "{\"type\":");
	nexus_json_append_string(out, nexus_text_of(type));
	if (retryable != NEXUS_RETRYABLE_UNSPECIFIED)
		nexus_buffer_append_format(out, ",\"retryableOverride\":%s",
								   retryable == NEXUS_RETRYABLE_YES ? "true" : "false");
	nexus_buffer_append(out, "}", 1);
	return end_with_cause(out, cause);
}

bool
nexus_failure_encode_operation_error(NexusBuffer *out, NexusOperationError state,
									 NexusText message, NexusText cause)
{
	begin_typed(out, message, TYPE_OPERATION_ERROR);
	nexus_buffer_append_format(out, "{\"state\":\"%s\"}", name_of_state(state));
	return end_with_cause(out, cause);
}

bool
nexus_failure_encode_message(NexusBuffer *out, NexusText message)
{
	nexus_buffer_append_string(out, "{\"message\":");
	nexus_json_append_string(out, message);
	return nexus_buffer_append(out, "}", 1);
}

static const char *
name_of_timeout(NexusTimeoutType type)
{
	switch (type)
	{
		case NEXUS_TIMEOUT_SCHEDULE_TO_CLOSE:
			return "TIMEOUT_TYPE_SCHEDULE_TO_CLOSE";
		case NEXUS_TIMEOUT_SCHEDULE_TO_START:
			return "TIMEOUT_TYPE_SCHEDULE_TO_START";
		case NEXUS_TIMEOUT_START_TO_CLOSE:
			return "TIMEOUT_TYPE_START_TO_CLOSE";
	}
	return "TIMEOUT_TYPE_UNSPECIFIED";
}

bool
nexus_failure_encode_timeout(NexusBuffer *out, NexusTimeoutType type, NexusText message)
{
	begin_typed(out, message, TYPE_TEMPORAL);
	return nexus_buffer_append_format(out, "{\"timeoutFailureInfo\":{\"timeoutType\":\"%s\"}}}",
									  name_of_timeout(type));
}

bool
nexus_failure_encode_canceled(NexusBuffer *out, NexusText message)
{
	begin_typed(out, message, TYPE_TEMPORAL);
	return nexus_buffer_append_string(out, "{\"canceledFailureInfo\":{}}}");
}

bool
nexus_failure_encode_terminated(NexusBuffer *out, NexusText message, NexusText identity)
{
	begin_typed(out, message, TYPE_TEMPORAL);
	nexus_buffer_append_string(out, "{\"terminatedFailureInfo\":{\"identity\":");
	nexus_json_append_string(out, identity);
	return nexus_buffer_append_string(out, "}}}");
}
