/*
 * test_uuid.c
 *	  Text form and version 7.
 */
#include "protocol/uuid.h"
#include "tap.h"

static const char *const invalid[] = {
	"",
	"0189d7f4-5d3a-7abc-8def-0123456789a",
	"0189d7f4-5d3a-7abc-8def-0123456789abc",
	"0189d7f45d3a7abc8def0123456789abcdef",
	"0189d7f4-5d3a-7abc-8def-0123456789ag",
	"{189d7f4-5d3a-7abc-8def-0123456789a}",
	"0189d7f4_5d3a_7abc_8def_0123456789ab"
};

int
main(void)
{
	static const uint8_t ones[10] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
	static const uint8_t zeros[10] = {0};
	char		text[NEXUS_UUID_TEXT_LEN + 1];
	NexusUuid	uuid;

	ok(nexus_uuid_parse(nexus_text_of("0189D7F4-5d3a-7ABC-8def-0123456789ab"), &uuid), "either case");
	nexus_uuid_format(&uuid, text);
	is_text(nexus_text_of(text), "0189d7f4-5d3a-7abc-8def-0123456789ab", "there and back");
	for (size_t i = 0; i < LENGTH_OF(invalid); i++)
		ok(!nexus_uuid_parse(nexus_text_of(invalid[i]), &uuid), invalid[i]);

	nexus_uuid_make_v7(&uuid, INT64_C(1645557742000) * 1000000 + 500000, ones);
	nexus_uuid_format(&uuid, text);
	is_text(nexus_text_of(text), "017f22e2-79b0-7800-bfff-ffffffffffff", "half a millisecond is half of 12 bits");
	is_int(nexus_uuid_v7_unix_ms(&uuid), INT64_C(1645557742000), "milliseconds come back");
	nexus_uuid_make_v7(&uuid, INT64_C(1645557742000) * 1000000 + 999999, zeros);
	nexus_uuid_format(&uuid, text);
	is_text(nexus_text_of(text), "017f22e2-79b0-7fff-8000-000000000000", "the last step of a millisecond");
	nexus_uuid_parse(nexus_text_of("919108f7-52d1-4320-9bac-f847db4148a8"), &uuid);
	is_int(nexus_uuid_v7_unix_ms(&uuid), -1, "version 4 carries no time");
	nexus_uuid_parse(nexus_text_of("017f22e2-79b0-7fff-c000-000000000000"), &uuid);
	is_int(nexus_uuid_v7_unix_ms(&uuid), -1, "another variant carries no time");
	return done();
}
