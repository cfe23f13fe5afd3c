/*
 * endpoint.c
 *	  Read endpoints and credentials from the catalogs.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "compat.h"
#include "config.h"
#include "foreign/foreign.h"
#include "store/endpoint.h"
#include "store/options.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

/* Whole milliseconds up to here are exact in a double: 30,000 years. */
#define INTERVAL_MS_MAX 1e15

#define MS_PER_DAY 86400000.0
#define US_PER_MS 1000.0

static const NexusStringOption endpoint_strings[] = {
	{"url", offsetof(NexusEndpoint, url)},
	{"callback_url", offsetof(NexusEndpoint, callback_url)},
	{"sslrootcert", offsetof(NexusEndpoint, ssl_ca_file)},
	{"sslcert", offsetof(NexusEndpoint, ssl_cert_file)},
	{"sslkey", offsetof(NexusEndpoint, ssl_key_file)},
	{"ssl_min_protocol_version", offsetof(NexusEndpoint, ssl_min_protocol_version)},
	{NULL, 0}
};

bool
nexus_endpoint_parse_interval(const char *text, int64 *ms)
{
	char		work[256];
	char	   *fields[MAXDATEFIELDS];
	int			types[MAXDATEFIELDS];
	struct pg_itm_in interval;
	int			count;
	int			kind = DTK_DELTA;
	int			status;
	double		total;

	/* As interval_in does, which would raise. */
	memset(&interval, 0, sizeof(interval));
	status = ParseDateTime(text, work, sizeof(work), fields, types, MAXDATEFIELDS, &count);
	if (status == 0)
		status = DecodeInterval(fields, types, count, INTERVAL_FULL_RANGE, &kind, &interval);
	if (status == DTERR_BAD_FORMAT)
		status = DecodeISO8601Interval(unconstify(char *, text), &kind, &interval);
	if (status != 0 || kind != DTK_DELTA)
		return false;

	total = interval.tm_usec / US_PER_MS +
		((interval.tm_year * 12.0 + interval.tm_mon) * 30.0 + interval.tm_mday) * MS_PER_DAY;
	if (fabs(total) > INTERVAL_MS_MAX)
		return false;
	*ms = (int64) total;
	return true;
}

static double
read_number_option(DefElem *option)
{
	return DatumGetFloat8(DirectFunctionCall1(float8in, CStringGetDatum(defGetString(option))));
}

static int64
read_interval_option(DefElem *option)
{
	int64		ms = 0;

	if (!nexus_endpoint_parse_interval(defGetString(option), &ms))
		elog(ERROR, "option \"%s\" is no interval", option->defname);
	return ms;
}

static void
read_endpoint_option(NexusEndpoint *endpoint, DefElem *option)
{
	const char *name = option->defname;

	if (nexus_options_take_string(endpoint_strings, endpoint, option))
		return;
	if (strcmp(name, "request_timeout") == 0)
		endpoint->request_timeout_ms = read_interval_option(option);
	else if (strcmp(name, "max_in_flight") == 0)
		endpoint->max_in_flight = pg_strtoint32(defGetString(option));
	else if (strcmp(name, "retry_initial_interval") == 0)
		endpoint->retry.initial_interval_ms = read_interval_option(option);
	else if (strcmp(name, "retry_max_interval") == 0)
		endpoint->retry.max_interval_ms = read_interval_option(option);
	else if (strcmp(name, "retry_backoff_coefficient") == 0)
		endpoint->retry.backoff_coefficient = read_number_option(option);
	else if (strcmp(name, "max_requests_per_second") == 0)
		endpoint->max_requests_per_second = read_number_option(option);
	else if (strcmp(name, "breaker_failures") == 0)
		endpoint->breaker.failures = pg_strtoint32(defGetString(option));
	else if (strcmp(name, "breaker_open_interval") == 0)
		endpoint->breaker.open_interval_us = read_interval_option(option) * INT64CONST(1000);
	else if (strcmp(name, "max_schedule_to_close_timeout") == 0)
		endpoint->max_schedule_to_close_us = read_interval_option(option) * INT64CONST(1000);
	else if (strcmp(name, "retention") == 0)
		endpoint->retention_us = read_interval_option(option) * INT64CONST(1000);
	else if (strcmp(name, "enabled") == 0)
		endpoint->enabled = defGetBoolean(option);
}

static NexusEndpoint *
read_endpoint(HeapTuple tuple)
{
	Form_pg_foreign_server server = (Form_pg_foreign_server) GETSTRUCT(tuple);
	NexusEndpoint *endpoint = palloc0(sizeof(NexusEndpoint));
	List	   *options;
	ListCell   *cell;

	endpoint->server = server->oid;
	endpoint->owner = server->srvowner;
	strlcpy(endpoint->name, NameStr(server->srvname), sizeof(endpoint->name));
	endpoint->request_timeout_ms = NEXUS_DEFAULT_REQUEST_TIMEOUT_MS;
	endpoint->max_in_flight = NEXUS_DEFAULT_ENDPOINT_MAX_IN_FLIGHT;
	endpoint->retry.initial_interval_ms = NEXUS_DEFAULT_RETRY_INITIAL_INTERVAL_MS;
	endpoint->retry.max_interval_ms = NEXUS_DEFAULT_RETRY_MAX_INTERVAL_MS;
	endpoint->retry.backoff_coefficient = NEXUS_DEFAULT_RETRY_BACKOFF_COEFFICIENT;
	endpoint->breaker.failures = NEXUS_DEFAULT_BREAKER_FAILURES;
	endpoint->breaker.open_interval_us = NEXUS_DEFAULT_BREAKER_OPEN_INTERVAL_MS * INT64CONST(1000);
	endpoint->retention_us = -1;
	endpoint->enabled = true;

	options = nexus_options_read(FOREIGNSERVEROID, tuple, Anum_pg_foreign_server_srvoptions);
	foreach(cell, options)
		read_endpoint_option(endpoint, lfirst(cell));
	list_free_deep(options);
	return endpoint;
}

static void
raise_no_endpoint(const char *name, bool is_server)
{
	if (is_server)
		ereport(ERROR,
				(errcode(NEXUS_ERRCODE_ENDPOINT_UNUSABLE),
				 errmsg("server \"%s\" is not an endpoint", name),
				 errhint("Endpoints are servers of the foreign-data wrapper \"%s\".", NEXUS_WRAPPER_NAME)));
	ereport(ERROR,
			(errcode(NEXUS_ERRCODE_ENDPOINT_UNUSABLE),
			 errmsg("endpoint \"%s\" does not exist", name),
			 errhint("Create it with CREATE SERVER ... FOREIGN DATA WRAPPER %s.", NEXUS_WRAPPER_NAME)));
}

NexusEndpoint *
nexus_endpoint_get(const char *name, bool missing_ok)
{
	HeapTuple	tuple = SearchSysCache1(FOREIGNSERVERNAME, CStringGetDatum(name));
	Oid			wrapper = get_foreign_data_wrapper_oid(NEXUS_WRAPPER_NAME, true);
	NexusEndpoint *endpoint = NULL;
	bool		is_server = HeapTupleIsValid(tuple);

	if (is_server)
	{
		if (((Form_pg_foreign_server) GETSTRUCT(tuple))->srvfdw == wrapper)
			endpoint = read_endpoint(tuple);
		ReleaseSysCache(tuple);
	}
	if (endpoint == NULL && !missing_ok)
		raise_no_endpoint(name, is_server);
	return endpoint;
}

void
nexus_endpoint_free(NexusEndpoint *endpoint)
{
	nexus_options_free_strings(endpoint_strings, endpoint);
	pfree(endpoint);
}

List *
nexus_endpoint_names(void)
{
	Oid			wrapper = get_foreign_data_wrapper_oid(NEXUS_WRAPPER_NAME, true);
	Relation	servers = table_open(ForeignServerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(servers, InvalidOid, false, NULL, 0, NULL);
	List	   *names = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_foreign_server server = (Form_pg_foreign_server) GETSTRUCT(tuple);

		if (server->srvfdw == wrapper)
			names = lappend(names, pstrdup(NameStr(server->srvname)));
	}
	systable_endscan(scan);
	table_close(servers, AccessShareLock);
	return names;
}

bool
nexus_endpoint_has_usage(Oid server, Oid role)
{
	/* The check itself raises for a server and takes any role for PUBLIC. */
	if (!SearchSysCacheExists1(FOREIGNSERVEROID, ObjectIdGetDatum(server)) ||
		!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		return false;
	return nexus_server_aclcheck(server, role, ACL_USAGE) == ACLCHECK_OK;
}

void
nexus_endpoint_check_usage(const NexusEndpoint *endpoint, Oid role)
{
	AclResult	result = nexus_server_aclcheck(endpoint->server, role, ACL_USAGE);

	if (result != ACLCHECK_OK && role != GetUserId())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for foreign server %s", endpoint->name),
				 errdetail("Role \"%s\" owns the operation and needs USAGE on the server.",
						   GetUserNameFromId(role, false))));
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_FOREIGN_SERVER, endpoint->name);
}

/* Whether an option of a tuple's column has just this value. */
static bool
tuple_has_option(HeapTuple tuple, AttrNumber column, TupleDesc descriptor,
				 const char *name, const char *value)
{
	bool		is_null;
	Datum		options = heap_getattr(tuple, column, descriptor, &is_null);
	ListCell   *cell;

	if (is_null)
		return false;
	foreach(cell, untransformRelOptions(options))
	{
		DefElem    *option = lfirst(cell);

		if (strcmp(option->defname, name) == 0 && strcmp(defGetString(option), value) == 0)
			return true;
	}
	return false;
}

/* Whether a server is an endpoint that a role owns. */
static bool
is_endpoint_of(Oid server_id, Oid wrapper, Oid role)
{
	HeapTuple	tuple = SearchSysCache1(FOREIGNSERVEROID, ObjectIdGetDatum(server_id));
	bool		is_endpoint;

	if (!HeapTupleIsValid(tuple))
		return false;
	is_endpoint = ((Form_pg_foreign_server) GETSTRUCT(tuple))->srvfdw == wrapper;
	ReleaseSysCache(tuple);
	return is_endpoint && nexus_server_ownercheck(server_id, role);
}

bool
nexus_endpoint_owner_has_option(Oid catalog, Oid role, const char *name, const char *value)
{
	Oid			wrapper = get_foreign_data_wrapper_oid(NEXUS_WRAPPER_NAME, true);
	bool		is_server = catalog == ForeignServerRelationId;
	AttrNumber	column = is_server ? Anum_pg_foreign_server_srvoptions : Anum_pg_user_mapping_umoptions;
	Relation	relation = table_open(catalog, AccessShareLock);
	SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	bool		is_found = false;

	while (!is_found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Oid			server_id;

		if (is_server)
			server_id = ((Form_pg_foreign_server) GETSTRUCT(tuple))->oid;
		else
			server_id = ((Form_pg_user_mapping) GETSTRUCT(tuple))->umserver;
		is_found = is_endpoint_of(server_id, wrapper, role) &&
			tuple_has_option(tuple, column, RelationGetDescr(relation), name, value);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return is_found;
}

/* {address}:{port} of the listener as this machine reaches it. */
static bool
append_listener_base(NexusBuffer *out, int port)
{
	List	   *addresses = NIL;
	char	   *address;

	if (!SplitGUCList(pstrdup(nexus_listen_addresses), ',', &addresses) || addresses == NIL || port == 0)
		return false;

	address = linitial(addresses);
	if (strcmp(address, "*") == 0 || strcmp(address, "0.0.0.0") == 0)
		address = "127.0.0.1";
	else if (strcmp(address, "::") == 0)
		address = "::1";
	return nexus_buffer_append_format(out, strchr(address, ':') != NULL ? "http://[%s]:%d" : "http://%s:%d",
									  address, port);
}

bool
nexus_endpoint_callback_base(const NexusEndpoint *endpoint, int listener_port, NexusBuffer *out)
{
	if (endpoint->callback_url != NULL)
		return nexus_buffer_append_string(out, endpoint->callback_url);
	if (nexus_callback_url[0] != '\0')
		return nexus_buffer_append_string(out, nexus_callback_url);
	return append_listener_base(out, listener_port);
}
