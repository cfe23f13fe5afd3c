/*
 * credentials.h
 *	  Credentials: what the user mappings of endpoints say now.
 *
 * Read through the system caches, so a transaction must be open.  Nothing here
 * puts a secret into a message.
 */
#ifndef NEXUS_STORE_CREDENTIALS_H
#define NEXUS_STORE_CREDENTIALS_H

#include "protocol/error.h"
#include "protocol/headers.h"

/* What a role's requests carry; freed by nexus_endpoint_free_credentials. */
typedef struct NexusCredentials
{
	char	   *bearer_token;
	char	   *username;
	char	   *password;
	char	   *ssl_cert_file;
	char	   *ssl_key_file;
	char	   *ssl_key_password;
	NexusHeaders headers;		/* malloc'd */
} NexusCredentials;

/*
 * What the role's own user mapping says or, where it has none, PUBLIC's;
 * without either everything is empty and the result true.  A token file is
 * read again when it changed.  Trouble with the file or the headers is no
 * error: false, *reason is a palloc'd sentence without any secret, and *out
 * is empty.
 */
extern bool nexus_endpoint_read_credentials(Oid server, Oid role, NexusCredentials *out, char **reason);
extern void nexus_endpoint_free_credentials(NexusCredentials *credentials);

/* Append the members of a JSON object of strings, checked, to headers. */
extern bool nexus_endpoint_parse_headers(const char *json, NexusHeaders *headers, NexusError *error);

/* Whether a text can be a bearer token: visible ASCII, not empty. */
extern bool nexus_endpoint_is_token(const char *text);

#endif							/* NEXUS_STORE_CREDENTIALS_H */
