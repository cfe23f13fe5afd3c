/*
 * config.h
 *	  The settings of nexus_pg, all of them, under their SQL names.
 *
 * Everything but await_timeout comes from the configuration file by reload: a
 * user must not be able to raise a limit.
 */
#ifndef NEXUS_CONFIG_H
#define NEXUS_CONFIG_H

#include "protocol/error.h"

extern bool nexus_allow_link_local;
extern int	nexus_await_timeout;	/* ms; 0 = none */
extern char *nexus_callback_url;	/* empty = from address and port */
extern char *nexus_cluster_identity;	/* empty = the system identifier */
extern bool nexus_enabled;
extern char *nexus_listen_addresses;	/* empty = no listener */
extern int	nexus_max_connections;
extern int	nexus_max_header_size;	/* bytes */
extern int	nexus_max_in_flight;
extern int	nexus_max_name_length;	/* bytes */
extern int	nexus_max_payload_size; /* bytes */
extern int	nexus_max_bytes_in_flight;	/* bytes */
extern int	nexus_max_token_length; /* bytes */
extern int	nexus_port;			/* 0 = any free one */
extern int	nexus_request_deadline; /* ms */
extern int	nexus_retention;	/* seconds; 0 = for ever */
extern int	nexus_synchronous_commit;	/* a SyncCommitLevel */

/* Define the settings and reserve their prefix; called once, by _PG_init. */
extern void nexus_config_define(void);

/*
 * Whether a URL can be the public base of our listener: a base URL without
 * parameters, short enough for the whole callback URL.  Never raises.
 */
extern bool nexus_config_check_callback_url(const char *url, NexusError *error);

#endif							/* NEXUS_CONFIG_H */
