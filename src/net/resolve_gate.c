/*
 * resolve_gate.c
 *	  Lets one request to a host go first while its name is not known.
 *
 * A host that nobody resolves, and whose name has not been resolved of late,
 * is nothing worth remembering: such ones are dropped whenever one is added.
 */
#include "postgres.h"

#include <arpa/inet.h>

#include "net/resolve_gate.h"

struct NexusResolveHost
{
	dlist_node	node;
	bool		is_resolving;
	int64_t		known_until_us;
	size_t		len;
	char		authority[FLEXIBLE_ARRAY_MEMBER];
};

void
nexus_resolve_gate_init(NexusResolveGate *gate)
{
	dlist_init(&gate->hosts);
}

void
nexus_resolve_gate_free(NexusResolveGate *gate)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &gate->hosts)
		free(dlist_container(NexusResolveHost, node, iter.cur));
	dlist_init(&gate->hosts);
}

NexusText
nexus_resolve_gate_authority(NexusText url)
{
	NexusText	rest;
	size_t		start = 0;
	size_t		end;

	(void) nexus_text_cut(url, ':', &rest);
	if (rest.data == NULL || rest.len < 2)
		return nexus_text_make("", 0);
	rest.data += 2;
	rest.len -= 2;
	for (end = 0; end < rest.len && strchr("/?#", rest.data[end]) == NULL; end++)
	{
		if (rest.data[end] == '@')
			start = end + 1;
	}
	return nexus_text_make(rest.data + start, end - start);
}

static bool
is_address(NexusText authority)
{
	char		host[INET_ADDRSTRLEN];
	NexusText	rest;
	NexusText	name = nexus_text_cut(authority, ':', &rest);
	struct in_addr address;

	if (authority.len > 0 && authority.data[0] == '[')
		return true;
	if (name.len >= sizeof(host))
		return false;
	memcpy(host, name.data, name.len);
	host[name.len] = '\0';
	return inet_pton(AF_INET, host, &address) == 1;
}

static NexusResolveHost *
add_host(NexusResolveGate *gate, NexusText authority, int64_t now_us)
{
	dlist_mutable_iter iter;
	NexusResolveHost *host;

	dlist_foreach_modify(iter, &gate->hosts)
	{
		host = dlist_container(NexusResolveHost, node, iter.cur);
		if (!host->is_resolving && host->known_until_us <= now_us)
		{
			dlist_delete(&host->node);
			free(host);
		}
	}

	host = malloc(offsetof(NexusResolveHost, authority) + authority.len);
	if (host == NULL)
		return NULL;
	host->is_resolving = false;
	host->known_until_us = 0;
	host->len = authority.len;
	memcpy(host->authority, authority.data, authority.len);
	dlist_push_head(&gate->hosts, &host->node);
	return host;
}

NexusResolveHost *
nexus_resolve_gate_find(NexusResolveGate *gate, NexusText url, int64_t now_us)
{
	NexusText	authority = nexus_resolve_gate_authority(url);
	dlist_iter	iter;

	if (is_address(authority))
		return NULL;
	dlist_foreach(iter, &gate->hosts)
	{
		NexusResolveHost *host = dlist_container(NexusResolveHost, node, iter.cur);

		if (!nexus_text_equal(authority, nexus_text_make(host->authority, host->len)))
			continue;
		dlist_move_head(&gate->hosts, &host->node);
		return host->known_until_us > now_us ? NULL : host;
	}
	return add_host(gate, authority, now_us);
}

bool
nexus_resolve_gate_lead(NexusResolveHost *host)
{
	if (host->is_resolving)
		return false;
	host->is_resolving = true;
	return true;
}

void
nexus_resolve_gate_settle(NexusResolveHost *host, bool is_resolved, int64_t now_us)
{
	host->is_resolving = false;
	if (is_resolved)
		host->known_until_us = now_us + NEXUS_RESOLVED_SECONDS * INT64CONST(1000000);
}
