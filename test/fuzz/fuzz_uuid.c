/*
 * fuzz_uuid.c
 *	  UUIDs as text, and version 7.
 */
#include "fuzz.h"

#include "protocol/uuid.h"

static void
check_text(const NexusUuid *uuid, NexusText source)
{
	char		text[NEXUS_UUID_TEXT_LEN + 1];
	NexusUuid	again;

	nexus_uuid_format(uuid, text);
	REQUIRE(strlen(text) == NEXUS_UUID_TEXT_LEN);
	REQUIRE(strspn(text, "0123456789abcdef-") == NEXUS_UUID_TEXT_LEN);
	REQUIRE(nexus_uuid_parse(nexus_text_of(text), &again));
	REQUIRE(memcmp(&again, uuid, sizeof(again)) == 0);
	if (source.len > 0)
		REQUIRE(nexus_text_equal_fold(nexus_text_of(text), source));
}

/* The time comes out as it went in, and versions 7 sort by it. */
static void
check_v7(const uint8_t *data)
{
	uint64_t	number;
	int64_t		unix_ns;
	NexusUuid	uuid;
	NexusUuid	later;

	memcpy(&number, data, sizeof(number));
	unix_ns = (int64_t) (number >> 1);
	nexus_uuid_make_v7(&uuid, unix_ns, data + 6);
	REQUIRE(nexus_uuid_v7_unix_ms(&uuid) == unix_ns / 1000000);
	check_text(&uuid, nexus_text_make("", 0));
	if (unix_ns <= INT64_MAX - 1000000)
	{
		nexus_uuid_make_v7(&later, unix_ns + 1000000, data + 6);
		REQUIRE(memcmp(&uuid, &later, sizeof(uuid)) < 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	NexusText	text = input_text(data, size);
	NexusUuid	uuid;
	NexusUuid	untouched;

	memset(&uuid, 0x5a, sizeof(uuid));
	untouched = uuid;
	if (nexus_uuid_parse(text, &uuid))
		check_text(&uuid, text);
	else
		REQUIRE(memcmp(&uuid, &untouched, sizeof(uuid)) == 0);
	if (size >= sizeof(uuid))
	{
		memcpy(&uuid, data, sizeof(uuid));
		check_text(&uuid, nexus_text_make("", 0));
		REQUIRE(nexus_uuid_v7_unix_ms(&uuid) >= -1);
		check_v7(data);
	}
	return 0;
}
