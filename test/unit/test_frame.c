/*
 * test_frame.c
 *	  Frames there and back, one byte at a time, cut off and bent.
 */
#include "protocol/frame.h"
#include "tap.h"

#define MAX_FRAME 4096

static NexusUuid
uuid_of(uint8_t byte)
{
	NexusUuid	uuid;

	memset(uuid.bytes, byte, sizeof(uuid.bytes));
	return uuid;
}

/* The one frame in a buffer. */
static NexusFrame
only_frame(const NexusBuffer *buffer)
{
	NexusFrame	frame = {0};

	is_int(nexus_frame_decode(nexus_buffer_view(buffer), MAX_FRAME, &frame), (int64_t) buffer->len, "a whole frame");
	return frame;
}

static void
make_completion(NexusBuffer *out)
{
	NexusCompletionFrame completion;

	completion.incarnation = uuid_of(1);
	completion.operation_id = uuid_of(2);
	nexus_headers_init(&completion.headers, 1000);
	nexus_headers_add_string(&completion.headers, "Nexus-Operation-State", "succeeded");
	nexus_headers_add_string(&completion.headers, "Nexus-Link", "");
	completion.body = nexus_text_make("\0\1\2", 3);
	ok(nexus_frame_encode_completion(out, 77, &completion), "completion encodes");
	nexus_headers_free(&completion.headers);
}

static void
test_completion(void)
{
	NexusBuffer out;
	NexusFrame	frame;
	NexusCompletionFrame completion;
	NexusText	name;
	NexusText	value;
	int			accepted = 0;

	nexus_buffer_init(&out, MAX_FRAME);
	make_completion(&out);
	frame = only_frame(&out);
	is_int(frame.kind, NEXUS_FRAME_COMPLETION, "kind");
	is_int((int64_t) frame.correlation, 77, "correlation");
	nexus_headers_init(&completion.headers, 1000);
	ok(nexus_frame_decode_completion(frame.body, &completion), "completion decodes");
	is_int(completion.operation_id.bytes[15], 2, "operation id");
	is_int((int64_t) completion.headers.count, 2, "headers");
	nexus_headers_at(&completion.headers, 0, &name, &value);
	is_text(value, "succeeded", "a header's value");
	ok(nexus_text_equal(completion.body, nexus_text_make("\0\1\2", 3)), "body");
	for (size_t len = 0; len < frame.body.len; len++)
	{
		NexusText	cut = exact_copy(frame.body.data, len);

		accepted += nexus_frame_decode_completion(cut, &completion);
		free((char *) cut.data);
	}
	is_int(accepted, 0, "cut off anywhere, it is malformed");
	nexus_buffer_append(&out, "x", 1);
	ok(!nexus_frame_decode_completion(nexus_text_make(frame.body.data, frame.body.len + 1), &completion),
	   "a byte too many is malformed");
	nexus_headers_free(&completion.headers);
	nexus_headers_init(&completion.headers, 10);
	ok(!nexus_frame_decode_completion(frame.body, &completion), "more headers than allowed");
	nexus_headers_free(&completion.headers);
	nexus_buffer_free(&out);
}

/* Every byte in turn set to 0xff: whatever it means, no byte beyond is read. */
static void
test_bent(void)
{
	NexusBuffer out;
	NexusCompletionFrame completion;

	nexus_buffer_init(&out, MAX_FRAME);
	make_completion(&out);
	nexus_headers_init(&completion.headers, 1000);
	for (size_t i = 0; i < out.len; i++)
	{
		NexusText	bent = exact_copy(out.data, out.len);
		NexusFrame	frame;

		((char *) bent.data)[i] = (char) 0xff;
		if (nexus_frame_decode(bent, MAX_FRAME, &frame) > 0)
			nexus_frame_decode_completion(frame.body, &completion);
		free((char *) bent.data);
	}
	ok(true, "bent frames are survived");
	nexus_headers_free(&completion.headers);
	nexus_buffer_free(&out);
}

static void
test_stream(void)
{
	NexusBuffer out;
	NexusFrame	frame;
	size_t		start = 0;
	int			found = 0;
	int			bad = 0;

	nexus_buffer_init(&out, MAX_FRAME);
	nexus_frame_encode_hello(&out);
	make_completion(&out);
	nexus_frame_encode(&out, NEXUS_FRAME_COMPLETION_ANSWER, 5, nexus_text_of("abc"));
	for (size_t len = 0; len <= out.len; len++)
	{
		NexusText	part = exact_copy(out.data + start, len - start);
		int64_t		taken = nexus_frame_decode(part, MAX_FRAME, &frame);

		if (taken > 0)
		{
			found++;
			start += (size_t) taken;
		}
		bad += taken < 0;
		free((char *) part.data);
	}
	is_int(found, 3, "three frames, one byte at a time");
	is_int(bad, 0, "none of them malformed");
	is_int((int64_t) start, (int64_t) out.len, "nothing left over");
	nexus_buffer_free(&out);
}

static void
test_malformed(void)
{
	NexusFrame	frame;

	is_int(nexus_frame_decode(nexus_text_make("\0\0\0\x08\1", 5), MAX_FRAME, &frame), -1, "too short to be one");
	is_int(nexus_frame_decode(nexus_text_make("\xff\xff\xff\xff", 4), MAX_FRAME, &frame), -1, "longer than allowed");
	is_int(nexus_frame_decode(nexus_text_make("\0\0\x0f\xfd", 4), MAX_FRAME, &frame), -1, "one byte longer than allowed");
	is_int(nexus_frame_decode(nexus_text_make("\0\0\x0f\xfc", 4), MAX_FRAME, &frame), 0, "item 61: as long as allowed");
	is_int(nexus_frame_decode(nexus_text_make("\0\0\0\x09\0", 5), MAX_FRAME, &frame), -1, "kind 0");
	is_int(nexus_frame_decode(nexus_text_make("\0\0\0\x09\6", 5), MAX_FRAME, &frame), -1, "unknown kind");
}

static void
test_answers(void)
{
	NexusBuffer out;
	uint32_t	version = 0;
	NexusCompletionAnswerFrame answer = {400, true, {"why", 3}};
	NexusExecuteAnswerFrame refused = {NEXUS_EXECUTE_REFUSED, "42704", {"no such server", 14}};

	nexus_buffer_init(&out, MAX_FRAME);
	nexus_frame_encode_hello(&out);
	ok(nexus_frame_decode_hello(only_frame(&out).body, &version) && version == NEXUS_FRAME_VERSION, "hello");
	ok(!nexus_frame_decode_hello(nexus_text_make("\0\0\0", 3), &version), "hello cut off");
	nexus_buffer_reset(&out);
	nexus_frame_encode_completion_answer(&out, 1, &answer);
	memset(&answer, 0, sizeof(answer));
	ok(nexus_frame_decode_completion_answer(only_frame(&out).body, &answer), "completion answer");
	is_int(answer.status, 400, "status");
	ok(answer.is_duplicate, "duplicate");
	is_text(answer.message, "why", "message");
	ok(!nexus_frame_decode_completion_answer(nexus_text_make("\0\1\2\0\0\0\0", 7), &answer), "a boolean of 2");
	nexus_buffer_reset(&out);
	nexus_frame_encode_execute_answer(&out, 1, &refused);
	memset(&refused, 0, sizeof(refused));
	ok(nexus_frame_decode_execute_answer(only_frame(&out).body, &refused), "execute answer");
	is_int(refused.result, NEXUS_EXECUTE_REFUSED, "refused");
	is_text(nexus_text_of(refused.sqlstate), "42704", "SQLSTATE");
	is_text(refused.message, "no such server", "message");
	ok(!nexus_frame_decode_execute_answer(nexus_text_make("\1" "4270", 5), &refused), "execute answer cut off");
	ok(!nexus_frame_decode_execute_answer(nexus_text_make("\3" "00000\0\0\0", 10), &refused), "a result of 3");
	nexus_buffer_reset(&out);
	refused.result = NEXUS_EXECUTE_KEY_TAKEN;
	nexus_frame_encode_execute_answer(&out, 1, &refused);
	memset(&refused, 0, sizeof(refused));
	ok(nexus_frame_decode_execute_answer(only_frame(&out).body, &refused), "execute answer that names no error");
	is_int(refused.result, NEXUS_EXECUTE_KEY_TAKEN, "key taken");
	is_text(nexus_text_of(refused.sqlstate), "00000", "no SQLSTATE");
	nexus_buffer_free(&out);
}

static void
test_execute(void)
{
	NexusBuffer out;
	NexusFrame	frame;
	NexusExecuteFrame execute = {
		.operation_id = uuid_of(9),.scheduled_time = -5,.schedule_to_close_timeout = INT64_MAX,
		.schedule_to_start_timeout = 1,.start_to_close_timeout = 2,.has_input = true,
		.input_is_json = true,.endpoint = {"e", 1},.service = {"s", 1},.operation = {"o", 1},
		.cancellation_type = {"abandon", 7},.headers_json = {"{}", 2},.summary = {"", 0},
		.input_content_type = {"", 0},.callback_base = {"http://h", 8},
	.operation_key = {"order 7", 7},.key_generation = INT32_MAX,.key_predecessor = uuid_of(7),.input = {"[1]", 3}};
	NexusExecuteFrame back;
	int			accepted = 0;

	nexus_buffer_init(&out, MAX_FRAME);
	ok(nexus_frame_encode_execute(&out, UINT64_MAX, &execute), "execute encodes");
	frame = only_frame(&out);
	ok(frame.correlation == UINT64_MAX, "the largest correlation");
	ok(nexus_frame_decode_execute(frame.body, &back), "execute decodes");
	is_int(back.scheduled_time, -5, "a time before the epoch");
	is_int(back.schedule_to_close_timeout, INT64_MAX, "the longest timeout");
	ok(back.has_input && back.input_is_json, "booleans");
	is_text(back.cancellation_type, "abandon", "cancellation type");
	is_text(back.summary, "", "no summary");
	is_text(back.operation_key, "order 7", "operation key");
	is_int(back.key_generation, INT32_MAX, "the last generation");
	ok(memcmp(&back.key_predecessor, &execute.key_predecessor, sizeof(NexusUuid)) == 0, "whom it follows");
	is_text(back.input, "[1]", "input");
	for (size_t len = 0; len < frame.body.len; len++)
	{
		NexusText	cut = exact_copy(frame.body.data, len);

		accepted += nexus_frame_decode_execute(cut, &back);
		free((char *) cut.data);
	}
	is_int(accepted, 0, "cut off anywhere, it is malformed");
	nexus_buffer_free(&out);
	nexus_buffer_init(&out, 50);
	ok(!nexus_frame_encode_execute(&out, 1, &execute) && out.len == 0, "what does not fit leaves no half frame");
	nexus_buffer_free(&out);
}

int
main(void)
{
	test_completion();
	test_bent();
	test_stream();
	test_malformed();
	test_answers();
	test_execute();
	return done();
}
