/*
 * resolve_gate.h
 *	  Lets one request to a host go first while its name is not known.
 *
 * libcurl resolves each name in a thread of its own.  A name server that does
 * not answer would hold as many threads as there are requests; with the gate
 * it holds one for each host and port.
 */
#ifndef NEXUS_NET_RESOLVE_GATE_H
#define NEXUS_NET_RESOLVE_GATE_H

#include "lib/ilist.h"
#include "protocol/text.h"

/* For this long a name that was resolved counts as known. */
#define NEXUS_RESOLVED_SECONDS 60

typedef struct NexusResolveHost NexusResolveHost;

typedef struct NexusResolveGate
{
	dlist_head	hosts;			/* the last used comes first */
} NexusResolveGate;

extern void nexus_resolve_gate_init(NexusResolveGate *gate);
extern void nexus_resolve_gate_free(NexusResolveGate *gate);

/*
 * The host of a URL.  NULL where nothing is to be resolved: an address, a name
 * that is known, or no memory to think about it.
 */
extern NexusResolveHost *nexus_resolve_gate_find(NexusResolveGate *gate, NexusText url,
												 int64_t now_us);

/* Go first; false where somebody does already and has not settled it. */
extern bool nexus_resolve_gate_lead(NexusResolveHost *host);

/* What came of it; never raises. */
extern void nexus_resolve_gate_settle(NexusResolveHost *host, bool is_resolved, int64_t now_us);

/* Host and port of an http URL as they stand there, without user and password. */
extern NexusText nexus_resolve_gate_authority(NexusText url);

#endif							/* NEXUS_NET_RESOLVE_GATE_H */
