/*
 * caller.h
 *	  An endpoint as one owner of operations calls it: address, credentials and
 *	  the headers that all of its requests share.
 */
#ifndef NEXUS_WORKER_CALLER_H
#define NEXUS_WORKER_CALLER_H

#include "net/http_client.h"
#include "store/endpoint.h"

typedef struct NexusCaller
{
	struct NexusCaller *next;
	MemoryContext context;		/* of this and all that reading it allocated */
	Oid			owner;
	bool		owner_exists;
	bool		has_usage;
	char	   *reason;			/* why the credentials cannot be used; NULL =
								 * they can */
	TimestampTz read_time;
	NexusCredentials credentials;
	NexusHeaders headers;		/* shared by all requests */
	NexusHttpTls tls;
	bool		has_tls;
} NexusCaller;

/*
 * Read what an owner needs to call an endpoint; in a transaction.  Allocated in
 * a child of "context" (and with malloc): free it with nexus_caller_free.
 */
extern NexusCaller *nexus_caller_read(const NexusEndpoint *endpoint, Oid owner, MemoryContext context);
extern void nexus_caller_free(NexusCaller *caller);

/* Whether secrets in files should be looked at again. */
extern bool nexus_caller_is_old(const NexusCaller *caller, TimestampTz now);

#endif							/* NEXUS_WORKER_CALLER_H */
