/*
 * payload.h
 *	  What a body and its content headers are.
 */
#ifndef NEXUS_PROTOCOL_PAYLOAD_H
#define NEXUS_PROTOCOL_PAYLOAD_H

#include "protocol/headers.h"

typedef enum NexusPayloadKind
{
	NEXUS_PAYLOAD_NULL,			/* no body at all, or Temporal's binary/null */
	NEXUS_PAYLOAD_JSON,			/* labelled as JSON; may still not be any */
	NEXUS_PAYLOAD_BYTES
} NexusPayloadKind;

typedef struct NexusPayload
{
	NexusPayloadKind kind;
	NexusText	data;			/* into the body, or into what was decoded */
	NexusText	content_type;	/* as it came; len 0 where there was none */
	const char *decoded_type;	/* of data taken out of a Temporal Payload;
								 * NULL for a body as it came */
	NexusText	message_type;	/* of decoded protobuf, else len 0 */
	const NexusHeaders *other_headers;	/* where one says more than type and
										 * length: Content-Encoding and the
										 * like; else NULL */
} NexusPayload;

/*
 * Classify a body.  Media type application/json (any parameters) is JSON.
 * application/x-temporal-payload is decoded: encodings json/plain and
 * json/protobuf become JSON, binary/null NULL, binary/plain and
 * binary/protobuf bytes; others, and what cannot be decoded, stay the bytes
 * that came.  A body with a Content-Encoding stays bytes.  Never fails.
 * "headers" must stay as long as the payload is used.
 */
extern void nexus_payload_classify(const NexusHeaders *headers, NexusText body, NexusPayload *payload);

/*
 * Append the content type to be kept with the data: that which came or, of
 * decoded data, that which Temporal gives it on the wire.  Other content
 * headers follow as parameters ("application/json; content-encoding=gzip"),
 * since without them nobody could read the bytes.  Nothing where there is
 * nothing to say.
 */
extern bool nexus_payload_append_type(const NexusPayload *payload, NexusBuffer *out);

/* Whether the media type of Content-Type is application/json, whatever its parameters. */
extern bool nexus_payload_has_json_type(const NexusHeaders *headers);

#define NEXUS_PAYLOAD_MAX_JSON_DEPTH 1000

/*
 * Whether JSON text is worth handing to PostgreSQL's parser: valid UTF-8, not
 * nested deeper than NEXUS_PAYLOAD_MAX_JSON_DEPTH, no \u0000, no number whose exponent or
 * length is out of numeric's range.  It does not check the grammar.
 */
extern bool nexus_payload_json_is_safe(NexusText json);

/* Whether bytes are valid UTF-8 (no overlong forms, no surrogates). */
extern bool nexus_payload_is_utf8(NexusText bytes);

#endif							/* NEXUS_PROTOCOL_PAYLOAD_H */
