/*
 * http_client.h
 *	  Many HTTP requests at once on one curl multi handle.
 *
 * Nobody but this and its private parts http_call and http_callbacks sees
 * libcurl.  Every call into the library is made with all signals blocked, so
 * that its resolver threads cannot run PostgreSQL's signal handlers; none of
 * its callbacks raises.
 */
#ifndef NEXUS_NET_HTTP_CLIENT_H
#define NEXUS_NET_HTTP_CLIENT_H

#include "net/io_loop.h"
#include "protocol/headers.h"

typedef struct NexusHttpClient NexusHttpClient;
typedef struct NexusHttpCall NexusHttpCall;

/* TLS settings of an endpoint; NULL members are not set. */
typedef struct NexusHttpTls
{
	const char *ca_file;
	const char *cert_file;
	const char *key_file;
	const char *key_password;
	const char *min_protocol_version;	/* TLSv1.2 or TLSv1.3 */
} NexusHttpTls;

typedef struct NexusHttpRequest
{
	const char *url;
	const NexusHeaders *shared_headers; /* of the endpoint; may be NULL */
	const NexusHeaders *headers;	/* of this request; may be NULL */
	NexusText	body;			/* sent with a Content-Length, even if empty */
	int64		timeout_ms;		/* of the whole call, > 0 */
	size_t		max_response_body;	/* bytes; more is NEXUS_HTTP_TOO_LARGE */
	bool		allow_link_local;
	const char *username;		/* basic authentication; NULL for none */
	const char *password;
	const NexusHttpTls *tls;	/* may be NULL */
} NexusHttpRequest;

typedef enum NexusHttpOutcome
{
	NEXUS_HTTP_ANSWERED,		/* status, headers and body are complete */
	NEXUS_HTTP_TIMED_OUT,
	NEXUS_HTTP_TOO_LARGE,		/* body over the limit */
	NEXUS_HTTP_REFUSED,			/* by us: the address is link-local */
	NEXUS_HTTP_FAILED			/* connect, TLS, reset, broken answer */
} NexusHttpOutcome;

typedef struct NexusHttpResult
{
	NexusHttpOutcome outcome;
	int			status;			/* 0 where no final one came */
	const NexusHeaders *headers;	/* of the final response head, no trailers */
	NexusText	body;
	int64		elapsed_us;
	const char *error;			/* a sentence part for a person; "" if
								 * answered */
} NexusHttpResult;

/* What "result" points to is valid during the call only; must not raise. */
typedef void (*NexusHttpDone) (void *arg, const NexusHttpResult *result);

/* Lives in CurrentMemoryContext until destroyed; calls curl_global_init. */
extern NexusHttpClient *nexus_http_client_create(NexusIoLoop *loop);

/* Aborts what is in flight without calling anybody. */
extern void nexus_http_client_destroy(NexusHttpClient *client);

/*
 * Start a POST.  url, headers, credentials and tls are copied or used at once;
 * the bytes of "body" must stay until "on_done", which is called exactly once,
 * from nexus_http_client_run, never from here.  Returns NULL when there is no
 * memory.
 */
extern NexusHttpCall *nexus_http_client_start(NexusHttpClient *client, const NexusHttpRequest *request,
											  NexusHttpDone on_done, void *arg);

/* Forget a call: its connection is closed, on_done is not called. */
extern void nexus_http_client_abort(NexusHttpClient *client, NexusHttpCall *call);

/*
 * All work of the library, and on_done of what is complete.  To be called after
 * every nexus_io_loop_wait, which only notes what is ready, and best after
 * starting requests.  on_done may start and abort calls.
 */
extern void nexus_http_client_run(NexusHttpClient *client);

/*
 * When nexus_http_client_run is due even if no descriptor becomes ready; a time
 * in the past where it has work now, DT_NOEND for never.  The loop has one
 * deadline: the worker takes the earliest of this and its own, every turn.
 */
extern TimestampTz nexus_http_client_next_deadline(const NexusHttpClient *client);

extern int	nexus_http_client_in_flight(const NexusHttpClient *client);

#endif							/* NEXUS_NET_HTTP_CLIENT_H */
