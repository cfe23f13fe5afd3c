/*
 * completion.c
 *	  Take a callback request apart.
 *
 * The checks come in the order in which Temporal makes them, so that the same
 * request is refused for the same reason.
 */
#include "protocol/completion.h"
#include "protocol/link.h"
#include "protocol/timestamp.h"

#define MAX_LINKS_BYTES (1024 * 1024)	/* headers are capped long before */
#define MAX_QUOTED 100			/* of a header value in a message */

void
nexus_completion_init(NexusCompletion *completion)
{
	memset(completion, 0, sizeof(*completion));
	nexus_buffer_init(&completion->failure, NEXUS_FAILURE_MAX_BYTES);
	nexus_buffer_init(&completion->links, MAX_LINKS_BYTES);
}

void
nexus_completion_free(NexusCompletion *completion)
{
	nexus_buffer_free(&completion->failure);
	nexus_buffer_free(&completion->links);
}

static void
reset(NexusCompletion *completion)
{
	completion->state = NEXUS_COMPLETION_FAILED;
	completion->token = nexus_text_make("", 0);
	completion->has_start_time = false;
	completion->start_time = 0;
	completion->has_close_time = false;
	completion->close_time = 0;
	memset(&completion->payload, 0, sizeof(completion->payload));
	completion->payload.data = nexus_text_make("", 0);
	completion->payload.content_type = nexus_text_make("", 0);
	nexus_buffer_reset(&completion->failure);
	nexus_buffer_reset(&completion->links);
}

static bool
refuse_value(const char *what, NexusText value, NexusError *error)
{
	/* what is no ASCII stays out of the message, whose encoding is UTF-8 */
	for (size_t i = 0; i < value.len; i++)
	{
		if ((unsigned char) value.data[i] >= 0x7f || (unsigned char) value.data[i] < 0x20)
			return nexus_error_set(error, "invalid %s", what);
	}
	return nexus_error_set(error, "invalid %s: \"%.*s\"", what,
						   (int) (value.len < MAX_QUOTED ? value.len : MAX_QUOTED), value.data);
}

static bool
read_times(const NexusHeaders *headers, NexusCompletion *completion, NexusError *error)
{
	NexusText	value;

	nexus_headers_get(headers, "nexus-operation-start-time", &value);
	completion->has_start_time = value.len > 0;
	if (value.len > 0 && !nexus_timestamp_parse_http(value, &completion->start_time))
		return refuse_value("operation start time", value, error);
	nexus_headers_get(headers, "nexus-operation-close-time", &value);
	completion->has_close_time = value.len > 0;
	if (value.len > 0 && !nexus_timestamp_parse_rfc3339(value, &completion->close_time))
		return refuse_value("operation close time", value, error);
	return true;
}

static bool
read_state(const NexusHeaders *headers, NexusCompletion *completion, NexusError *error)
{
	NexusText	value;

	nexus_headers_get(headers, "nexus-operation-state", &value);
	if (nexus_text_equal(value, nexus_text_of("succeeded")))
		completion->state = NEXUS_COMPLETION_SUCCEEDED;
	else if (nexus_text_equal(value, nexus_text_of("failed")))
		completion->state = NEXUS_COMPLETION_FAILED;
	else if (nexus_text_equal(value, nexus_text_of("canceled")))
		completion->state = NEXUS_COMPLETION_CANCELED;
	else
		return refuse_value("request operation state", value, error);
	return true;
}

static bool
read_failure(const NexusHeaders *headers, NexusText body, NexusCompletion *completion, NexusError *error)
{
	NexusOperationError state = completion->state == NEXUS_COMPLETION_CANCELED ?
	NEXUS_OPERATION_ERROR_CANCELED : NEXUS_OPERATION_ERROR_FAILED;
	NexusText	content_type;

	if (!nexus_payload_has_json_type(headers))
	{
		nexus_headers_get(headers, "content-type", &content_type);
		return refuse_value("request content type", content_type, error);
	}
	return nexus_failure_decode_outcome(body, true, &state, &completion->failure, error);
}

/* Old libraries send the token as Nexus-Operation-Id only. */
static bool
read_token(const NexusHeaders *headers, size_t max_length, NexusText *token, NexusError *error)
{
	if (!nexus_headers_get(headers, "nexus-operation-token", token) || token->len == 0)
		nexus_headers_get(headers, "nexus-operation-id", token);
	if (token->len > max_length)
		return nexus_error_set(error, "operation token length exceeds allowed limit (%zu/%zu)",
							   token->len, max_length);
	if (!nexus_payload_is_utf8(*token))
		return nexus_error_set(error, "operation token is not valid UTF-8");
	return true;
}

bool
nexus_completion_decode(const NexusHeaders *headers, NexusText body, size_t max_token_length,
						NexusCompletion *completion, NexusError *error)
{
	reset(completion);
	if (!read_times(headers, completion, error) ||
		!nexus_link_headers_to_json(headers, &completion->links, error) ||
		!read_state(headers, completion, error))
		return false;
	if (completion->state == NEXUS_COMPLETION_SUCCEEDED)
		nexus_payload_classify(headers, body, &completion->payload);
	else if (!read_failure(headers, body, completion, error))
		return false;
	return read_token(headers, max_token_length, &completion->token, error);
}
