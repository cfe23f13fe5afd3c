/*
 * fuzz_frame.c
 *	  Messages of the local socket, of every kind: however the bytes come in,
 *	  they are cut in the same way, and what was read is written as it was.
 */
#include "fuzz.h"

#include "protocol/frame.h"

#define MAX_FRAME 2048

/* A prefix says "more" or what the whole says; a copy, so that no byte behind it is there. */
static void
check_prefix(NexusText bytes, size_t len, int64_t whole)
{
	char	   *copy = malloc(len);
	NexusFrame	frame;
	int64_t		found;

	memcpy(copy, bytes.data, len);
	found = nexus_frame_decode(nexus_text_make(copy, len), MAX_FRAME, &frame);
	if (whole > 0)
		REQUIRE(found == (len < (size_t) whole ? 0 : whole));
	else if (whole == 0)
		REQUIRE(found == 0);
	else
		REQUIRE(found == 0 || found == -1);
	if (found > 0)
		REQUIRE(is_within(frame.body, nexus_text_make(copy, len)));
	free(copy);
}

static void
require_same(const NexusBuffer *out, NexusText expected)
{
	REQUIRE(!out->is_broken);
	REQUIRE(nexus_text_equal(nexus_buffer_view(out), expected));
}

static void
check_completion(const NexusFrame *frame, NexusText whole, NexusBuffer *out)
{
	NexusCompletionFrame completion;

	nexus_headers_init(&completion.headers, MAX_FRAME);
	if (nexus_frame_decode_completion(frame->body, &completion))
	{
		REQUIRE(is_within(completion.body, frame->body));
		REQUIRE(nexus_frame_encode_completion(out, frame->correlation, &completion));
		require_same(out, whole);
	}
	nexus_headers_free(&completion.headers);
	/* too many headers are an error, not a frame with fewer of them */
	nexus_headers_init(&completion.headers, 16);
	if (nexus_frame_decode_completion(frame->body, &completion))
	{
		nexus_buffer_reset(out);
		REQUIRE(nexus_frame_encode_completion(out, frame->correlation, &completion));
		require_same(out, whole);
	}
	nexus_headers_free(&completion.headers);
}

static void
check_completion_answer(const NexusFrame *frame, NexusText whole, NexusBuffer *out)
{
	NexusCompletionAnswerFrame answer;

	if (!nexus_frame_decode_completion_answer(frame->body, &answer))
		return;
	REQUIRE(nexus_frame_encode_completion_answer(out, frame->correlation, &answer));
	require_same(out, whole);
}

static void
check_execute(const NexusFrame *frame, NexusText whole, NexusBuffer *out)
{
	NexusExecuteFrame execute;

	if (!nexus_frame_decode_execute(frame->body, &execute))
		return;
	REQUIRE(is_within(execute.endpoint, frame->body) && is_within(execute.input, frame->body));
	REQUIRE(nexus_frame_encode_execute(out, frame->correlation, &execute));
	require_same(out, whole);
}

static void
check_execute_answer(const NexusFrame *frame, NexusText whole, NexusBuffer *out)
{
	NexusExecuteAnswerFrame answer;

	if (!nexus_frame_decode_execute_answer(frame->body, &answer))
		return;
	REQUIRE(memchr(answer.sqlstate, '\0', sizeof(answer.sqlstate)) != NULL);
	REQUIRE(nexus_frame_encode_execute_answer(out, frame->correlation, &answer));
	/* only a refusal has a state of its own */
	if (answer.result == NEXUS_EXECUTE_REFUSED)
		require_same(out, whole);
	REQUIRE(out->len == whole.len);
}

static void
check_hello(const NexusFrame *frame)
{
	uint32_t	version;

	REQUIRE(nexus_frame_decode_hello(frame->body, &version) == (frame->body.len >= 4));
}

/* As long as is allowed, and a byte longer. */
static void
check_limit(NexusText bytes, size_t len)
{
	NexusFrame	frame;

	REQUIRE(nexus_frame_decode(bytes, len, &frame) == (int64_t) len);
	REQUIRE(nexus_frame_decode(bytes, len - 1, &frame) == -1);
}

static void
check_body(const NexusFrame *frame, NexusText whole)
{
	NexusBuffer out;

	nexus_buffer_init(&out, MAX_FRAME);
	REQUIRE(nexus_frame_encode(&out, frame->kind, frame->correlation, frame->body));
	require_same(&out, whole);
	nexus_buffer_reset(&out);
	switch (frame->kind)
	{
		case NEXUS_FRAME_HELLO:
			check_hello(frame);
			break;
		case NEXUS_FRAME_EXECUTE:
			check_execute(frame, whole, &out);
			break;
		case NEXUS_FRAME_EXECUTE_ANSWER:
			check_execute_answer(frame, whole, &out);
			break;
		case NEXUS_FRAME_COMPLETION:
			check_completion(frame, whole, &out);
			break;
		case NEXUS_FRAME_COMPLETION_ANSWER:
			check_completion_answer(frame, whole, &out);
			break;
	}
	nexus_buffer_free(&out);
}

/* What an end writes, the other one reads. */
static void
check_written(NexusText text)
{
	NexusCompletionFrame sent = {.body = text};
	NexusCompletionFrame arrived;
	NexusFrame	frame;
	NexusBuffer out;

	nexus_buffer_init(&out, SIZE_MAX);
	nexus_headers_init(&sent.headers, SIZE_MAX);
	nexus_headers_init(&arrived.headers, SIZE_MAX);
	for (size_t i = 0; i < text.len % 50; i++)
		nexus_headers_add(&sent.headers, nexus_text_of("name"), nexus_text_make(text.data, text.len % (i + 1)));
	REQUIRE(nexus_frame_encode_completion(&out, text.len, &sent));
	REQUIRE(nexus_frame_decode(nexus_buffer_view(&out), out.len, &frame) == (int64_t) out.len);
	REQUIRE(frame.kind == NEXUS_FRAME_COMPLETION && frame.correlation == text.len);
	REQUIRE(nexus_frame_decode_completion(frame.body, &arrived));
	REQUIRE(nexus_text_equal(arrived.body, text));
	REQUIRE(arrived.headers.count == sent.headers.count);
	REQUIRE(nexus_text_equal(nexus_buffer_view(&sent.headers.bytes), nexus_buffer_view(&arrived.headers.bytes)));
	nexus_headers_free(&arrived.headers);
	nexus_headers_free(&sent.headers);
	nexus_buffer_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	NexusText	bytes = input_text(data, size);
	NexusFrame	frame;
	int64_t		len;

	check_written(bytes);
	do
	{
		len = nexus_frame_decode(bytes, MAX_FRAME, &frame);
		REQUIRE(len >= -1 && len <= (int64_t) bytes.len && len <= MAX_FRAME);
		for (size_t prefix = 0; prefix <= bytes.len; prefix += prefix < 2 * NEXUS_FRAME_HEADER_LEN ? 1 : 97)
			check_prefix(bytes, prefix, len);
		if (len <= 0)
			break;
		check_limit(bytes, (size_t) len);
		check_body(&frame, nexus_text_make(bytes.data, (size_t) len));
		bytes = nexus_text_make(bytes.data + len, bytes.len - (size_t) len);
	} while (bytes.len > 0);
	return 0;
}
