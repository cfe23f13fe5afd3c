/*
 * frame.c
 *	  Encode and decode the messages of the local socket.
 *
 * Both ends are of one version (HELLO says so), so a body that has a byte too
 * few or too many is malformed.  A text is a u32 length and its bytes.
 */
#include "protocol/frame.h"

#define LENGTH_BYTES 4			/* the length itself, which it does not count */

/* What is still to be read of a body; stays broken once it ran out. */
typedef struct Reader
{
	NexusText	left;
	bool		is_broken;
} Reader;

static uint64_t
read_number(Reader *reader, size_t bytes)
{
	uint64_t	value = 0;

	if (reader->is_broken || reader->left.len < bytes)
	{
		reader->is_broken = true;
		return 0;
	}
	for (size_t i = 0; i < bytes; i++)
		value = value << 8 | (uint8_t) reader->left.data[i];
	reader->left.data += bytes;
	reader->left.len -= bytes;
	return value;
}

static NexusText
read_bytes(Reader *reader, size_t len)
{
	NexusText	bytes;

	if (reader->is_broken || reader->left.len < len)
	{
		reader->is_broken = true;
		return nexus_text_make("", 0);
	}
	bytes = nexus_text_make(reader->left.data, len);
	reader->left.data += len;
	reader->left.len -= len;
	return bytes;
}

static NexusText
read_text(Reader *reader)
{
	return read_bytes(reader, (size_t) read_number(reader, 4));
}

static bool
read_bool(Reader *reader)
{
	uint64_t	value = read_number(reader, 1);

	if (value > 1)
		reader->is_broken = true;
	return value == 1;
}

static int64_t
read_int64(Reader *reader)
{
	return (int64_t) read_number(reader, 8);
}

static void
read_uuid(Reader *reader, NexusUuid *uuid)
{
	NexusText	bytes = read_bytes(reader, sizeof(uuid->bytes));

	if (!reader->is_broken)
		memcpy(uuid->bytes, bytes.data, sizeof(uuid->bytes));
}

static bool
is_read_whole(const Reader *reader)
{
	return !reader->is_broken && reader->left.len == 0;
}

static void
put_number(NexusBuffer *out, uint64_t value, size_t bytes)
{
	uint8_t		octets[8];

	for (size_t i = 0; i < bytes; i++)
		octets[i] = (uint8_t) (value >> (8 * (bytes - 1 - i)));
	nexus_buffer_append(out, octets, bytes);
}

static void
put_text(NexusBuffer *out, NexusText text)
{
	if (text.len > UINT32_MAX)
		out->is_broken = true;
	put_number(out, text.len, 4);
	nexus_buffer_append_text(out, text);
}

static void
put_uuid(NexusBuffer *out, const NexusUuid *uuid)
{
	nexus_buffer_append(out, uuid->bytes, sizeof(uuid->bytes));
}

/* Begin a frame whose length is not known yet; returns where it begins. */
static size_t
begin_frame(NexusBuffer *out, NexusFrameKind kind, uint64_t correlation)
{
	size_t		start = out->len;

	put_number(out, 0, LENGTH_BYTES);
	put_number(out, (uint64_t) kind, 1);
	put_number(out, correlation, 8);
	return start;
}

/* Fill in the length; half a frame is taken back. */
static bool
end_frame(NexusBuffer *out, size_t start)
{
	size_t		len = out->len - start;

	if (!out->is_broken && len - LENGTH_BYTES > UINT32_MAX)
		out->is_broken = true;
	if (out->is_broken)
	{
		out->len = start;
		return false;
	}
	len -= LENGTH_BYTES;
	for (int i = 0; i < LENGTH_BYTES; i++)
		out->data[start + i] = (char) (uint8_t) (len >> (24 - 8 * i));
	return true;
}

int64_t
nexus_frame_decode(NexusText bytes, size_t max, NexusFrame *frame)
{
	Reader		reader = {bytes, false};
	uint64_t	length;
	uint64_t	kind;

	if (bytes.len < LENGTH_BYTES)
		return 0;
	length = read_number(&reader, LENGTH_BYTES);
	if (length < NEXUS_FRAME_HEADER_LEN - LENGTH_BYTES || length + LENGTH_BYTES > max)
		return -1;
	/* an unknown kind is refused before its body is waited for */
	if (reader.left.len == 0)
		return 0;
	kind = read_number(&reader, 1);
	if (kind < NEXUS_FRAME_HELLO || kind > NEXUS_FRAME_COMPLETION_ANSWER)
		return -1;
	if (bytes.len - LENGTH_BYTES < length)
		return 0;
	frame->kind = (NexusFrameKind) kind;
	frame->correlation = read_number(&reader, 8);
	frame->body = read_bytes(&reader, (size_t) length - (NEXUS_FRAME_HEADER_LEN - LENGTH_BYTES));
	return (int64_t) (length + LENGTH_BYTES);
}

bool
nexus_frame_encode(NexusBuffer *out, NexusFrameKind kind, uint64_t correlation, NexusText body)
{
	size_t		start = begin_frame(out, kind, correlation);

	nexus_buffer_append_text(out, body);
	return end_frame(out, start);
}

bool
nexus_frame_encode_hello(NexusBuffer *out)
{
	size_t		start = begin_frame(out, NEXUS_FRAME_HELLO, 0);

	put_number(out, NEXUS_FRAME_VERSION, 4);
	return end_frame(out, start);
}

bool
nexus_frame_decode_hello(NexusText body, uint32_t *version)
{
	Reader		reader = {body, false};

	*version = (uint32_t) read_number(&reader, 4);

	/* a later version may say more */
	return !reader.is_broken;
}

bool
nexus_frame_encode_completion(NexusBuffer *out, uint64_t correlation,
							  const NexusCompletionFrame *completion)
{
	size_t		start = begin_frame(out, NEXUS_FRAME_COMPLETION, correlation);

	put_uuid(out, &completion->incarnation);
	put_uuid(out, &completion->operation_id);
	put_number(out, completion->headers.count, 4);
	for (size_t i = 0; i < completion->headers.count; i++)
	{
		NexusText	name;
		NexusText	value;

		nexus_headers_at(&completion->headers, i, &name, &value);
		put_text(out, name);
		put_text(out, value);
	}
	put_text(out, completion->body);
	return end_frame(out, start);
}

bool
nexus_frame_decode_completion(NexusText body, NexusCompletionFrame *completion)
{
	Reader		reader = {body, false};
	uint64_t	count;

	read_uuid(&reader, &completion->incarnation);
	read_uuid(&reader, &completion->operation_id);
	count = read_number(&reader, 4);
	nexus_headers_reset(&completion->headers);
	for (uint64_t i = 0; i < count && !reader.is_broken; i++)
	{
		NexusText	name = read_text(&reader);
		NexusText	value = read_text(&reader);

		if (reader.is_broken || !nexus_headers_add(&completion->headers, name, value))
			return false;
	}
	completion->body = read_text(&reader);
	return is_read_whole(&reader);
}

bool
nexus_frame_encode_completion_answer(NexusBuffer *out, uint64_t correlation,
									 const NexusCompletionAnswerFrame *answer)
{
	size_t		start = begin_frame(out, NEXUS_FRAME_COMPLETION_ANSWER, correlation);

	put_number(out, answer->status, 2);
	put_number(out, answer->is_duplicate, 1);
	put_text(out, answer->message);
	return end_frame(out, start);
}

bool
nexus_frame_decode_completion_answer(NexusText body, NexusCompletionAnswerFrame *answer)
{
	Reader		reader = {body, false};

	answer->status = (uint16_t) read_number(&reader, 2);
	answer->is_duplicate = read_bool(&reader);
	answer->message = read_text(&reader);
	return is_read_whole(&reader);
}

bool
nexus_frame_encode_execute(NexusBuffer *out, uint64_t correlation, const NexusExecuteFrame *execute)
{
	size_t		start = begin_frame(out, NEXUS_FRAME_EXECUTE, correlation);

	put_uuid(out, &execute->operation_id);
	put_number(out, (uint64_t) execute->scheduled_time, 8);
	put_number(out, (uint64_t) execute->schedule_to_close_timeout, 8);
	put_number(out, (uint64_t) execute->schedule_to_start_timeout, 8);
	put_number(out, (uint64_t) execute->start_to_close_timeout, 8);
	put_number(out, execute->has_input, 1);
	put_number(out, execute->input_is_json, 1);
	put_text(out, execute->endpoint);
	put_text(out, execute->service);
	put_text(out, execute->operation);
	put_text(out, execute->cancellation_type);
	put_text(out, execute->headers_json);
	put_text(out, execute->summary);
	put_text(out, execute->input_content_type);
	put_text(out, execute->callback_base);
	put_text(out, execute->operation_key);
	put_number(out, (uint32_t) execute->key_generation, 4);
	put_uuid(out, &execute->key_predecessor);
	put_text(out, execute->input);
	return end_frame(out, start);
}

bool
nexus_frame_decode_execute(NexusText body, NexusExecuteFrame *execute)
{
	Reader		reader = {body, false};

	read_uuid(&reader, &execute->operation_id);
	execute->scheduled_time = read_int64(&reader);
	execute->schedule_to_close_timeout = read_int64(&reader);
	execute->schedule_to_start_timeout = read_int64(&reader);
	execute->start_to_close_timeout = read_int64(&reader);
	execute->has_input = read_bool(&reader);
	execute->input_is_json = read_bool(&reader);
	execute->endpoint = read_text(&reader);
	execute->service = read_text(&reader);
	execute->operation = read_text(&reader);
	execute->cancellation_type = read_text(&reader);
	execute->headers_json = read_text(&reader);
	execute->summary = read_text(&reader);
	execute->input_content_type = read_text(&reader);
	execute->callback_base = read_text(&reader);
	execute->operation_key = read_text(&reader);
	execute->key_generation = (int32_t) read_number(&reader, 4);
	read_uuid(&reader, &execute->key_predecessor);
	execute->input = read_text(&reader);
	return is_read_whole(&reader);
}

#define SQLSTATE_LEN 5

bool
nexus_frame_encode_execute_answer(NexusBuffer *out, uint64_t correlation,
								  const NexusExecuteAnswerFrame *answer)
{
	size_t		start = begin_frame(out, NEXUS_FRAME_EXECUTE_ANSWER, correlation);
	char		sqlstate[SQLSTATE_LEN] = {'0', '0', '0', '0', '0'};

	if (answer->result == NEXUS_EXECUTE_REFUSED)
		memcpy(sqlstate, answer->sqlstate, SQLSTATE_LEN);
	put_number(out, (uint64_t) answer->result, 1);
	nexus_buffer_append(out, sqlstate, SQLSTATE_LEN);
	put_text(out, answer->message);
	return end_frame(out, start);
}

bool
nexus_frame_decode_execute_answer(NexusText body, NexusExecuteAnswerFrame *answer)
{
	Reader		reader = {body, false};
	NexusText	sqlstate;
	uint64_t	result = read_number(&reader, 1);

	if (result > NEXUS_EXECUTE_KEY_TAKEN)
		reader.is_broken = true;
	answer->result = (NexusExecuteResult) result;
	sqlstate = read_bytes(&reader, SQLSTATE_LEN);
	memset(answer->sqlstate, 0, sizeof(answer->sqlstate));
	memcpy(answer->sqlstate, sqlstate.data, sqlstate.len);
	answer->message = read_text(&reader);
	return is_read_whole(&reader);
}
