/*
 * duration.h
 *	  Nexus timeout values: "1500ms", "1.3s", "10m" (nexus-rpc SPEC, Request-Timeout).
 */
#ifndef NEXUS_PROTOCOL_DURATION_H
#define NEXUS_PROTOCOL_DURATION_H

#include "protocol/text.h"

/*
 * Digits, an optional fraction and one of the units ms, s, m; nothing else.
 * The result is truncated to whole milliseconds.  False where the text is not
 * of that form or the value does not fit.
 */
extern bool nexus_duration_parse(NexusText text, int64_t *ms);

#define NEXUS_DURATION_MAX_LEN 24	/* a formatted value and its NUL */

/* Always whole milliseconds, "1500ms"; negative values are written as 0. */
extern void nexus_duration_format(int64_t ms, char *out);

#endif							/* NEXUS_PROTOCOL_DURATION_H */
