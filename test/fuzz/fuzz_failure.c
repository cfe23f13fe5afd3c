/*
 * fuzz_failure.c
 *	  Failure objects: what is kept is sound JSON that says the same again.
 *
 * Input: a character that chooses state and precedence, then the body.
 */
#include "fuzz.h"

#include "protocol/failure.h"
#include "protocol/json_text.h"

/* What is kept must be an object, and such as PostgreSQL can hold. */
static void
require_failure(const NexusBuffer *out)
{
	json_t	   *json = require_json(out);

	REQUIRE(json_is_object(json));
	/* a cause may be one level deeper than what came */
	REQUIRE(nexus_json_is_storable(nexus_buffer_view(out), NEXUS_FAILURE_MAX_DEPTH + 1));
	json_decref(json);
}

static void
require_info(const NexusFailureInfo *info, const NexusBuffer *out)
{
	json_t	   *json = require_json(out);

	REQUIRE(info->is_parsed);
	REQUIRE(memchr(info->type, '\0', sizeof(info->type)) != NULL);
	REQUIRE(info->kind == NEXUS_FAILURE_HANDLER_ERROR ||
			(info->type[0] == '\0' && info->retryable == NEXUS_RETRYABLE_UNSPECIFIED));
	REQUIRE(info->kind == NEXUS_FAILURE_OPERATION_ERROR || info->state == NEXUS_OPERATION_ERROR_NONE);
	REQUIRE(info->kind == NEXUS_FAILURE_PLAIN || json_is_object(json_object_get(json, "details")));
	json_decref(json);
}

/* Escapes that cannot be stored cost no failure: it is the one with them replaced. */
static void
check_odd_escapes(NexusText body, const NexusBuffer *expected)
{
	char	   *copy = copy_string(body);
	NexusFailureInfo info;
	NexusBuffer out;

	nexus_buffer_init(&out, NEXUS_FAILURE_MAX_BYTES);
	nexus_json_make_storable(copy, body.len);
	nexus_failure_decode(nexus_text_make(copy, body.len), &info, &out, NULL);
	REQUIRE(nexus_text_equal(nexus_buffer_view(&out), nexus_buffer_view(expected)));
	nexus_buffer_free(&out);
	free(copy);
}

static void
check_decode(NexusText body)
{
	NexusFailureInfo info;
	NexusFailureInfo again;
	NexusError	error = {0};
	NexusBuffer out;
	NexusBuffer out_again;
	bool		done;

	nexus_buffer_init(&out, NEXUS_FAILURE_MAX_BYTES);
	nexus_buffer_init(&out_again, NEXUS_FAILURE_MAX_BYTES);
	done = nexus_failure_decode(body, &info, &out, &error);
	require_outcome(done, &error);
	check_odd_escapes(body, &out);
	if (done)
	{
		require_failure(&out);
		require_info(&info, &out);
		REQUIRE(nexus_failure_decode(nexus_buffer_view(&out), &again, &out_again, NULL));
		REQUIRE(nexus_text_equal(nexus_buffer_view(&out), nexus_buffer_view(&out_again)));
		REQUIRE(info.kind == again.kind && info.retryable == again.retryable && info.state == again.state &&
				strcmp(info.type, again.type) == 0);
	}
	else
		REQUIRE(out.len == 0);
	nexus_buffer_free(&out);
	nexus_buffer_free(&out_again);
}

/* What comes out is an OperationError of the state it says, and stays as it is. */
static void
check_outcome(NexusText body, bool is_header_stronger, NexusOperationError said)
{
	NexusOperationError state = said;
	NexusOperationError state_again = NEXUS_OPERATION_ERROR_NONE;
	NexusFailureInfo info;
	NexusError	error = {0};
	NexusBuffer out;
	NexusBuffer out_again;
	bool		done;

	nexus_buffer_init(&out, NEXUS_FAILURE_MAX_BYTES);
	nexus_buffer_init(&out_again, NEXUS_FAILURE_MAX_BYTES);
	done = nexus_failure_decode_outcome(body, is_header_stronger, &state, &out, &error);
	require_outcome(done, &error);
	if (done)
	{
		REQUIRE(state != NEXUS_OPERATION_ERROR_NONE);
		REQUIRE(!is_header_stronger || said == NEXUS_OPERATION_ERROR_NONE || state == said);
		require_failure(&out);
		if (nexus_json_is_storable(nexus_buffer_view(&out), NEXUS_FAILURE_MAX_DEPTH))
		{
			REQUIRE(nexus_failure_decode(nexus_buffer_view(&out), &info, &out_again, NULL));
			REQUIRE(info.kind == NEXUS_FAILURE_OPERATION_ERROR && info.state == state);
			nexus_buffer_reset(&out_again);
			REQUIRE(nexus_failure_decode_outcome(nexus_buffer_view(&out), false, &state_again, &out_again, NULL));
			REQUIRE(state_again == state);
			REQUIRE(nexus_text_equal(nexus_buffer_view(&out), nexus_buffer_view(&out_again)));
		}
	}
	nexus_buffer_free(&out);
	nexus_buffer_free(&out_again);
}

/* What we make of any message is read as what it was made for. */
static void
check_encode(NexusText message, NexusRetryable retryable, NexusOperationError state)
{
	NexusFailureInfo info;
	NexusBuffer cause;
	NexusBuffer out;

	nexus_buffer_init(&cause, NEXUS_FAILURE_MAX_BYTES);
	nexus_buffer_init(&out, NEXUS_FAILURE_MAX_BYTES);
	REQUIRE(nexus_failure_encode_terminated(&cause, message, message));
	require_failure(&cause);
	REQUIRE(nexus_failure_encode_handler_error(&out, "CONFLICT", message, retryable, nexus_buffer_view(&cause)));
	require_failure(&out);
	nexus_buffer_reset(&cause);
	REQUIRE(nexus_failure_decode(nexus_buffer_view(&out), &info, &cause, NULL));
	REQUIRE(info.kind == NEXUS_FAILURE_HANDLER_ERROR && info.retryable == retryable &&
			strcmp(info.type, "CONFLICT") == 0);
	nexus_buffer_reset(&out);
	REQUIRE(nexus_failure_encode_operation_error(&out, state, message, nexus_buffer_view(&cause)));
	require_failure(&out);
	nexus_buffer_reset(&out);
	REQUIRE(nexus_failure_encode_message(&out, message));
	require_failure(&out);
	nexus_buffer_free(&cause);
	nexus_buffer_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const NexusOperationError states[] = {
		NEXUS_OPERATION_ERROR_FAILED, NEXUS_OPERATION_ERROR_CANCELED, NEXUS_OPERATION_ERROR_NONE
	};
	static const NexusRetryable overrides[] = {
		NEXUS_RETRYABLE_UNSPECIFIED, NEXUS_RETRYABLE_YES, NEXUS_RETRYABLE_NO
	};
	NexusText	body;

	if (size == 0)
		return 0;
	body = input_text(data + 1, size - 1);
	check_decode(body);
	check_outcome(body, data[0] % 2 == 0, states[data[0] / 2 % 3]);
	check_encode(body, overrides[data[0] / 6 % 3], states[data[0] / 18 % 2]);
	REQUIRE(nexus_failure_type_of_status(nexus_failure_status_of_type(body)) != NULL);
	return 0;
}
