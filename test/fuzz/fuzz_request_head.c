/*
 * fuzz_request_head.c
 *	  Heads of requests to the listener: what goes on to a worker is allowed,
 *	  bounded and arrives there as it was.
 *
 * Input: method, path, then header lines.
 */
#include "fuzz.h"

#include "listener/request_head.h"
#include "protocol/token.h"
#include "protocol/url.h"

#define MAX_BODY 1000
#define REPEAT 64				/* of a line that begins with "*" */

static bool
add_line(NexusRequestHead *head, NexusText line)
{
	NexusText	value;
	NexusText	name;
	int			times = 1;
	bool		done = true;

	if (line.len > 0 && line.data[0] == '*')
	{
		times = REPEAT;
		line = nexus_text_make(line.data + 1, line.len - 1);
	}
	name = nexus_text_cut(line, ':', &value);
	if (value.data == NULL)
		value = nexus_text_make("", 0);
	for (int i = 0; i < times; i++)
		done = nexus_request_head_add(head, name, nexus_text_trim(value));
	return done;
}

/* A header may be sent on unless it belongs to the connection it came by. */
static void
require_end_to_end(const NexusHeaders *headers)
{
	static const char *const names[] = {
		"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
		"te", "trailer", "transfer-encoding", "upgrade"
	};
	NexusText	value;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		REQUIRE(!nexus_headers_get(headers, names[i], &value));
}

static void
check_accepted(const NexusRequestHead *head)
{
	NexusCompletionFrame *sent = head->frame;
	NexusCompletionFrame arrived;
	NexusFrame	frame;
	NexusBuffer out;
	NexusText	text;
	NexusUuid	ids[2];

	REQUIRE(strcmp(head->method, "POST") == 0);
	REQUIRE(nexus_token_find(&sent->headers, &text) && nexus_token_is_well_formed(text));
	REQUIRE(nexus_url_parse_callback(nexus_text_of(head->path), &ids[0], &ids[1]));
	REQUIRE(sent->headers.bytes.len <= head->len && head->len <= NEXUS_REQUEST_HEAD_MAX);
	REQUIRE(head->framings <= 1);
	require_end_to_end(&sent->headers);
	nexus_buffer_init(&out, MAX_BODY + NEXUS_FRAME_OVERHEAD);
	nexus_headers_init(&arrived.headers, NEXUS_REQUEST_HEAD_MAX);
	sent->body = nexus_text_make("body", 4);
	REQUIRE(nexus_frame_encode_completion(&out, 1, sent));
	REQUIRE(nexus_frame_decode(nexus_buffer_view(&out), out.len, &frame) == (int64_t) out.len);
	REQUIRE(nexus_frame_decode_completion(frame.body, &arrived));
	REQUIRE(nexus_text_equal(nexus_buffer_view(&sent->headers.bytes), nexus_buffer_view(&arrived.headers.bytes)));
	REQUIRE(arrived.headers.count == sent->headers.count);
	REQUIRE(memcmp(&arrived.operation_id, &ids[1], sizeof(ids[1])) == 0);
	nexus_headers_free(&arrived.headers);
	nexus_buffer_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	NexusText	rest = input_text(data, size);
	char	   *method = copy_string(take_line(&rest));
	char	   *path = copy_string(take_line(&rest));
	NexusCompletionFrame frame = {.body = {"", 0}};
	NexusRequestHead head;
	NexusError	reason = {0};
	int			status;

	nexus_headers_init(&frame.headers, NEXUS_REQUEST_HEAD_MAX);
	nexus_request_head_init(&head, &frame, path, method);
	while (rest.len > 0)
	{
		bool		was_too_long = head.is_too_long;

		REQUIRE(add_line(&head, take_line(&rest)) == !head.is_too_long);
		REQUIRE(head.is_too_long || !was_too_long);
		REQUIRE(frame.headers.bytes.len <= NEXUS_REQUEST_HEAD_MAX);
	}
	status = nexus_request_head_check(&head, MAX_BODY, &reason);
	require_outcome(status == 0, &reason);
	if (status == 0)
		check_accepted(&head);
	else
		REQUIRE(status == 400 || status == 401 || status == 404 || status == 413 || status == 431);
	nexus_headers_free(&frame.headers);
	free(path);
	free(method);
	return 0;
}
