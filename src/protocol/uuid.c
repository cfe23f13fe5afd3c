/*
 * uuid.c
 *	  Text form of UUIDs, and version 7.
 */
#include "protocol/uuid.h"

#define NS_PER_MS 1000000
#define SUB_MS_STEPS 4096		/* 12 bits of a millisecond */

/* Whether a hyphen stands before byte "i" of the text form. */
static bool
is_group_start(int i)
{
	return i == 4 || i == 6 || i == 8 || i == 10;
}

void
nexus_uuid_format(const NexusUuid *uuid, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < 16; i++)
	{
		if (is_group_start(i))
			*out++ = '-';
		*out++ = digits[uuid->bytes[i] >> 4];
		*out++ = digits[uuid->bytes[i] & 0x0f];
	}
	*out = '\0';
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
nexus_uuid_parse(NexusText text, NexusUuid *uuid)
{
	const char *p = text.data;
	NexusUuid	result;

	if (text.len != NEXUS_UUID_TEXT_LEN)
		return false;
	for (int i = 0; i < 16; i++)
	{
		int			high;
		int			low;

		if (is_group_start(i) && *p++ != '-')
			return false;
		high = hex_value(*p++);
		low = hex_value(*p++);
		if (high < 0 || low < 0)
			return false;
		result.bytes[i] = (uint8_t) (high << 4 | low);
	}
	*uuid = result;
	return true;
}

void
nexus_uuid_make_v7(NexusUuid *uuid, int64_t unix_ns, const uint8_t random[10])
{
	int64_t		ms = unix_ns / NS_PER_MS;
	int64_t		step = (unix_ns % NS_PER_MS) * SUB_MS_STEPS / NS_PER_MS;

	for (int i = 0; i < 6; i++)
		uuid->bytes[i] = (uint8_t) (ms >> (40 - 8 * i));
	uuid->bytes[6] = (uint8_t) (0x70 | (step >> 8));
	uuid->bytes[7] = (uint8_t) step;
	memcpy(uuid->bytes + 8, random + 2, 8);
	uuid->bytes[8] = (uint8_t) (0x80 | (uuid->bytes[8] & 0x3f));
}

int64_t
nexus_uuid_v7_unix_ms(const NexusUuid *uuid)
{
	int64_t		ms = 0;

	if (uuid->bytes[6] >> 4 != 7 || uuid->bytes[8] >> 6 != 2)
		return -1;
	for (int i = 0; i < 6; i++)
		ms = ms << 8 | uuid->bytes[i];
	return ms;
}
