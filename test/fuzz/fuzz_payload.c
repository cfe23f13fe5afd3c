/*
 * fuzz_payload.c
 *	  What a body is, and Temporal's Payload message.
 *
 * Input: header lines, an empty line, the body.
 */
#include "fuzz.h"

#include "protocol/payload.h"

static void
check_payload(const NexusHeaders *headers, NexusText body)
{
	NexusPayload payload;
	NexusText	content_type;
	NexusText	encoding;

	nexus_payload_classify(headers, body, &payload);
	REQUIRE(is_within(payload.data, body));
	REQUIRE(payload.data.data != NULL && payload.content_type.data != NULL);
	REQUIRE(payload.kind != NEXUS_PAYLOAD_NULL || payload.data.len == 0);
	nexus_headers_get(headers, "content-type", &content_type);
	if (content_type.len > 0)
		REQUIRE(nexus_text_equal(payload.content_type, content_type));
	if (nexus_headers_get(headers, "Content-Encoding", &encoding))
	{
		REQUIRE(payload.has_other_content_headers);
		if (encoding.len > 0 && !nexus_text_equal_fold(encoding, nexus_text_of("identity")))
			REQUIRE(payload.kind == NEXUS_PAYLOAD_BYTES && nexus_text_equal(payload.data, body));
	}
	else if (nexus_payload_has_json_type(headers))
		REQUIRE(payload.kind == NEXUS_PAYLOAD_JSON && nexus_text_equal(payload.data, body));
}

static void
append_varint(NexusBuffer *out, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
	{
		uint8_t		byte = (uint8_t) (value | 0x80);

		nexus_buffer_append(out, &byte, 1);
	}
	nexus_buffer_append(out, &value, 1);
}

static void
append_bytes(NexusBuffer *out, uint64_t number, NexusText bytes)
{
	append_varint(out, number << 3 | 2);
	append_varint(out, bytes.len);
	nexus_buffer_append_text(out, bytes);
}

/* A field that a later version may have, of each wire type. */
static void
append_unknown(NexusBuffer *out, unsigned which)
{
	uint64_t	number = UINT64_C(1) << (2 + which % 27);

	if (which % 4 == 0)
		append_bytes(out, number, nexus_text_of("unknown"));
	else
	{
		append_varint(out, number << 3 | (which % 4 == 1 ? 0 : which % 4 == 2 ? 1 : 5));
		if (which % 4 == 1)
			append_varint(out, UINT64_MAX);
		else
			nexus_buffer_append(out, "12345678", which % 4 == 2 ? 8 : 4);
	}
}

static void
append_entry(NexusBuffer *out, const char *key, NexusText value, bool is_value_first)
{
	NexusBuffer entry;

	nexus_buffer_init(&entry, SIZE_MAX);
	if (is_value_first)
		append_bytes(&entry, 2, value);
	append_bytes(&entry, 1, nexus_text_of(key));
	if (!is_value_first)
		append_bytes(&entry, 2, value);
	append_bytes(out, 1, nexus_buffer_view(&entry));
	nexus_buffer_free(&entry);
}

/* A Payload that was encoded, in whatever order, yields its data. */
static void
check_temporal_payload(NexusText text, unsigned choice)
{
	static const char *const encodings[] = {"json/plain", "json/protobuf", "binary/null", "binary/plain", "other"};
	static const NexusPayloadKind kinds[] = {
		NEXUS_PAYLOAD_JSON, NEXUS_PAYLOAD_JSON, NEXUS_PAYLOAD_NULL, NEXUS_PAYLOAD_BYTES, NEXUS_PAYLOAD_BYTES
	};
	unsigned	which = choice % 5;
	NexusHeaders headers;
	NexusBuffer body;
	NexusPayload payload;

	nexus_headers_init(&headers, SIZE_MAX);
	nexus_headers_add_string(&headers, "content-type", "application/x-temporal-payload");
	nexus_buffer_init(&body, SIZE_MAX);
	if (choice % 2 == 0)
		append_bytes(&body, 2, text);
	append_unknown(&body, choice);
	append_entry(&body, "messageType", nexus_text_of("encoding"), choice % 7 == 0);
	append_entry(&body, "encoding", nexus_text_of(encodings[which]), choice % 3 == 0);
	if (choice % 2 == 1)
		append_bytes(&body, 2, text);
	nexus_payload_classify(&headers, nexus_buffer_view(&body), &payload);
	REQUIRE(payload.kind == kinds[which]);
	if (which == 4)
		REQUIRE(nexus_text_equal(payload.data, nexus_buffer_view(&body)));
	else
		REQUIRE(nexus_text_equal(payload.data, which == 2 ? nexus_text_make("", 0) : text));
	nexus_headers_free(&headers);
	nexus_buffer_free(&body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	NexusText	text = input_text(data, size);
	NexusText	rest = text;
	NexusHeaders headers;
	json_t	   *string = json_stringn(size > 0 ? text.data : "", size);

	/* jansson makes strings of UTF-8 only */
	REQUIRE(nexus_payload_is_utf8(text) == (string != NULL));
	json_decref(string);
	nexus_headers_init(&headers, SIZE_MAX);
	take_headers(&rest, &headers);
	check_payload(&headers, rest);
	nexus_headers_free(&headers);
	if (size > 0)
		check_temporal_payload(text, data[0]);
	return 0;
}
