/*
 * payload.c
 *	  Classify bodies; read Temporal's Payload message.
 *
 * temporal.api.common.v1.Payload is map<string, bytes> metadata = 1, bytes
 * data = 2, and a list of payloads kept elsewhere = 3.
 */
#include "protocol/payload.h"
#include "protocol/json_text.h"

#define TEMPORAL_PAYLOAD "application/x-temporal-payload"
#define JSON "application/json"
#define OCTETS "application/octet-stream"
#define PROTOBUF "application/x-protobuf"
#define JSON_PROTOBUF JSON "; format=protobuf"
#define CONTENT_PREFIX "content-"

/* Fields of Payload and of an entry of a map. */
#define FIELD_METADATA 1
#define FIELD_DATA 2
#define FIELD_EXTERNAL 3
#define FIELD_KEY 1
#define FIELD_VALUE 2

#define MAX_VARINT_BYTES 10

/* Wire types of protobuf; groups (3, 4) are not read. */
#define WIRE_VARINT 0
#define WIRE_FIXED64 1
#define WIRE_BYTES 2
#define WIRE_FIXED32 5

typedef struct Field
{
	uint64_t	number;
	int			wire_type;
	NexusText	bytes;			/* of WIRE_BYTES */
} Field;

static bool
take_varint(NexusText *rest, uint64_t *value)
{
	*value = 0;
	for (int i = 0; i < MAX_VARINT_BYTES && rest->len > 0; i++)
	{
		uint8_t		byte = (uint8_t) rest->data[0];

		rest->data++;
		rest->len--;
		*value |= (uint64_t) (byte & 0x7f) << (7 * i);
		if ((byte & 0x80) == 0)
			return i < MAX_VARINT_BYTES - 1 || byte <= 1;
	}
	return false;
}

static bool
take_bytes(NexusText *rest, uint64_t len, NexusText *bytes)
{
	if (len > rest->len)
		return false;
	*bytes = nexus_text_make(rest->data, (size_t) len);
	rest->data += len;
	rest->len -= (size_t) len;
	return true;
}

/* Take the next field of a message that has some left. */
static bool
take_field(NexusText *rest, Field *field)
{
	uint64_t	key;
	uint64_t	number;

	if (!take_varint(rest, &key))
		return false;
	field->number = key >> 3;
	field->wire_type = (int) (key & 7);
	field->bytes = nexus_text_make("", 0);
	if (field->number == 0)
		return false;
	if (field->wire_type == WIRE_VARINT)
		return take_varint(rest, &number);
	if (field->wire_type == WIRE_FIXED64)
		return take_bytes(rest, 8, &field->bytes);
	if (field->wire_type == WIRE_FIXED32)
		return take_bytes(rest, 4, &field->bytes);
	return field->wire_type == WIRE_BYTES && take_varint(rest, &number) &&
		take_bytes(rest, number, &field->bytes);
}

/* What is read of a Payload message: views into it. */
typedef struct TemporalPayload
{
	NexusText	encoding;
	NexusText	message_type;
	NexusText	data;
} TemporalPayload;

/* Remember an entry of the metadata if it says what the data is. */
static bool
read_entry(NexusText entry, TemporalPayload *payload)
{
	NexusText	key = {"", 0};
	NexusText	value = {"", 0};
	Field		field;

	while (entry.len > 0)
	{
		if (!take_field(&entry, &field))
			return false;
		if (field.wire_type != WIRE_BYTES)
			continue;
		if (field.number == FIELD_KEY)
			key = field.bytes;
		else if (field.number == FIELD_VALUE)
			value = field.bytes;
	}
	if (nexus_text_equal(key, nexus_text_of("encoding")))
		payload->encoding = value;
	else if (nexus_text_equal(key, nexus_text_of("messageType")))
		payload->message_type = value;
	return true;
}

/* False where the message is malformed or its data is elsewhere. */
static bool
read_temporal_payload(NexusText message, TemporalPayload *payload)
{
	Field		field;

	while (message.len > 0)
	{
		if (!take_field(&message, &field) || field.number == FIELD_EXTERNAL)
			return false;
		if (field.wire_type != WIRE_BYTES)
			continue;
		if (field.number == FIELD_DATA)
			payload->data = field.bytes;
		else if (field.number == FIELD_METADATA && !read_entry(field.bytes, payload))
			return false;
	}
	return true;
}

static void
classify_temporal_payload(NexusText body, NexusPayload *payload)
{
	static const struct
	{
		const char *encoding;
		NexusPayloadKind kind;
		const char *type;		/* of the same outside of a Payload */
		bool		has_message_type;
	}			encodings[] = {
		{"json/plain", NEXUS_PAYLOAD_JSON, JSON, false},
		{"json/protobuf", NEXUS_PAYLOAD_JSON, JSON_PROTOBUF, true},
		{"binary/null", NEXUS_PAYLOAD_NULL, "", false},
		{"binary/plain", NEXUS_PAYLOAD_BYTES, OCTETS, false},
		{"binary/protobuf", NEXUS_PAYLOAD_BYTES, PROTOBUF, true},
	};
	TemporalPayload temporal = {{"", 0}, {"", 0}, {"", 0}};

	if (!read_temporal_payload(body, &temporal))
		return;
	for (size_t i = 0; i < sizeof(encodings) / sizeof(encodings[0]); i++)
	{
		if (!nexus_text_equal(temporal.encoding, nexus_text_of(encodings[i].encoding)))
			continue;
		payload->kind = encodings[i].kind;
		payload->decoded_type = encodings[i].type;
		if (encodings[i].has_message_type)
			payload->message_type = temporal.message_type;
		payload->data = payload->kind == NEXUS_PAYLOAD_NULL ? nexus_text_make("", 0) : temporal.data;
	}
}

static bool
is_media_type(NexusText content_type, const char *media_type)
{
	NexusText	parameters;
	NexusText	found = nexus_text_trim(nexus_text_cut(content_type, ';', &parameters));

	return nexus_text_equal_fold(found, nexus_text_of(media_type));
}

bool
nexus_payload_has_json_type(const NexusHeaders *headers)
{
	NexusText	content_type;

	return nexus_headers_get(headers, "content-type", &content_type) &&
		is_media_type(content_type, JSON);
}

/*
 * Whether a header says more of the content than its type and length; "name" is
 * then what follows "content-".
 */
static bool
is_other_content_header(NexusText *name, NexusText value)
{
	NexusText	prefix = nexus_text_of(CONTENT_PREFIX);

	if (!nexus_text_starts_fold(*name, prefix))
		return false;
	*name = nexus_text_make(name->data + prefix.len, name->len - prefix.len);
	if (nexus_text_equal_fold(*name, nexus_text_of("encoding")))
		return value.len > 0 && !nexus_text_equal_fold(value, nexus_text_of("identity"));
	return !nexus_text_equal_fold(*name, nexus_text_of("type")) &&
		!nexus_text_equal_fold(*name, nexus_text_of("length"));
}

/* Look at all content headers; true where one says that the body is encoded. */
static bool
read_content_headers(const NexusHeaders *headers, NexusPayload *payload)
{
	bool		is_encoded = false;

	(void) nexus_headers_get(headers, "content-type", &payload->content_type);
	for (size_t i = 0; i < headers->count; i++)
	{
		NexusText	name;
		NexusText	value;

		nexus_headers_at(headers, i, &name, &value);
		if (!is_other_content_header(&name, value))
			continue;
		payload->other_headers = headers;
		is_encoded |= nexus_text_equal_fold(name, nexus_text_of("encoding"));
	}
	return is_encoded;
}

void
nexus_payload_classify(const NexusHeaders *headers, NexusText body, NexusPayload *payload)
{
	payload->kind = NEXUS_PAYLOAD_BYTES;
	payload->data = body;
	payload->content_type = nexus_text_make("", 0);
	payload->decoded_type = NULL;
	payload->message_type = nexus_text_make("", 0);
	payload->other_headers = NULL;
	if (read_content_headers(headers, payload))
		return;
	if (is_media_type(payload->content_type, JSON))
		payload->kind = NEXUS_PAYLOAD_JSON;
	else if (is_media_type(payload->content_type, TEMPORAL_PAYLOAD))
		classify_temporal_payload(body, payload);
	else if (body.len == 0 && !is_media_type(payload->content_type, OCTETS))
		payload->kind = NEXUS_PAYLOAD_NULL;
}

/* "; name=value", quoted as RFC 9110 section 5.6.4 has it. */
static void
append_parameter(NexusBuffer *out, const char *prefix, NexusText name, NexusText value)
{
	nexus_buffer_append_string(out, "; ");
	nexus_buffer_append_string(out, prefix);
	for (size_t i = 0; i < name.len; i++)
	{
		char		c = name.data[i];

		c = c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
		nexus_buffer_append(out, &c, 1);
	}
	nexus_buffer_append_string(out, "=\"");
	for (size_t i = 0; i < value.len; i++)
	{
		if (value.data[i] == '"' || value.data[i] == '\\')
			nexus_buffer_append(out, "\\", 1);
		nexus_buffer_append(out, &value.data[i], 1);
	}
	nexus_buffer_append(out, "\"", 1);
}

bool
nexus_payload_append_type(const NexusPayload *payload, NexusBuffer *out)
{
	const NexusHeaders *headers = payload->other_headers;

	if (payload->decoded_type != NULL)
		nexus_buffer_append_string(out, payload->decoded_type);
	else if (payload->content_type.len > 0)
		nexus_buffer_append_text(out, payload->content_type);
	else if (headers != NULL)
		nexus_buffer_append_string(out, OCTETS);
	if (payload->message_type.len > 0)
		append_parameter(out, "", nexus_text_of("message-type"), payload->message_type);
	for (size_t i = 0; headers != NULL && i < headers->count; i++)
	{
		NexusText	name;
		NexusText	value;

		nexus_headers_at(headers, i, &name, &value);
		if (is_other_content_header(&name, value))
			append_parameter(out, CONTENT_PREFIX, name, value);
	}
	return !out->is_broken;
}

bool
nexus_payload_json_is_safe(NexusText json)
{
	return nexus_json_is_storable(json, NEXUS_PAYLOAD_MAX_JSON_DEPTH);
}

bool
nexus_payload_is_utf8(NexusText bytes)
{
	while (bytes.len > 0)
	{
		uint64_t	word;
		size_t		len;

		if (bytes.len >= sizeof(word))
		{
			memcpy(&word, bytes.data, sizeof(word));
			if ((word & UINT64_C(0x8080808080808080)) == 0)
			{
				bytes.data += sizeof(word);
				bytes.len -= sizeof(word);
				continue;
			}
		}
		len = nexus_text_utf8_length(bytes);
		if (len == 0)
			return false;
		bytes.data += len;
		bytes.len -= len;
	}
	return true;
}
