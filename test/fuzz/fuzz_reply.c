/*
 * fuzz_reply.c
 *	  Answers to start and cancel requests.
 *
 * Input: the status, header lines, an empty line, the body.
 */
#include "fuzz.h"

#include "protocol/json_text.h"
#include "protocol/reply.h"

#define MAX_TOKEN 64

static void
require_failure(const NexusReply *reply)
{
	json_t	   *json = require_json(&reply->failure);

	REQUIRE(json_is_object(json));
	/* what came as a cause stands at most one level deeper */
	REQUIRE(nexus_json_is_storable(nexus_buffer_view(&reply->failure), NEXUS_FAILURE_MAX_DEPTH + 1));
	json_decref(json);
}

/* The failure of an operation names the state it has ended in. */
static void
require_state(const NexusReply *reply, const char *expected)
{
	json_t	   *json = require_json(&reply->failure);
	const char *type = NULL;
	const char *state = NULL;

	REQUIRE(json_unpack(json, "{s:{s:s},s:{s:s}}", "metadata", "type", &type, "details", "state", &state) == 0);
	REQUIRE(strcmp(type, "nexus.OperationError") == 0);
	REQUIRE(strcmp(state, expected) == 0);
	json_decref(json);
}

static void
check_start(int status, NexusText body, const NexusReply *reply)
{
	REQUIRE((reply->kind == NEXUS_REPLY_STARTED) == (reply->token.len > 0));
	REQUIRE(!reply->token.is_broken && !reply->links.is_broken);
	switch (reply->kind)
	{
		case NEXUS_REPLY_SUCCEEDED:
			REQUIRE(status == 200);
			REQUIRE(is_within(reply->payload.data, body));
			break;
		case NEXUS_REPLY_STARTED:
			REQUIRE(status == 201);
			REQUIRE(reply->token.len <= MAX_TOKEN);
			REQUIRE(memchr(reply->token.data, '\0', reply->token.len) == NULL);
			REQUIRE(nexus_payload_is_utf8(nexus_buffer_view(&reply->token)));
			break;
		case NEXUS_REPLY_FAILED:
			REQUIRE(status == 424);
			require_state(reply, "failed");
			break;
		case NEXUS_REPLY_CANCELED:
			REQUIRE(status == 424);
			require_state(reply, "canceled");
			break;
		case NEXUS_REPLY_ERROR:
			REQUIRE(status != 200 || reply->is_retryable);
			break;
		default:
			REQUIRE(false);
	}
	if (reply->kind == NEXUS_REPLY_SUCCEEDED || reply->kind == NEXUS_REPLY_STARTED)
	{
		REQUIRE(reply->failure.len == 0);
		if (reply->links.len > 0)
			json_decref(require_json(&reply->links));
	}
	else
	{
		REQUIRE(reply->links.len == 0);
		require_failure(reply);
	}
}

static void
check_cancel(int status, const NexusReply *reply)
{
	REQUIRE(reply->kind == NEXUS_REPLY_CANCEL_ACCEPTED || reply->kind == NEXUS_REPLY_ERROR);
	REQUIRE((reply->kind == NEXUS_REPLY_CANCEL_ACCEPTED) == (status == 202));
	REQUIRE(reply->token.len == 0 && reply->links.len == 0);
	if (reply->kind == NEXUS_REPLY_ERROR)
		require_failure(reply);
}

static void
leave_traces(NexusReply *reply)
{
	nexus_buffer_append_string(&reply->token, "token of before");
	nexus_buffer_append_string(&reply->failure, "failure of before");
	nexus_buffer_append_string(&reply->links, "links of before");
	reply->payload.data = nexus_text_of("payload of before");
}

/* Nothing of an answer before is left in a reply that is used again. */
static void
require_same(const NexusReply *a, const NexusReply *b)
{
	REQUIRE(a->kind == b->kind && a->is_retryable == b->is_retryable && a->payload.kind == b->payload.kind);
	REQUIRE(a->payload.data.len == b->payload.data.len && a->payload.content_type.len == b->payload.content_type.len);
	REQUIRE(nexus_text_equal(nexus_buffer_view(&a->token), nexus_buffer_view(&b->token)));
	REQUIRE(nexus_text_equal(nexus_buffer_view(&a->failure), nexus_buffer_view(&b->failure)));
	REQUIRE(nexus_text_equal(nexus_buffer_view(&a->links), nexus_buffer_view(&b->links)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const NexusReplyLimits limits = {MAX_TOKEN};
	NexusText	body = input_text(data, size);
	NexusText	line = take_line(&body);
	NexusHeaders headers;
	NexusReply	reply;
	NexusReply	used;
	int64_t		number;
	int			status;

	/* libcurl yields three digits */
	if (line.len != 3 || !nexus_text_to_int64(line, &number))
		return 0;
	status = (int) number;
	nexus_headers_init(&headers, SIZE_MAX);
	take_headers(&body, &headers);
	nexus_reply_init(&reply);
	nexus_reply_init(&used);
	nexus_reply_decode_start(status, &headers, body, &limits, &reply);
	check_start(status, body, &reply);
	leave_traces(&used);
	nexus_reply_decode_cancel(status, &headers, body, &used);
	check_cancel(status, &used);
	leave_traces(&used);
	nexus_reply_decode_start(status, &headers, body, &limits, &used);
	require_same(&reply, &used);
	nexus_reply_free(&reply);
	nexus_reply_free(&used);
	nexus_headers_free(&headers);
	return 0;
}
