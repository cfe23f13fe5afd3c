/*
 * endpoint.h
 *	  Endpoints: the foreign servers of the wrapper "nexus", as the
 *	  catalogs have them now.
 *
 * Everything is read through the system caches, so a transaction must be open.
 * Options were checked by nexus.validate_options() when they were set.
 */
#ifndef NEXUS_STORE_ENDPOINT_H
#define NEXUS_STORE_ENDPOINT_H

#include "nodes/pg_list.h"
#include "protocol/breaker.h"
#include "protocol/buffer.h"
#include "protocol/retry.h"
#include "store/credentials.h"

#define NEXUS_WRAPPER_NAME "nexus"

#define NEXUS_ERRCODE_ENDPOINT_UNUSABLE MAKE_SQLSTATE('N', 'X', '0', '0', '7')

#define NEXUS_DEFAULT_REQUEST_TIMEOUT_MS 10000
#define NEXUS_DEFAULT_ENDPOINT_MAX_IN_FLIGHT 100
#define NEXUS_DEFAULT_RETRY_INITIAL_INTERVAL_MS 1000
#define NEXUS_DEFAULT_RETRY_MAX_INTERVAL_MS 3600000
#define NEXUS_DEFAULT_RETRY_BACKOFF_COEFFICIENT 2.0
#define NEXUS_DEFAULT_BREAKER_FAILURES 5
#define NEXUS_DEFAULT_BREAKER_OPEN_INTERVAL_MS 60000

/* Strings are palloc'd; those of options that are not set are NULL. */
typedef struct NexusEndpoint
{
	Oid			server;
	char		name[NAMEDATALEN];
	Oid			owner;
	char	   *url;
	char	   *callback_url;
	int64		request_timeout_ms;
	int32		max_in_flight;
	double		max_requests_per_second;	/* 0 = no limit */
	NexusRetryPolicy retry;
	NexusBreakerPolicy breaker;
	int64		max_schedule_to_close_us;	/* 0 = no limit */
	int64		retention_us;	/* of closed operations; 0 = for ever, -1 = as
								 * the setting says */
	bool		enabled;
	char	   *ssl_ca_file;
	char	   *ssl_cert_file;
	char	   *ssl_key_file;
	char	   *ssl_min_protocol_version;
} NexusEndpoint;

/*
 * The endpoint of a name, in CurrentMemoryContext.  Where there is none (or
 * the server is of another wrapper): NULL if missing_ok, else NX007.
 */
extern NexusEndpoint *nexus_endpoint_get(const char *name, bool missing_ok);
extern void nexus_endpoint_free(NexusEndpoint *endpoint);

/* Names (char *) of all endpoints of this database, in no order. */
extern List *nexus_endpoint_names(void);

/* Whether a role may use a server; false too where either is gone. */
extern bool nexus_endpoint_has_usage(Oid server, Oid role);

/* Raise the standard permission error unless a role may use an endpoint. */
extern void nexus_endpoint_check_usage(const NexusEndpoint *endpoint, Oid role);

/*
 * Append the public base of our listener as this endpoint's handler sees it:
 * the server option, else nexus_pg.callback_url, else the first of
 * nexus_pg.listen_addresses with listener_port.  False where nothing says it
 * (no listener, or a port that is not known yet: 0).
 */
extern bool nexus_endpoint_callback_base(const NexusEndpoint *endpoint, int listener_port, NexusBuffer *out);

/* Milliseconds of an interval ('10s', '1 day'; a month is 30 days). */
extern bool nexus_endpoint_parse_interval(const char *text, int64 *ms);

/*
 * Whether an endpoint that a role owns or (catalog UserMappingRelationId) a
 * user mapping of such an endpoint has an option with just this value.
 */
extern bool nexus_endpoint_owner_has_option(Oid catalog, Oid role, const char *name, const char *value);

#endif							/* NEXUS_STORE_ENDPOINT_H */
