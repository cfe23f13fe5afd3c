/*
 * link.h
 *	  The Nexus-Link header: <URL>; type="TYPE".
 */
#ifndef NEXUS_PROTOCOL_LINK_H
#define NEXUS_PROTOCOL_LINK_H

#include "protocol/headers.h"

#define NEXUS_LINK_HEADER "Nexus-Link"

typedef struct NexusLink
{
	NexusText	url;
	NexusText	type;
} NexusLink;

/*
 * Take the next link off "*rest", which holds a header value with one or more
 * links separated by commas.  Views point into the value.  Returns 1 for a
 * link, 0 at the end, -1 for a value that breaks the syntax.
 */
extern int	nexus_link_parse_next(NexusText *rest, NexusLink *link, NexusError *error);

/* Append one link; false where URL or type are not allowed in the header. */
extern bool nexus_link_format(NexusBuffer *out, NexusLink link, NexusError *error);

/*
 * Append all links of the headers as a JSON array [{"url":..,"type":..}], of
 * whatever type they are; nothing is appended where there are none.  Skipped is
 * a link that nexus_link_format() would refuse though it keeps to the syntax.
 * False for a header that breaks the syntax.
 */
extern bool nexus_link_headers_to_json(const NexusHeaders *headers, NexusBuffer *out, NexusError *error);

#endif							/* NEXUS_PROTOCOL_LINK_H */
