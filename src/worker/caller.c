/*
 * caller.c
 *	  An endpoint as one owner of operations calls it.
 */
#include "postgres.h"

#include "worker/caller.h"

#include "catalog/pg_authid.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define SHARED_HEADERS_MAX (64 * 1024)	/* a mapping's headers and a token */
#define REREAD_INTERVAL_MS 1000 /* how stale a secret from a file may be */

static void
add_shared_headers(NexusCaller *caller)
{
	const NexusCredentials *credentials = &caller->credentials;
	NexusText	name;
	NexusText	value;

	nexus_headers_init(&caller->headers, SHARED_HEADERS_MAX);
	/* without it Temporal leaves the messages of failures out */
	nexus_headers_add_string(&caller->headers, "Temporal-Nexus-Failure-Support", "true");
	if (credentials->bearer_token != NULL)
	{
		char	   *bearer = psprintf("Bearer %s", credentials->bearer_token);

		nexus_headers_add_string(&caller->headers, "Authorization", bearer);
		explicit_bzero(bearer, strlen(bearer));
		pfree(bearer);
	}
	for (size_t i = 0; i < credentials->headers.count; i++)
	{
		nexus_headers_at(&credentials->headers, i, &name, &value);
		nexus_headers_add(&caller->headers, name, value);
	}
}

static void
set_tls(NexusCaller *caller, const NexusEndpoint *endpoint)
{
	const NexusCredentials *own = &caller->credentials;

	caller->tls.ca_file = endpoint->ssl_ca_file;
	caller->tls.cert_file = own->ssl_cert_file != NULL ? own->ssl_cert_file : endpoint->ssl_cert_file;
	caller->tls.key_file = own->ssl_key_file != NULL ? own->ssl_key_file : endpoint->ssl_key_file;
	caller->tls.key_password = own->ssl_key_password;
	caller->tls.min_protocol_version = endpoint->ssl_min_protocol_version;
	caller->has_tls = caller->tls.ca_file != NULL || caller->tls.cert_file != NULL
		|| caller->tls.key_file != NULL || caller->tls.min_protocol_version != NULL;
}

NexusCaller *
nexus_caller_read(const NexusEndpoint *endpoint, Oid owner, MemoryContext context)
{
	MemoryContext own = AllocSetContextCreate(context, "nexus caller", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	NexusCaller *caller = palloc0(sizeof(NexusCaller));

	caller->context = own;
	caller->owner = owner;
	caller->read_time = GetCurrentTimestamp();
	caller->owner_exists = SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(owner));
	caller->has_usage = caller->owner_exists && nexus_endpoint_has_usage(endpoint->server, owner);
	if (caller->has_usage)
		(void) nexus_endpoint_read_credentials(endpoint->server, owner, &caller->credentials, &caller->reason);
	add_shared_headers(caller);
	set_tls(caller, endpoint);
	MemoryContextSwitchTo(old);
	return caller;
}

void
nexus_caller_free(NexusCaller *caller)
{
	nexus_headers_free(&caller->headers);
	nexus_endpoint_free_credentials(&caller->credentials);
	MemoryContextDelete(caller->context);
}

bool
nexus_caller_is_old(const NexusCaller *caller, TimestampTz now)
{
	return TimestampDifferenceExceeds(caller->read_time, now, REREAD_INTERVAL_MS);
}
