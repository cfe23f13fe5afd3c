/*
 * fuzz_payload.c
 *	  What a body is, and Temporal's Payload message.
 *
 * Input: header lines, an empty line, the body.
 */
#include "fuzz.h"

#include "protocol/payload.h"

/* Take a prefix off a text that must have it. */
static void
skip(NexusText *text, const char *prefix)
{
	size_t		len = strlen(prefix);

	REQUIRE(text->len >= len && memcmp(text->data, prefix, len) == 0);
	*text = nexus_text_make(text->data + len, text->len - len);
}

/* Take a quoted string off a text, which must stand for this value. */
static void
skip_quoted(NexusText *text, NexusText value)
{
	skip(text, "\"");
	for (size_t i = 0; i < value.len; i++)
	{
		if (value.data[i] == '"' || value.data[i] == '\\')
			skip(text, "\\");
		REQUIRE(text->len > 0 && text->data[0] == value.data[i]);
		*text = nexus_text_make(text->data + 1, text->len - 1);
	}
	skip(text, "\"");
}

/* The type that is kept ends with one parameter for each other content header. */
static void
check_type(const NexusHeaders *headers, const NexusPayload *payload)
{
	NexusBuffer out;
	NexusText	rest;

	nexus_buffer_init(&out, SIZE_MAX);
	REQUIRE(nexus_payload_append_type(payload, &out));
	rest = nexus_buffer_view(&out);
	if (payload->decoded_type != NULL)
		skip(&rest, payload->decoded_type);
	else if (payload->content_type.len > 0)
	{
		REQUIRE(rest.len >= payload->content_type.len &&
				memcmp(rest.data, payload->content_type.data, payload->content_type.len) == 0);
		rest = nexus_text_make(rest.data + payload->content_type.len, rest.len - payload->content_type.len);
	}
	else if (rest.len > 0)
		skip(&rest, "application/octet-stream");
	if (payload->message_type.len > 0)
	{
		skip(&rest, "; message-type=");
		skip_quoted(&rest, payload->message_type);
	}
	for (size_t i = 0; i < headers->count; i++)
	{
		NexusText	name;
		NexusText	value;

		nexus_headers_at(headers, i, &name, &value);
		if (!nexus_text_starts_fold(name, nexus_text_of("content-")) ||
			nexus_text_equal_fold(name, nexus_text_of("content-type")) ||
			nexus_text_equal_fold(name, nexus_text_of("content-length")))
			continue;
		if (nexus_text_equal_fold(name, nexus_text_of("content-encoding")) &&
			(value.len == 0 || nexus_text_equal_fold(value, nexus_text_of("identity"))))
			continue;
		skip(&rest, "; ");
		REQUIRE(rest.len >= name.len && nexus_text_equal_fold(nexus_text_make(rest.data, name.len), name));
		rest = nexus_text_make(rest.data + name.len, rest.len - name.len);
		skip(&rest, "=");
		skip_quoted(&rest, value);
	}
	REQUIRE(rest.len == 0);
	nexus_buffer_free(&out);
}

static void
check_payload(const NexusHeaders *headers, NexusText body)
{
	NexusPayload payload;
	NexusText	content_type;
	NexusText	encoding;

	nexus_payload_classify(headers, body, &payload);
	REQUIRE(is_within(payload.data, body) && is_within(payload.message_type, body));
	REQUIRE(payload.data.data != NULL && payload.content_type.data != NULL);
	REQUIRE(payload.kind != NEXUS_PAYLOAD_NULL || payload.data.len == 0);
	REQUIRE(payload.other_headers == NULL || payload.other_headers == headers);
	nexus_headers_get(headers, "content-type", &content_type);
	REQUIRE(nexus_text_equal(payload.content_type, content_type));
	if (nexus_headers_get(headers, "Content-Encoding", &encoding))
	{
		if (encoding.len > 0 && !nexus_text_equal_fold(encoding, nexus_text_of("identity")))
			REQUIRE(payload.kind == NEXUS_PAYLOAD_BYTES && nexus_text_equal(payload.data, body));
	}
	else if (nexus_payload_has_json_type(headers))
		REQUIRE(payload.kind == NEXUS_PAYLOAD_JSON && nexus_text_equal(payload.data, body));
	check_type(headers, &payload);
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

typedef struct Encoding
{
	const char *name;
	NexusPayloadKind kind;
	const char *type;			/* NULL: not decoded */
	bool		has_message_type;
} Encoding;

static const Encoding encodings[] = {
	{"json/plain", NEXUS_PAYLOAD_JSON, "application/json", false},
	{"json/protobuf", NEXUS_PAYLOAD_JSON, "application/json; format=protobuf", true},
	{"binary/null", NEXUS_PAYLOAD_NULL, "", false},
	{"binary/plain", NEXUS_PAYLOAD_BYTES, "application/octet-stream", false},
	{"binary/protobuf", NEXUS_PAYLOAD_BYTES, "application/x-protobuf", true},
	{"other", NEXUS_PAYLOAD_BYTES, NULL, false}
};

#define ENCODINGS (sizeof(encodings) / sizeof(encodings[0]))

/* A Payload that was encoded, in whatever order, yields its data. */
static void
check_temporal_payload(NexusText text, unsigned choice)
{
	const Encoding *encoding = &encodings[choice % ENCODINGS];
	NexusHeaders headers;
	NexusBuffer body;
	NexusPayload payload;

	nexus_headers_init(&headers, SIZE_MAX);
	nexus_headers_add_string(&headers, "content-type", "application/x-temporal-payload");
	nexus_buffer_init(&body, SIZE_MAX);
	if (choice % 4 < 2)
		append_bytes(&body, 2, text);
	append_unknown(&body, choice);
	append_entry(&body, "messageType", nexus_text_of("encoding"), choice % 7 == 0);
	append_entry(&body, "encoding", nexus_text_of(encoding->name), choice % 5 == 0);
	if (choice % 4 >= 2)
		append_bytes(&body, 2, text);
	nexus_payload_classify(&headers, nexus_buffer_view(&body), &payload);
	REQUIRE(payload.kind == encoding->kind);
	REQUIRE((payload.decoded_type != NULL) == (encoding->type != NULL));
	REQUIRE(encoding->type == NULL || strcmp(payload.decoded_type, encoding->type) == 0);
	REQUIRE(payload.message_type.len == (encoding->has_message_type ? strlen("encoding") : 0));
	if (encoding->type == NULL)
		REQUIRE(nexus_text_equal(payload.data, nexus_buffer_view(&body)));
	else
		REQUIRE(nexus_text_equal(payload.data, payload.kind == NEXUS_PAYLOAD_NULL ? nexus_text_make("", 0) : text));
	check_type(&headers, &payload);
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
