/*
 * http_call.h
 *	  One request with its easy handle; private to http_client.c.
 *
 * Handles are reused: what is the same for all requests is set once.
 */
#ifndef NEXUS_NET_HTTP_CALL_H
#define NEXUS_NET_HTTP_CALL_H

#include <curl/curl.h>
#include <netinet/in.h>

#include "lib/ilist.h"
#include "net/http_client.h"
#include "net/http_response.h"
#include "net/resolve_gate.h"

#define NEXUS_HTTP_ERROR_MAX 512

/* Go on while all is well; "ok" stays false once it is. */
#define NEXUS_SET_OPTION(ok, easy, option, value) \
	((ok) = (ok) && curl_easy_setopt(easy, option, value) == CURLE_OK)

typedef enum NexusCallState
{
	NEXUS_CALL_FREE,			/* in the pool */
	NEXUS_CALL_PENDING,			/* to be handed to libcurl */
	NEXUS_CALL_WAITING,			/* for another that resolves the same name */
	NEXUS_CALL_RUNNING,			/* with libcurl */
	NEXUS_CALL_DONE,			/* on_done is due */
	NEXUS_CALL_DELIVERING		/* in on_done */
} NexusCallState;

struct NexusHttpCall
{
	dlist_node	node;			/* in the client's list for its state */
	NexusCallState state;
	NexusHttpClient *client;
	CURL	   *easy;
	NexusHttpDone on_done;
	void	   *arg;
	int64		started_us;		/* monotonic, as are the others */
	int64		deadline_us;
	int64		elapsed_us;
	NexusResolveHost *host;		/* waited for or, while running, led */

	/* The request.  Strings live in "block", the header list in "nodes". */
	char	   *block;
	size_t		block_size;
	struct curl_slist *nodes;
	size_t		node_capacity;
	char	   *url;
	char	   *username;
	char	   *password;
	NexusHttpTls tls;
	char	   *tls_identity;	/* key file and password, NULL without a key */
	NexusText	body;
	bool		allow_link_local;
	bool		has_own_options;	/* libcurl's defaults are overwritten */

	/* What became of it. */
	CURLcode	code;
	bool		is_refused;
	bool		has_socket;
	bool		is_connected;
	char		refused_address[INET6_ADDRSTRLEN];
	char		curl_error[CURL_ERROR_SIZE];
	NexusHttpResponse response;
};

/* From malloc; NULL where there is no memory. */
extern NexusHttpCall *nexus_http_call_create(NexusHttpClient *client);
extern void nexus_http_call_free(NexusHttpCall *call);

/* Take in a request, and forget the last one's outcome. No libcurl in here. */
extern bool nexus_http_call_copy(NexusHttpCall *call, const NexusHttpRequest *request);

/* Give a handle that is new, or was reset, the options all requests share. */
extern bool nexus_http_call_set_constant(NexusHttpCall *call);

/* Give it the options of this request. */
extern bool nexus_http_call_set_own(NexusHttpCall *call, int64 timeout_us);

/* "error" has NEXUS_HTTP_ERROR_MAX bytes; the result points into it and the call. */
extern void nexus_http_call_result(NexusHttpCall *call, NexusHttpResult *result, char *error);

#endif							/* NEXUS_NET_HTTP_CALL_H */
