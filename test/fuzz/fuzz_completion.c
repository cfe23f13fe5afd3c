/*
 * fuzz_completion.c
 *	  Callback requests.
 *
 * Input: header lines, an empty line, the body.
 */
#include "fuzz.h"

#include "protocol/completion.h"
#include "protocol/json_text.h"

#define MAX_TOKEN 64

static void
require_state(const NexusCompletion *completion)
{
	json_t	   *json = require_json(&completion->failure);
	const char *type = NULL;
	const char *state = NULL;

	REQUIRE(json_unpack(json, "{s:{s:s},s:{s:s}}", "metadata", "type", &type, "details", "state", &state) == 0);
	REQUIRE(strcmp(type, "nexus.OperationError") == 0);
	REQUIRE(strcmp(state, completion->state == NEXUS_COMPLETION_FAILED ? "failed" : "canceled") == 0);
	REQUIRE(nexus_json_is_storable(nexus_buffer_view(&completion->failure), NEXUS_FAILURE_MAX_DEPTH + 1));
	json_decref(json);
}

static void
check_accepted(const NexusHeaders *headers, NexusText body, const NexusCompletion *completion)
{
	static const char *const names[] = {"succeeded", "failed", "canceled"};
	NexusText	state;

	nexus_headers_get(headers, "nexus-operation-state", &state);
	REQUIRE(nexus_text_equal(state, nexus_text_of(names[completion->state])));
	REQUIRE(completion->token.data != NULL && completion->token.len <= MAX_TOKEN);
	REQUIRE(nexus_payload_is_utf8(completion->token));
	REQUIRE(is_within(completion->payload.data, body));
	if (completion->links.len > 0)
	{
		json_t	   *links = require_json(&completion->links);

		REQUIRE(json_array_size(links) > 0);
		json_decref(links);
	}
	if (completion->state == NEXUS_COMPLETION_SUCCEEDED)
		REQUIRE(completion->failure.len == 0);
	else
		require_state(completion);
}

/* As if it had been used before. */
static void
leave_traces(NexusCompletion *completion)
{
	nexus_buffer_append_string(&completion->failure, "failure of before");
	nexus_buffer_append_string(&completion->links, "links of before");
	completion->token = nexus_text_of("token of before");
	completion->payload.data = nexus_text_of("payload of before");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	NexusText	body = input_text(data, size);
	NexusHeaders headers;
	NexusCompletion completion;
	NexusError	error = {0};
	NexusError	error_again = {0};
	bool		done;

	nexus_headers_init(&headers, SIZE_MAX);
	take_headers(&body, &headers);
	nexus_completion_init(&completion);
	leave_traces(&completion);
	done = nexus_completion_decode(&headers, body, MAX_TOKEN, &completion, &error);
	require_outcome(done, &error);
	if (done)
		check_accepted(&headers, body, &completion);
	else
	{
		/* the reason goes into an answer and a log */
		REQUIRE(is_ascii(nexus_text_of(error.message)));
		for (const char *p = error.message; *p != '\0'; p++)
			REQUIRE((unsigned char) *p >= 0x20);
	}
	REQUIRE(nexus_completion_decode(&headers, body, MAX_TOKEN, &completion, &error_again) == done);
	REQUIRE(strcmp(error.message, error_again.message) == 0);
	nexus_completion_free(&completion);
	nexus_headers_free(&headers);
	return 0;
}
