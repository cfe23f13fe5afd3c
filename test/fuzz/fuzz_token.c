/*
 * fuzz_token.c
 *	  Callback tokens: one text for each operation and key, and no other.
 */
#include "fuzz.h"

#include "protocol/token.h"

/* Stands for HMAC-SHA256; keys above a million do not exist. */
static bool
make_mac(void *arg, int32_t key_number, const uint8_t message[32], uint8_t mac[NEXUS_TOKEN_MAC_LEN])
{
	(void) arg;
	if (key_number > 1000000)
		return false;
	for (int i = 0; i < NEXUS_TOKEN_MAC_LEN; i++)
		mac[i] = (uint8_t) (message[i] * 31 + (key_number >> (i % 4 * 8)) + i);
	return true;
}

/* The number of the key; -1 for a text that is no token. */
static int64_t
expected_key(NexusText text)
{
	static regex_t grammar;
	int64_t		number = 0;

	if (!is_of_grammar(text, &grammar, "^1\\.(0|[1-9][0-9]{0,9})\\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"))
		return -1;
	for (size_t i = 2; text.data[i] != '.'; i++)
		number = number * 10 + (text.data[i] - '0');
	return number <= INT32_MAX ? number : -1;
}

/* A token of ours is right for its operation only, and no other text is. */
static void
check_made(int32_t key_number, const NexusUuid *incarnation, NexusUuid operation_id, unsigned place)
{
	char		token[NEXUS_TOKEN_MAX_LEN];
	NexusText	text;

	if (!nexus_token_make(token, key_number, incarnation, &operation_id, make_mac, NULL))
	{
		REQUIRE(key_number < 0 || key_number > 1000000);
		return;
	}
	REQUIRE(strlen(token) < sizeof(token));
	text = nexus_text_of(token);
	REQUIRE(nexus_token_is_well_formed(text));
	REQUIRE(nexus_token_check(text, incarnation, &operation_id, make_mac, NULL));
	operation_id.bytes[place % 16] ^= 1;
	REQUIRE(!nexus_token_check(text, incarnation, &operation_id, make_mac, NULL));
	operation_id.bytes[place % 16] ^= 1;
	token[place % text.len] = (char) (token[place % text.len] ^ (1 + place % 7));
	REQUIRE(!nexus_token_check(text, incarnation, &operation_id, make_mac, NULL));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	NexusText	text = input_text(data, size);
	NexusUuid	incarnation = {{1, 2, 3}};
	NexusUuid	operation_id = {{4, 5, 6}};
	int64_t		key_number = expected_key(text);
	char		made[NEXUS_TOKEN_MAX_LEN];

	REQUIRE(nexus_token_is_well_formed(text) == (key_number >= 0));
	if (nexus_token_check(text, &incarnation, &operation_id, make_mac, NULL))
	{
		REQUIRE(key_number >= 0);
		REQUIRE(nexus_token_make(made, (int32_t) key_number, &incarnation, &operation_id, make_mac, NULL));
		REQUIRE(nexus_text_equal(text, nexus_text_of(made)));
	}
	if (size >= 22)
	{
		int32_t		number;

		memcpy(&number, data, sizeof(number));
		memcpy(operation_id.bytes, data + 4, sizeof(operation_id.bytes));
		check_made(data[20] % 2 == 0 ? number % 1000001 : number, &incarnation, operation_id, data[21]);
	}
	return 0;
}
