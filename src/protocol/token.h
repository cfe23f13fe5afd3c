/*
 * token.h
 *	  Callback tokens: 1.{key number}.{base64url of HMAC-SHA256}.
 *
 * The HMAC is over the 32 bytes of incarnation and operation id.  It is
 * computed by a function that the caller passes in, so that this file needs no
 * cryptography of its own.
 */
#ifndef NEXUS_PROTOCOL_TOKEN_H
#define NEXUS_PROTOCOL_TOKEN_H

#include "protocol/headers.h"
#include "protocol/uuid.h"

/*
 * A start request names the token twice: under a name of our own, which no
 * other layer is likely to touch, and as the specification requires since 2026.
 */
#define NEXUS_TOKEN_HEADER "Nexus-Pg-Token"
#define NEXUS_TOKEN_HEADER_OF_SPEC "Token"
#define NEXUS_TOKEN_MAX_LEN 64	/* a token and its NUL */
#define NEXUS_TOKEN_MAC_LEN 32

/* HMAC-SHA256 of "message" under key "key_number"; false: no such key. */
typedef bool (*NexusTokenMac) (void *arg, int32_t key_number, const uint8_t message[32],
							   uint8_t mac[NEXUS_TOKEN_MAC_LEN]);

extern bool nexus_token_make(char *out, int32_t key_number, const NexusUuid *incarnation,
							 const NexusUuid *operation_id, NexusTokenMac mac, void *arg);

/* The token of a callback request, under either name; false where it has none. */
extern bool nexus_token_find(const NexusHeaders *headers, NexusText *token);

/* Whether a text has the form of a token, whoever made it. */
extern bool nexus_token_is_well_formed(NexusText token);

/* Whether we made this token for this operation; compares in constant time. */
extern bool nexus_token_check(NexusText token, const NexusUuid *incarnation,
							  const NexusUuid *operation_id, NexusTokenMac mac, void *arg);

#endif							/* NEXUS_PROTOCOL_TOKEN_H */
