/*
 * uuid.h
 *	  UUIDs as 16 bytes: text form, and making and dating version 7.
 */
#ifndef NEXUS_PROTOCOL_UUID_H
#define NEXUS_PROTOCOL_UUID_H

#include "protocol/text.h"

#define NEXUS_UUID_TEXT_LEN 36	/* 8-4-4-4-12, without a NUL */

typedef struct NexusUuid
{
	uint8_t		bytes[16];
} NexusUuid;

/* Write the lower-case canonical form and a NUL into "out" (37 bytes). */
extern void nexus_uuid_format(const NexusUuid *uuid, char *out);

/* Only the canonical form, either case. */
extern bool nexus_uuid_parse(NexusText text, NexusUuid *uuid);

/*
 * A version 7 UUID of RFC 9562 with 12 bits of sub-millisecond time, as
 * PostgreSQL 18 makes them.  "unix_ns" is the time, "random" 10 random bytes,
 * of which the first two are not used.
 */
extern void nexus_uuid_make_v7(NexusUuid *uuid, int64_t unix_ns, const uint8_t random[10]);

/* Milliseconds since 1970 that a version 7 UUID carries; -1 for others. */
extern int64_t nexus_uuid_v7_unix_ms(const NexusUuid *uuid);

#endif							/* NEXUS_PROTOCOL_UUID_H */
