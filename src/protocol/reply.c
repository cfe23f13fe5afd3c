/*
 * reply.c
 *	  Decide what a handler's answer means.
 *
 * A body that says what it is beats the status and the headers; an answer that
 * breaks the protocol may come from a proxy that is there for a moment only,
 * and is therefore always retryable.
 */
#include "protocol/reply.h"
#include "protocol/json_text.h"
#include "protocol/link.h"

#include <jansson.h>
#include <stdio.h>

#define STATUS_OK 200
#define STATUS_CREATED 201
#define STATUS_ACCEPTED 202
#define STATUS_UNSUCCESSFUL 424

#define MAX_LINKS_BYTES (1024 * 1024)	/* headers are capped long before */
#define MAX_MEDIA_TYPE 100		/* of what is quoted in a message */

void
nexus_reply_init(NexusReply *reply)
{
	memset(reply, 0, sizeof(*reply));
	/* the limits of each call bound the token */
	nexus_buffer_init(&reply->token, SIZE_MAX);
	nexus_buffer_init(&reply->failure, NEXUS_FAILURE_MAX_BYTES);
	nexus_buffer_init(&reply->links, MAX_LINKS_BYTES);
}

void
nexus_reply_free(NexusReply *reply)
{
	nexus_buffer_free(&reply->token);
	nexus_buffer_free(&reply->failure);
	nexus_buffer_free(&reply->links);
}

static void
reset(NexusReply *reply)
{
	reply->kind = NEXUS_REPLY_ERROR;
	reply->is_retryable = false;
	memset(&reply->payload, 0, sizeof(reply->payload));
	reply->payload.data = nexus_text_make("", 0);
	reply->payload.content_type = nexus_text_make("", 0);
	nexus_buffer_reset(&reply->token);
	nexus_buffer_reset(&reply->failure);
	nexus_buffer_reset(&reply->links);
}

/* Make the reply an error that says no more than a sentence. */
static void
set_error(NexusReply *reply, bool is_retryable, const char *message)
{
	reply->kind = NEXUS_REPLY_ERROR;
	reply->is_retryable = is_retryable;
	nexus_buffer_reset(&reply->token);
	nexus_buffer_reset(&reply->links);
	nexus_buffer_reset(&reply->failure);
	nexus_failure_encode_message(&reply->failure, nexus_text_of(message));
}

static void
set_unexpected(NexusReply *reply, int status, const char *why)
{
	NexusError	error = {0};

	nexus_error_set(&error, "unexpected response with status %d: %s", status, why);
	set_error(reply, true, error.message);
}

/* For the message where JSON was expected. */
static void
set_wrong_type(NexusReply *reply, int status, const NexusHeaders *headers)
{
	NexusText	type;
	NexusError	error = {0};

	if (!nexus_headers_get(headers, "content-type", &type))
		nexus_error_set(&error, "no content type");
	else
		nexus_error_set(&error, "content type \"%.*s\"",
						(int) (type.len < MAX_MEDIA_TYPE ? type.len : MAX_MEDIA_TYPE), type.data);
	set_unexpected(reply, status, error.message);
}

static NexusRetryable
retryable_of_header(const NexusHeaders *headers)
{
	NexusText	value;

	nexus_headers_get(headers, "nexus-request-retryable", &value);
	if (nexus_text_equal_fold(value, nexus_text_of("true")))
		return NEXUS_RETRYABLE_YES;
	if (nexus_text_equal_fold(value, nexus_text_of("false")))
		return NEXUS_RETRYABLE_NO;
	return NEXUS_RETRYABLE_UNSPECIFIED;
}

static bool
is_retryable(const char *type, NexusRetryable override)
{
	if (override != NEXUS_RETRYABLE_UNSPECIFIED)
		return override == NEXUS_RETRYABLE_YES;
	return nexus_failure_is_retryable(type);
}

/* The HandlerError that a status stands for, with the body's failure as its cause. */
static void
set_handler_error(NexusReply *reply, const char *type, const NexusHeaders *headers, NexusText cause)
{
	NexusRetryable override = retryable_of_header(headers);
	char		message[32];
	size_t		len = 0;

	/* "BAD_REQUEST" reads "bad request" */
	for (; type[len] != '\0' && len < sizeof(message); len++)
		message[len] = type[len] == '_' ? ' ' : (char) (type[len] - 'A' + 'a');
	reply->is_retryable = is_retryable(type, override);
	nexus_failure_encode_handler_error(&reply->failure, type, nexus_text_make(message, len),
									   override, cause);
}

/* A status that means nothing to us; what the body says goes along. */
static void
set_unexpected_status(NexusReply *reply, int status, NexusText cause)
{
	reply->is_retryable = true;
	nexus_buffer_append_format(&reply->failure, "{\"message\":\"unexpected response status: %d\"",
							   status);
	if (cause.len > 0)
	{
		nexus_buffer_append_string(&reply->failure, ",\"cause\":");
		nexus_buffer_append_text(&reply->failure, cause);
	}
	nexus_buffer_append(&reply->failure, "}", 1);
}

/* Neither success nor an unsuccessful operation: sections 2.3 and 2.4. */
static void
decode_error(int status, const NexusHeaders *headers, NexusText body, NexusReply *reply)
{
	const char *type = nexus_failure_type_of_status(status);
	NexusFailureInfo info = {0};
	NexusError	error = {0};
	NexusBuffer cause;

	nexus_buffer_init(&cause, NEXUS_FAILURE_MAX_BYTES);
	if (!nexus_payload_has_json_type(headers))
		body.len = 0;
	if (!nexus_failure_decode(body, &info, &cause, &error))
		nexus_buffer_reset(&cause);
	if (error.is_set && info.is_parsed)
		set_unexpected(reply, status, error.message);
	else if (info.kind == NEXUS_FAILURE_HANDLER_ERROR)
	{
		reply->is_retryable = is_retryable(info.type, info.retryable);
		nexus_buffer_append_text(&reply->failure, nexus_buffer_view(&cause));
	}
	else if (type != NULL)
		set_handler_error(reply, type, headers, nexus_buffer_view(&cause));
	else
		set_unexpected_status(reply, status, nexus_buffer_view(&cause));
	nexus_buffer_free(&cause);
}

/* The token of {"token":...,"state":"running"}, else its id; false, with why, where there is none. */
static bool
read_token(json_t *root, NexusText *token, NexusError *error)
{
	json_t	   *state = json_object_get(root, "state");
	json_t	   *found = json_object_get(root, "token");

	if (!json_is_object(root))
		return nexus_error_set(error, "body is not a JSON object");
	if (!json_is_string(state) || strcmp(json_string_value(state), "running") != 0)
		return nexus_error_set(error, "operation state is not \"running\"");
	if (found == NULL || json_is_null(found) || (json_is_string(found) && json_string_length(found) == 0))
		found = json_object_get(root, "id");
	if (!json_is_string(found) || json_string_length(found) == 0)
		return nexus_error_set(error, "no operation token");
	*token = nexus_text_make(json_string_value(found), json_string_length(found));
	return true;
}

static void
decode_started(const NexusHeaders *headers, NexusText body, const NexusReplyLimits *limits,
			   NexusReply *reply)
{
	NexusError	error = {0};
	NexusText	token;
	json_t	   *root = NULL;

	if (!nexus_payload_has_json_type(headers))
	{
		set_wrong_type(reply, STATUS_CREATED, headers);
		return;
	}
	if (body.len > 0 && nexus_json_is_storable(body, NEXUS_FAILURE_MAX_DEPTH))
		root = json_loadb(body.data, body.len, 0, NULL);
	if (!read_token(root, &token, &error))
		set_unexpected(reply, STATUS_CREATED, error.message);
	else if (token.len > limits->max_token_length)
	{
		nexus_error_set(&error, "invalid operation token: length exceeds allowed limit (%zu/%zu)",
						token.len, limits->max_token_length);
		set_error(reply, false, error.message);
	}
	else if (!nexus_buffer_append_text(&reply->token, token))
		set_error(reply, true, "out of memory");
	else
		reply->kind = NEXUS_REPLY_STARTED;
	json_decref(root);
}

static void
decode_unsuccessful(const NexusHeaders *headers, NexusText body, NexusReply *reply)
{
	NexusError	error = {0};
	NexusText	name;
	NexusOperationError state;

	if (!nexus_payload_has_json_type(headers))
	{
		set_wrong_type(reply, STATUS_UNSUCCESSFUL, headers);
		return;
	}
	nexus_headers_get(headers, "nexus-operation-state", &name);
	state = nexus_failure_state_of_name(name);
	if (!nexus_failure_decode_outcome(body, false, &state, &reply->failure, &error))
		set_unexpected(reply, STATUS_UNSUCCESSFUL, error.message);
	else
		reply->kind = state == NEXUS_OPERATION_ERROR_CANCELED ?
			NEXUS_REPLY_CANCELED : NEXUS_REPLY_FAILED;
}

/* A failure that does not fit is lost, but not the fact that there was one. */
static void
replace_broken_failure(NexusReply *reply)
{
	if (!reply->failure.is_broken)
		return;
	nexus_buffer_reset(&reply->failure);
	nexus_failure_encode_message(&reply->failure, nexus_text_of("failure is too large"));
}

void
nexus_reply_decode_start(int status, const NexusHeaders *headers, NexusText body,
						 const NexusReplyLimits *limits, NexusReply *reply)
{
	NexusError	error = {0};

	reset(reply);
	if (!nexus_link_headers_to_json(headers, &reply->links, &error))
	{
		set_unexpected(reply, status, error.message);
		return;
	}
	if (status == STATUS_OK)
	{
		reply->kind = NEXUS_REPLY_SUCCEEDED;
		nexus_payload_classify(headers, body, &reply->payload);
		return;
	}
	if (status == STATUS_CREATED)
	{
		decode_started(headers, body, limits, reply);
		return;
	}
	/* links belong to an operation that runs or succeeded */
	nexus_buffer_reset(&reply->links);
	if (status == STATUS_UNSUCCESSFUL)
		decode_unsuccessful(headers, body, reply);
	else
		decode_error(status, headers, body, reply);
	replace_broken_failure(reply);
}

void
nexus_reply_decode_cancel(int status, const NexusHeaders *headers, NexusText body, NexusReply *reply)
{
	reset(reply);
	if (status == STATUS_ACCEPTED)
	{
		reply->kind = NEXUS_REPLY_CANCEL_ACCEPTED;
		return;
	}
	decode_error(status, headers, body, reply);
	replace_broken_failure(reply);
}
