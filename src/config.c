/*
 * config.c
 *	  The settings of nexus_pg, in alphabetical order.
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "config.h"
#include "protocol/url.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#define MS_PER_SECOND 1000
#define MS_PER_MINUTE (60 * MS_PER_SECOND)
#define SECONDS_PER_DAY (24 * 60 * 60)

/*
 * "/nexus/callback/", two UUIDs and a slash are 89 bytes; one more for a base
 * that ends without the slash it needs.
 */
#define CALLBACK_PATH_MAX 90

/* Half of what one PostgreSQL value can hold, so that jsonb of it still fits. */
#define PAYLOAD_SIZE_LIMIT (512 * 1024 * 1024)

bool		nexus_allow_link_local = false;
int			nexus_await_timeout = 5 * MS_PER_MINUTE;
char	   *nexus_callback_url = NULL;
char	   *nexus_cluster_identity = NULL;
bool		nexus_enabled = true;
char	   *nexus_listen_addresses = NULL;
int			nexus_max_connections = 512;
int			nexus_max_header_size = 8192;
int			nexus_max_in_flight = 256;
int			nexus_max_name_length = 1000;
int			nexus_max_payload_size = 2 * 1024 * 1024;
int			nexus_max_bytes_in_flight = 32 * 1024 * 1024;
int			nexus_max_token_length = 4096;
int			nexus_port = 7244;
int			nexus_request_deadline = 30 * MS_PER_SECOND;
int			nexus_retention = 7 * SECONDS_PER_DAY;
int			nexus_synchronous_commit = SYNCHRONOUS_COMMIT_ON;

static const struct config_enum_entry synchronous_commit_values[] = {
	{"on", SYNCHRONOUS_COMMIT_ON, false},
	{"local", SYNCHRONOUS_COMMIT_LOCAL_FLUSH, false},
	{NULL, 0, false}
};

bool
nexus_config_check_callback_url(const char *url, NexusError *error)
{
	if (!nexus_url_check_base(nexus_text_of(url), error))
		return false;
	if (strchr(url, '?') != NULL)
		return nexus_error_set(error, "URL of callbacks must not have parameters");
	if (strlen(url) + CALLBACK_PATH_MAX > NEXUS_CALLBACK_URL_MAX)
		return nexus_error_set(error, "URL of callbacks must not be longer than %d bytes",
							   NEXUS_CALLBACK_URL_MAX - CALLBACK_PATH_MAX);
	return true;
}

static bool
check_callback_url(char **value, void **extra, GucSource source)
{
	NexusError	error = {0};

	if (*value == NULL || **value == '\0')
		return true;
	if (nexus_config_check_callback_url(*value, &error))
		return true;
	GUC_check_errdetail("%s.", error.message);
	return false;
}

static bool
check_listen_addresses(char **value, void **extra, GucSource source)
{
	char	   *copy;
	List	   *addresses = NIL;
	bool		is_list;

	if (*value == NULL)
		return true;
	copy = pstrdup(*value);
	is_list = SplitGUCList(copy, ',', &addresses);
	if (!is_list)
		GUC_check_errdetail("List syntax is invalid.");
	list_free(addresses);
	pfree(copy);
	return is_list;
}

/* Settings a to c, in three functions since each definition takes so many lines. */
static void
define_allow_to_listen_addresses(void)
{
	/* Cloud metadata services live there and hand out credentials. */
	DefineCustomBoolVariable("nexus_pg.allow_link_local",
							 "Allows requests to link-local addresses.",
							 NULL,
							 &nexus_allow_link_local,
							 false,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);

	/* The one setting of users: how long they wait concerns only them. */
	DefineCustomIntVariable("nexus_pg.await_timeout",
							"Sets how long await and execute wait where the call does not say.",
							"Zero waits without limit.",
							&nexus_await_timeout,
							nexus_await_timeout, 0, INT_MAX,
							PGC_USERSET, GUC_UNIT_MS,
							NULL, NULL, NULL);

	/* What handlers see differs from what we listen on behind a proxy. */
	DefineCustomStringVariable("nexus_pg.callback_url",
							   "Sets the public base URL of the listener.",
							   "Empty makes it from nexus_pg.listen_addresses and the port.",
							   &nexus_callback_url,
							   "",
							   PGC_SIGHUP, 0,
							   check_callback_url, NULL, NULL);

	/* Lets a planned move to a new cluster go on sending. */
	DefineCustomStringVariable("nexus_pg.cluster_identity",
							   "Sets the name of this cluster by which a copy of it is recognized.",
							   "Empty takes the system identifier.",
							   &nexus_cluster_identity,
							   "",
							   PGC_SIGHUP, 0,
							   NULL, NULL, NULL);

	/* The switch for a clone that must stay silent. */
	DefineCustomBoolVariable("nexus_pg.enabled",
							 "Sends operations; off stops all sending of the cluster.",
							 NULL,
							 &nexus_enabled,
							 true,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);

	/* Loopback, so that installing opens nothing to the network. */
	DefineCustomStringVariable("nexus_pg.listen_addresses",
							   "Sets the addresses on which completions are received.",
							   "Empty starts no listener.",
							   &nexus_listen_addresses,
							   "127.0.0.1",
							   PGC_SIGHUP, GUC_LIST_INPUT,
							   check_listen_addresses, NULL, NULL);
}

static void
define_maxima(void)
{
	/* One connection is one descriptor of the listener program. */
	DefineCustomIntVariable("nexus_pg.max_connections",
							"Sets the most connections the listener keeps open.",
							NULL,
							&nexus_max_connections,
							nexus_max_connections, 1, 65535,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);

	/* Names and values together. */
	DefineCustomIntVariable("nexus_pg.max_header_size",
							"Sets the most bytes of headers a caller may give an operation.",
							NULL,
							&nexus_max_header_size,
							nexus_max_header_size, 0, 1024 * 1024,
							PGC_SIGHUP, GUC_UNIT_BYTE,
							NULL, NULL, NULL);

	/* One that is larger than all of it goes alone. */
	DefineCustomIntVariable("nexus_pg.max_bytes_in_flight",
							"Sets the most bytes of large inputs that one database has in memory to send them.",
							NULL,
							&nexus_max_bytes_in_flight,
							nexus_max_bytes_in_flight, 64 * 1024, PAYLOAD_SIZE_LIMIT,
							PGC_SIGHUP, GUC_UNIT_BYTE,
							NULL, NULL, NULL);

	/* Bounds the descriptors and connections of one worker. */
	DefineCustomIntVariable("nexus_pg.max_in_flight",
							"Sets the most requests of one database that are under way at a time.",
							NULL,
							&nexus_max_in_flight,
							nexus_max_in_flight, 1, 10000,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);

	/* Services, operations and keys; the limit of Temporal. */
	DefineCustomIntVariable("nexus_pg.max_name_length",
							"Sets the most bytes of the name of a service or an operation.",
							NULL,
							&nexus_max_name_length,
							nexus_max_name_length, 1, 10000,
							PGC_SIGHUP, GUC_UNIT_BYTE,
							NULL, NULL, NULL);

	/* Inputs and results alike. */
	DefineCustomIntVariable("nexus_pg.max_payload_size",
							"Sets the most bytes of an input or a result.",
							NULL,
							&nexus_max_payload_size,
							nexus_max_payload_size, 1, PAYLOAD_SIZE_LIMIT,
							PGC_SIGHUP, GUC_UNIT_BYTE,
							NULL, NULL, NULL);

	/* Handlers put what they need to cancel into it. */
	DefineCustomIntVariable("nexus_pg.max_token_length",
							"Sets the most bytes of an operation token that a handler may return.",
							NULL,
							&nexus_max_token_length,
							nexus_max_token_length, 1, 65536,
							PGC_SIGHUP, GUC_UNIT_BYTE,
							NULL, NULL, NULL);
}

static void
define_port_to_synchronous_commit(void)
{
	/* With 0 nexus.workers shows which one it became. */
	DefineCustomIntVariable("nexus_pg.port",
							"Sets the TCP port of the listener.",
							"Zero takes any free one.",
							&nexus_port,
							nexus_port, 0, 65535,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);

	/* Of a whole request: one that trickles in would hold a connection. */
	DefineCustomIntVariable("nexus_pg.request_deadline",
							"Sets how long one request to the listener may take.",
							NULL,
							&nexus_request_deadline,
							nexus_request_deadline, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);

	/* Also how long a duplicate of a completion is told from an unknown one. */
	DefineCustomIntVariable("nexus_pg.retention",
							"Sets how long closed operations are kept.",
							"Zero keeps them for ever.",
							&nexus_retention,
							nexus_retention, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);

	/* Nothing weaker: an outcome is acknowledged only once it is durable. */
	DefineCustomEnumVariable("nexus_pg.synchronous_commit",
							 "Sets what the worker's commits wait for.",
							 NULL,
							 &nexus_synchronous_commit,
							 nexus_synchronous_commit, synchronous_commit_values,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
}

void
nexus_config_define(void)
{
	define_allow_to_listen_addresses();
	define_maxima();
	define_port_to_synchronous_commit();
	MarkGUCPrefixReserved("nexus_pg");
}
