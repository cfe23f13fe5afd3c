/*
 * test_payload.c
 *	  Bodies and their content headers.
 */
#include "protocol/payload.h"
#include "tap.h"

#define TEMPORAL "application/x-temporal-payload"

/* Entries of the metadata map: encoding and something else. */
#define ENCODING(len, value_len, value) "\x0a" len "\x0a\x08" "encoding" "\x12" value_len value
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
} Row;

static const Row rows[] = {
	{"item 14: bytes", "application/octet-stream", NULL, "\0\1", 2, NEXUS_PAYLOAD_BYTES, NULL},
	{"item 16: nothing at all", NULL, NULL, "", 0, NEXUS_PAYLOAD_NULL, NULL},
	{"item 18: JSON with a charset", "application/json; charset=utf-8", NULL, "666", 0, NEXUS_PAYLOAD_JSON, NULL},
	{"JSON", "application/json", NULL, "666", 0, NEXUS_PAYLOAD_JSON, NULL},
	{"JSON whatever the case", "Application/JSON;format=protobuf", NULL, "{}", 0, NEXUS_PAYLOAD_JSON, NULL},
	{"JSON with a language", "application/json", "Content-Language: en", "{}", 0, NEXUS_PAYLOAD_JSON, NULL},
	{"labelled JSON, but empty", "application/json", NULL, "", 0, NEXUS_PAYLOAD_JSON, NULL},
	{"not quite JSON", "application/jsonx", NULL, "{}", 0, NEXUS_PAYLOAD_BYTES, NULL},
	{"compressed JSON", "application/json", "Content-Encoding: gzip", "\x1f\x8b", 0, NEXUS_PAYLOAD_BYTES, NULL},
	{"JSON under an encoding that is none", "application/json", "Content-Encoding: Identity", "1", 0, NEXUS_PAYLOAD_JSON, NULL},
	{"no type, some bytes", NULL, NULL, "x", 0, NEXUS_PAYLOAD_BYTES, NULL},
	{"empty text", "text/plain", NULL, "", 0, NEXUS_PAYLOAD_NULL, NULL},
	{"empty bytes", "application/octet-stream", NULL, "", 0, NEXUS_PAYLOAD_BYTES, NULL},
	{"length is no content of its own", NULL, "Content-Length: 0", "", 0, NEXUS_PAYLOAD_NULL, NULL},
	{"item 17: json/plain", TEMPORAL, NULL, ENCODING("\x16", "\x0a", "json/plain") "\x12\x03" "666", 0, NEXUS_PAYLOAD_JSON, "666"},
	{"item 17: json/protobuf and more metadata", TEMPORAL, NULL,
	OTHER_ENTRY ENCODING("\x19", "\x0d", "json/protobuf") OTHER_ENTRY "\x12\x02" "{}", 0, NEXUS_PAYLOAD_JSON, "{}"},
	{"item 17: binary/plain", TEMPORAL, NULL, "\x12\x01" "x" ENCODING("\x18", "\x0c", "binary/plain"), 0, NEXUS_PAYLOAD_BYTES, "x"},
	{"item 17: binary/null", TEMPORAL "; a=b", NULL, ENCODING("\x17", "\x0b", "binary/null"), 0, NEXUS_PAYLOAD_NULL, ""},
	{"item 17: encrypted", TEMPORAL, NULL, ENCODING("\x1c", "\x10", "binary/encrypted") "\x12\x01" "x", 0, NEXUS_PAYLOAD_BYTES, NULL},
	{"no metadata", TEMPORAL, NULL, "\x12\x01" "x", 0, NEXUS_PAYLOAD_BYTES, NULL},
	{"empty message", TEMPORAL, NULL, "", 0, NEXUS_PAYLOAD_BYTES, NULL},
	{"unknown fields are skipped", TEMPORAL, NULL,
	"\x20\xff\x01" "\x29" "12345678" "\x35" "1234" "\x3a\x01" "x" ENCODING("\x16", "\x0a", "json/plain") "\x12\x01" "1", 0, NEXUS_PAYLOAD_JSON, "1"},
	{"data kept elsewhere", TEMPORAL, NULL, ENCODING("\x16", "\x0a", "json/plain") "\x12\x01" "1" "\x1a\x01" "x", 0, NEXUS_PAYLOAD_BYTES, NULL},
	{"the last data wins", TEMPORAL, NULL, "\x12\x01" "1" ENCODING("\x16", "\x0a", "json/plain") "\x12\x01" "2", 0, NEXUS_PAYLOAD_JSON, "2"},
	{"a group", TEMPORAL, NULL, ENCODING("\x16", "\x0a", "json/plain") "\x23", 0, NEXUS_PAYLOAD_BYTES, NULL},
	{"field 0", TEMPORAL, NULL, ENCODING("\x16", "\x0a", "json/plain") "\x02\x01" "x", 0, NEXUS_PAYLOAD_BYTES, NULL},
	{"a length beyond the end", TEMPORAL, NULL, ENCODING("\x16", "\x0a", "json/plain") "\x12\x02" "1", 0, NEXUS_PAYLOAD_BYTES, NULL},
	{"a length of 64 bits", TEMPORAL, NULL, ENCODING("\x16", "\x0a", "json/plain") "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" "1", 0,
	NEXUS_PAYLOAD_BYTES, NULL},
	{"a number without end", TEMPORAL, NULL, "\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 0, NEXUS_PAYLOAD_BYTES, NULL},
	{"an entry that is broken within", TEMPORAL, NULL, "\x0a\x03\x0a\x08" "e" "\x12\x01" "1", 0, NEXUS_PAYLOAD_BYTES, NULL}
};

static void
test_row(const Row *row, NexusHeaders *headers)
{
	size_t		len = row->len > 0 ? row->len : strlen(row->body);
	NexusText	body = exact_copy(row->body, len);
	NexusText	value;
	NexusPayload payload;

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
	is_text(payload.content_type, row->content_type != NULL ? row->content_type : "", row->name);
	ok(payload.has_other_content_headers ==
	   (row->other != NULL && !nexus_headers_get(headers, "content-length", &value)), row->name);
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
