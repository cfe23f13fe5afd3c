/*
 * test_token.c
 *	  Callback tokens, with a MAC that needs no cryptography.
 */
#include "protocol/token.h"
#include "tap.h"

#define KNOWN_KEY 7

/* Depends on every byte of the message and on the key; "arg" counts calls. */
static bool
fake_mac(void *arg, int32_t key_number, const uint8_t message[32], uint8_t mac[NEXUS_TOKEN_MAC_LEN])
{
	(*(int *) arg)++;
	for (int i = 0; i < NEXUS_TOKEN_MAC_LEN; i++)
		mac[i] = (uint8_t) (message[i] * 3 + message[(i + 16) % 32] + (uint32_t) key_number);
	return key_number == KNOWN_KEY || key_number == INT32_MAX;
}

static const char *const malformed[] = {
	"", "1", "1.", "1.7", "1.7.", "7.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	"1.7.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "1.7.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	"1.7.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB", "1.7.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	"1.7.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA+A", "1.07.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	"1.-7.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "1.2147483648.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	"1..AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "2.7.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	" 1.7.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
};

int
main(void)
{
	NexusUuid	incarnation = {{1, 2, 3}};
	NexusUuid	operation_id = {{4, 5, 6}};
	char		token[NEXUS_TOKEN_MAX_LEN];
	NexusHeaders headers;
	NexusText	found;
	int			calls = 0;
	int			accepted = 0;

	ok(nexus_token_make(token, KNOWN_KEY, &incarnation, &operation_id, fake_mac, &calls), "make");
	is_int((int64_t) strlen(token), 47, "length");
	is_text(nexus_text_make(token, 18), "1.7.DhIWBwcHBwcHBw", "version, key, base64url");
	ok(nexus_token_check(nexus_text_of(token), &incarnation, &operation_id, fake_mac, &calls), "check");
	ok(!nexus_token_check(nexus_text_of(token), &operation_id, &incarnation, fake_mac, &calls),
	   "incarnation and operation are not exchangeable");
	for (size_t i = 0; i < strlen(token); i++)
	{
		char		bent[NEXUS_TOKEN_MAX_LEN];

		strcpy(bent, token);
		bent[i] = bent[i] == 'A' ? 'Q' : 'A';
		accepted += nexus_token_check(nexus_text_of(bent), &incarnation, &operation_id, fake_mac, &calls);
	}
	is_int(accepted, 0, "one wrong character anywhere");
	operation_id.bytes[15] ^= 1;
	ok(!nexus_token_check(nexus_text_of(token), &incarnation, &operation_id, fake_mac, &calls), "another operation");
	nexus_headers_init(&headers, 1000);
	ok(!nexus_token_find(&headers, &found), "no token in the headers");
	nexus_headers_add_string(&headers, "token", "second");
	ok(nexus_token_find(&headers, &found), "a token under the name of the specification");
	nexus_headers_add_string(&headers, "nexus-pg-token", "first");
	ok(nexus_token_find(&headers, &found), "a token under our own");
	is_text(found, "first", "which is preferred");
	nexus_headers_free(&headers);
	ok(!nexus_token_make(token, 8, &incarnation, &operation_id, fake_mac, &calls), "unknown key");
	ok(!nexus_token_make(token, -1, &incarnation, &operation_id, fake_mac, &calls), "negative key");
	ok(nexus_token_make(token, INT32_MAX, &incarnation, &operation_id, fake_mac, &calls) &&
	   nexus_token_is_well_formed(nexus_text_of(token)), "the largest key number");
	calls = 0;
	for (size_t i = 0; i < LENGTH_OF(malformed); i++)
	{
		NexusText	text = exact_copy(malformed[i], strlen(malformed[i]));

		ok(!nexus_token_is_well_formed(text) &&
		   !nexus_token_check(text, &incarnation, &operation_id, fake_mac, &calls), malformed[i]);
		free((char *) text.data);
	}
	is_int(calls, 0, "no MAC is computed for what is malformed");
	return done();
}
