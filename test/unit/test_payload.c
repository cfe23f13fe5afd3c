/*
 * test_payload.c
 *	  Bodies and their content headers.
 */
#include "protocol/payload.h"
#include "tap.h"

#define TEMPORAL "application/x-temporal-payload"

/* Entries of the metadata map: encoding and something else. */
#define ENCODING(len, value_len, value) "\x0a" len "\x0a\x08" "encoding" "\x12" value_len value
#define MESSAGE_TYPE "\x0a\x12\x0a\x0b" "messageType" "\x12\x03" "a.B"
#define OTHER_ENTRY "\x0a\x06\x0a\x01" "k" "\x12\x01" "v"

typedef struct Row
{
	const char *name;
	const char *content_type;	/* NULL for none */
	const char *other;			/* NULL, or one more header */
	const char *body;
	size_t		len;			/* 0: that of the string */
	NexusPayloadKind kind;
	const char *data;			/* NULL: the body */
	const char *type;			/* to be kept; NULL: that which came */
} Row;

static const Row rows[] = {
	{"item 14: bytes", "application/octet-stream", NULL, "\0\1", 2, NEXUS_PAYLOAD_BYTES, NULL, NULL},
	{"item 16: nothing at all", NULL, NULL, "", 0, NEXUS_PAYLOAD_NULL, NULL, NULL},
	{"item 18: JSON with a charset", "application/json; charset=utf-8", NULL, "666", 0, NEXUS_PAYLOAD_JSON, NULL, NULL},
	{"JSON", "application/json", NULL, "666", 0, NEXUS_PAYLOAD_JSON, NULL, NULL},
	{"JSON whatever the case", "Application/JSON;format=protobuf", NULL, "{}", 0, NEXUS_PAYLOAD_JSON, NULL, NULL},
	{"JSON with a language", "application/json", "Content-Language: en", "{}", 0, NEXUS_PAYLOAD_JSON, NULL,
	"application/json; content-language=\"en\""},
	{"labelled JSON, but empty", "application/json", NULL, "", 0, NEXUS_PAYLOAD_JSON, NULL, NULL},
	{"not quite JSON", "application/jsonx", NULL, "{}", 0, NEXUS_PAYLOAD_BYTES, NULL, NULL},
	{"compressed JSON", "application/json", "Content-Encoding: gzip", "\x1f\x8b", 0, NEXUS_PAYLOAD_BYTES, NULL,
	"application/json; content-encoding=\"gzip\""},
	{"encodings of nobody knows what", NULL, "CONTENT-Encoding: a\\\"b", "x", 0, NEXUS_PAYLOAD_BYTES, NULL,
	"application/octet-stream; content-encoding=\"a\\\\\\\"b\""},
	{"JSON under an encoding that is none", "application/json", "Content-Encoding: Identity", "1", 0, NEXUS_PAYLOAD_JSON, NULL, NULL},
	{"no type, some bytes", NULL, NULL, "x", 0, NEXUS_PAYLOAD_BYTES, NULL, NULL},
	{"empty text", "text/plain", NULL, "", 0, NEXUS_PAYLOAD_NULL, NULL, NULL},
	{"empty bytes", "application/octet-stream", NULL, "", 0, NEXUS_PAYLOAD_BYTES, NULL, NULL},
	{"length is no content of its own", NULL, "Content-Length: 0", "", 0, NEXUS_PAYLOAD_NULL, NULL, NULL},
	{"item 17: json/plain", TEMPORAL, NULL, ENCODING("\x16", "\x0a", "json/plain") "\x12\x03" "666", 0, NEXUS_PAYLOAD_JSON, "666", "application/json"},
	{"item 17: json/protobuf and more metadata", TEMPORAL, NULL,
		OTHER_ENTRY ENCODING("\x19", "\x0d", "json/protobuf") OTHER_ENTRY "\x12\x02" "{}", 0, NEXUS_PAYLOAD_JSON, "{}",
	"application/json; format=protobuf"},
	{"item 17: binary/plain", TEMPORAL, NULL, "\x12\x01" "x" ENCODING("\x18", "\x0c", "binary/plain"), 0, NEXUS_PAYLOAD_BYTES, "x",
	"application/octet-stream"},
	{"scenario 27: binary/protobuf", TEMPORAL, NULL, ENCODING("\x1b", "\x0f", "binary/protobuf") MESSAGE_TYPE "\x12\x01" "x", 0,
	NEXUS_PAYLOAD_BYTES, "x", "application/x-protobuf; message-type=\"a.B\""},
	{"scenario 27: json/protobuf", TEMPORAL, "Content-Language: de",
		ENCODING("\x19", "\x0d", "json/protobuf") MESSAGE_TYPE "\x12\x02" "{}", 0, NEXUS_PAYLOAD_JSON, "{}",
	"application/json; format=protobuf; message-type=\"a.B\"; content-language=\"de\""},
	{"item 17: binary/null", TEMPORAL "; a=b", NULL, ENCODING("\x17", "\x0b", "binary/null"), 0, NEXUS_PAYLOAD_NULL, "", ""},
	{"item 17: encrypted", TEMPORAL, NULL, ENCODING("\x1c", "\x10", "binary/encrypted") "\x12\x01" "x", 0, NEXUS_PAYLOAD_BYTES, NULL, NULL},
	{"no metadata", TEMPORAL, NULL, "\x12\x01" "x", 0, NEXUS_PAYLOAD_BYTES, NULL, NULL},
	{"empty message", TEMPORAL, NULL, "", 0, NEXUS_PAYLOAD_BYTES, NULL, NULL},
	{"unknown fields are skipped", TEMPORAL, NULL,
	"\x20\xff\x01" "\x29" "12345678" "\x35" "1234" "\x3a\x01" "x" ENCODING("\x16", "\x0a", "json/plain") "\x12\x01" "1", 0, NEXUS_PAYLOAD_JSON, "1", "application/json"},
	{"data kept elsewhere", TEMPORAL, NULL, ENCODING("\x16", "\x0a", "json/plain") "\x12\x01" "1" "\x1a\x01" "x", 0, NEXUS_PAYLOAD_BYTES, NULL, NULL},
	{"the last data wins", TEMPORAL, NULL, "\x12\x01" "1" ENCODING("\x16", "\x0a", "json/plain") "\x12\x01" "2", 0, NEXUS_PAYLOAD_JSON, "2", "application/json"},
	{"a group", TEMPORAL, NULL, ENCODING("\x16", "\x0a", "json/plain") "\x23", 0, NEXUS_PAYLOAD_BYTES, NULL, NULL},
	{"field 0", TEMPORAL, NULL, ENCODING("\x16", "\x0a", "json/plain") "\x02\x01" "x", 0, NEXUS_PAYLOAD_BYTES, NULL, NULL},
	{"a length beyond the end", TEMPORAL, NULL, ENCODING("\x16", "\x0a", "json/plain") "\x12\x02" "1", 0, NEXUS_PAYLOAD_BYTES, NULL, NULL},
	{"a length of 64 bits", TEMPORAL, NULL, ENCODING("\x16", "\x0a", "json/plain") "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" "1", 0,
	NEXUS_PAYLOAD_BYTES, NULL, NULL},
	{"a number without end", TEMPORAL, NULL, "\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 0, NEXUS_PAYLOAD_BYTES, NULL, NULL},
	{"an entry that is broken within", TEMPORAL, NULL, "\x0a\x03\x0a\x08" "e" "\x12\x01" "1", 0, NEXUS_PAYLOAD_BYTES, NULL, NULL}
};

static void
test_row(const Row *row, NexusHeaders *headers)
{
	size_t		len = row->len > 0 ? row->len : strlen(row->body);
	NexusText	body = exact_copy(row->body, len);
	const char *came = row->content_type != NULL ? row->content_type : "";
	NexusPayload payload;
	NexusBuffer type;

	nexus_headers_reset(headers);
	if (row->other != NULL)
		nexus_headers_add_line(headers, nexus_text_of(row->other));
	if (row->content_type != NULL)
		nexus_headers_add_string(headers, "content-type", row->content_type);
	nexus_payload_classify(headers, body, &payload);
	is_int(payload.kind, row->kind, row->name);
	if (row->data != NULL)
		is_text(payload.data, row->data, row->name);
	else
		ok(nexus_text_equal(payload.data, body), row->name);
	is_text(payload.content_type, came, row->name);
	nexus_buffer_init(&type, 1000);
	ok(nexus_payload_append_type(&payload, &type), row->name);
	is_text(nexus_buffer_view(&type), row->type != NULL ? row->type : came, row->name);
	nexus_buffer_free(&type);
	free((char *) body.data);
}

/* A message cut off anywhere. */
static void
test_cut(NexusHeaders *headers)
{
	static const char message[] = OTHER_ENTRY ENCODING("\x16", "\x0a", "json/plain") "\x12\x03" "666";
	NexusPayload payload;

	nexus_headers_reset(headers);
	nexus_headers_add_string(headers, "Content-Type", TEMPORAL);
	for (size_t len = 0; len < sizeof(message) - 1; len++)
	{
		NexusText	cut = exact_copy(message, len);

		nexus_payload_classify(headers, cut, &payload);
		if (payload.data.len > cut.len)
			ok(false, "data longer than the message");
		free((char *) cut.data);
	}
	ok(true, "cut off anywhere");
}

int
main(void)
{
	NexusHeaders headers;

	nexus_headers_init(&headers, 1000);
	for (size_t i = 0; i < LENGTH_OF(rows); i++)
		test_row(&rows[i], &headers);
	test_cut(&headers);
	nexus_headers_free(&headers);
	ok(nexus_payload_is_utf8(nexus_text_of("0123456789 \xc3\xa9 0123456789")), "UTF-8");
	ok(!nexus_payload_is_utf8(nexus_text_of("01234567\xff")), "no UTF-8");
	ok(nexus_payload_is_utf8(nexus_text_of("")), "nothing is UTF-8");
	return done();
}
