/*
 * token.c
 *	  Make and check callback tokens.
 *
 * There is exactly one text for a key and a MAC: no leading zeros, no padding,
 * no stray bits in the last character.
 */
#include "protocol/token.h"

#include <inttypes.h>
#include <stdio.h>

#define VERSION "1."
#define MAC_TEXT_LEN 43			/* base64url of 32 bytes, without padding */
#define KEY_DIGITS 10			/* of INT32_MAX */

static const char alphabet[] =
"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void
encode_mac(const uint8_t mac[NEXUS_TOKEN_MAC_LEN], char out[MAC_TEXT_LEN])
{
	uint32_t	bits = 0;
	int			count = 0;
	int			len = 0;

	for (int i = 0; i < NEXUS_TOKEN_MAC_LEN; i++)
	{
		bits = bits << 8 | mac[i];
		count += 8;
		while (count >= 6)
		{
			count -= 6;
			out[len++] = alphabet[(bits >> count) & 0x3f];
		}
	}
	/* 256 bits leave four for the last character */
	out[len] = alphabet[(bits << 2) & 0x3f];
}

static bool
compute_mac(int32_t key_number, const NexusUuid *incarnation, const NexusUuid *operation_id,
			NexusTokenMac mac, void *arg, char out[MAC_TEXT_LEN])
{
	uint8_t		message[32];
	uint8_t		bytes[NEXUS_TOKEN_MAC_LEN];

	memcpy(message, incarnation->bytes, 16);
	memcpy(message + 16, operation_id->bytes, 16);
	if (!mac(arg, key_number, message, bytes))
		return false;
	encode_mac(bytes, out);
	return true;
}

bool
nexus_token_make(char *out, int32_t key_number, const NexusUuid *incarnation,
				 const NexusUuid *operation_id, NexusTokenMac mac, void *arg)
{
	char		mac_text[MAC_TEXT_LEN];

	if (key_number < 0 ||
		!compute_mac(key_number, incarnation, operation_id, mac, arg, mac_text))
		return false;
	snprintf(out, NEXUS_TOKEN_MAX_LEN, VERSION "%" PRId32 ".%.*s", key_number, MAC_TEXT_LEN, mac_text);
	return true;
}

static bool
is_mac_text(NexusText text)
{
	if (text.len != MAC_TEXT_LEN)
		return false;
	for (size_t i = 0; i < text.len; i++)
	{
		if (text.data[i] == '\0' || strchr(alphabet, text.data[i]) == NULL)
			return false;
	}
	/* the two bits that carry nothing are zero */
	return (strchr(alphabet, text.data[MAC_TEXT_LEN - 1]) - alphabet) % 4 == 0;
}

static bool
parse(NexusText token, int32_t *key_number, NexusText *mac_text)
{
	size_t		version_len = strlen(VERSION);
	NexusText	key;
	int64_t		number;

	if (token.len < version_len || memcmp(token.data, VERSION, version_len) != 0)
		return false;
	key = nexus_text_cut(nexus_text_make(token.data + version_len, token.len - version_len), '.', mac_text);
	if (mac_text->data == NULL || key.len > KEY_DIGITS || (key.len > 1 && key.data[0] == '0'))
		return false;
	if (!nexus_text_to_int64(key, &number) || number > INT32_MAX)
		return false;
	*key_number = (int32_t) number;
	return is_mac_text(*mac_text);
}

bool
nexus_token_is_well_formed(NexusText token)
{
	int32_t		key_number;
	NexusText	mac_text;

	return parse(token, &key_number, &mac_text);
}

bool
nexus_token_check(NexusText token, const NexusUuid *incarnation, const NexusUuid *operation_id,
				  NexusTokenMac mac, void *arg)
{
	int32_t		key_number;
	NexusText	mac_text;
	char		expected[MAC_TEXT_LEN];
	volatile unsigned char difference = 0;

	if (!parse(token, &key_number, &mac_text) ||
		!compute_mac(key_number, incarnation, operation_id, mac, arg, expected))
		return false;
	for (int i = 0; i < MAC_TEXT_LEN; i++)
		difference |= (unsigned char) (expected[i] ^ mac_text.data[i]);
	return difference == 0;
}

bool
nexus_token_find(const NexusHeaders *headers, NexusText *token)
{
	return nexus_headers_get(headers, NEXUS_TOKEN_HEADER, token)
		|| nexus_headers_get(headers, NEXUS_TOKEN_HEADER_OF_SPEC, token);
}
