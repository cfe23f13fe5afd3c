/*
 * timestamp.h
 *	  The two time formats of completion requests.
 *
 * Times are microseconds since 1970-01-01 UTC.
 */
#ifndef NEXUS_PROTOCOL_TIMESTAMP_H
#define NEXUS_PROTOCOL_TIMESTAMP_H

#include "protocol/text.h"

/* Nexus-Operation-Start-Time: RFC 1123 in GMT, RFC 850 or asctime. */
extern bool nexus_timestamp_parse_http(NexusText text, int64_t *unix_us);

/*
 * Nexus-Operation-Close-Time: RFC 3339, an offset or Z, at most 9 fraction
 * digits (truncated to microseconds), years 1 to 9999.
 */
extern bool nexus_timestamp_parse_rfc3339(NexusText text, int64_t *unix_us);

#define NEXUS_TIMESTAMP_MAX_LEN 40	/* a formatted time and its NUL */

/*
 * UTC with Z; the fraction has 0, 3, 6 or 9 digits, as many as are needed.
 * Times beyond the years 1 to 9999 become the nearest that has a text.
 */
extern void nexus_timestamp_format_rfc3339(int64_t unix_seconds, int32_t nanoseconds, char *out);

#endif							/* NEXUS_PROTOCOL_TIMESTAMP_H */
