/*
 * monitor.c
 *	  What only shared memory and the settings know, for the views.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "compat.h"
#include "config.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "protocol/url.h"
#include "shared/stats.h"
#include "shared/worker_registry.h"
#include "store/endpoint.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(nexus_workers);
PG_FUNCTION_INFO_V1(nexus_endpoints);
PG_FUNCTION_INFO_V1(nexus_blocked_reason);

enum WorkersColumn
{
	WORKERS_KIND,
	WORKERS_DATABASE,
	WORKERS_PID,
	WORKERS_STATE,
	WORKERS_PORT,
	WORKERS_IN_FLIGHT,
	WORKERS_QUEUED,
	WORKERS_REJECTED,
	WORKERS_LAST_ERROR,
	WORKERS_LAST_ERROR_TIME,
	WORKERS_COLUMNS
};

enum EndpointsColumn
{
	ENDPOINTS_ENDPOINT,
	ENDPOINTS_OWNER,
	ENDPOINTS_URL,
	ENDPOINTS_CALLBACK_URL,
	ENDPOINTS_ENABLED,
	ENDPOINTS_BREAKER_STATE,
	ENDPOINTS_BREAKER_UNTIL,
	ENDPOINTS_IN_FLIGHT,
	ENDPOINTS_LAST_FAILURE,
	ENDPOINTS_LAST_FAILURE_TIME,
	ENDPOINTS_COLUMNS
};

static bool
is_monitor(void)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
}

/* A row under construction: everything is NULL until it is set. */
static void
clear_row(Datum *values, bool *nulls, int columns)
{
	memset(values, 0, columns * sizeof(Datum));
	memset(nulls, true, columns * sizeof(bool));
}

static void
set_text(Datum *values, bool *nulls, int column, const char *text)
{
	if (text == NULL || text[0] == '\0')
		return;
	values[column] = CStringGetTextDatum(text);
	nulls[column] = false;
}

static void
set_value(Datum *values, bool *nulls, int column, Datum value)
{
	values[column] = value;
	nulls[column] = false;
}

static void
set_time(Datum *values, bool *nulls, int column, TimestampTz at)
{
	if (at != 0)
		set_value(values, nulls, column, TimestampTzGetDatum(at));
}

/* ---- nexus._workers() ---- */

static const char *
state_name(NexusProcessState state)
{
	switch (state)
	{
		case NEXUS_PROCESS_STARTING:
			return "starting";
		case NEXUS_PROCESS_RUNNING:
			return "running";
		case NEXUS_PROCESS_PAUSED:
			return "paused";
		case NEXUS_PROCESS_NO_SLOT:
			return "no_slot";
		case NEXUS_PROCESS_FAILED:
			return "failed";
	}
	return NULL;
}

static void
put_process(const NexusProcessInfo *info, void *arg)
{
	ReturnSetInfo *result = arg;
	Datum		values[WORKERS_COLUMNS];
	bool		nulls[WORKERS_COLUMNS];
	const char *database = OidIsValid(info->database) ? get_database_name(info->database) : "";

	/* Dropped, which the launcher has yet to notice. */
	if (database == NULL)
		return;
	clear_row(values, nulls, WORKERS_COLUMNS);
	set_text(values, nulls, WORKERS_KIND, info->kind);
	set_text(values, nulls, WORKERS_DATABASE, database);
	if (info->pid != 0)
		set_value(values, nulls, WORKERS_PID, Int32GetDatum(info->pid));
	set_text(values, nulls, WORKERS_STATE, state_name(info->state));
	if (info->port != 0)
		set_value(values, nulls, WORKERS_PORT, Int32GetDatum(info->port));
	set_value(values, nulls, WORKERS_IN_FLIGHT, Int32GetDatum(info->in_flight));
	set_value(values, nulls, WORKERS_QUEUED, Int32GetDatum(info->queued));
	set_value(values, nulls, WORKERS_REJECTED, Int64GetDatum(info->rejected));
	if (is_monitor())
	{
		set_text(values, nulls, WORKERS_LAST_ERROR, info->last_error);
		set_time(values, nulls, WORKERS_LAST_ERROR_TIME, info->last_error_time);
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum
nexus_workers(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	nexus_worker_registry_each(put_process, fcinfo->resultinfo);
	return (Datum) 0;
}

/* ---- nexus._endpoints() ---- */

static char *
format_callback_base(const NexusEndpoint *endpoint)
{
	NexusBuffer base;
	char	   *text = NULL;

	nexus_buffer_init(&base, NEXUS_CALLBACK_URL_MAX);
	if (nexus_endpoint_callback_base(endpoint, nexus_worker_registry_listener_port(), &base))
		text = pnstrdup(base.data, base.len);
	nexus_buffer_free(&base);
	return text;
}

static void
put_endpoint(const NexusEndpoint *endpoint, ReturnSetInfo *result, bool shows_failure)
{
	Datum		values[ENDPOINTS_COLUMNS];
	bool		nulls[ENDPOINTS_COLUMNS];
	NexusEndpointFigures figures;

	(void) nexus_stats_get(MyDatabaseId, endpoint->name, &figures);
	clear_row(values, nulls, ENDPOINTS_COLUMNS);
	set_text(values, nulls, ENDPOINTS_ENDPOINT, endpoint->name);
	set_value(values, nulls, ENDPOINTS_OWNER, ObjectIdGetDatum(endpoint->owner));
	set_text(values, nulls, ENDPOINTS_URL, endpoint->url);
	set_text(values, nulls, ENDPOINTS_CALLBACK_URL, format_callback_base(endpoint));
	set_value(values, nulls, ENDPOINTS_ENABLED, BoolGetDatum(endpoint->enabled));
	set_text(values, nulls, ENDPOINTS_BREAKER_STATE, nexus_breaker_state_name(figures.breaker_state));
	set_time(values, nulls, ENDPOINTS_BREAKER_UNTIL, figures.breaker_until);
	set_value(values, nulls, ENDPOINTS_IN_FLIGHT, Int32GetDatum(figures.in_flight));
	if (shows_failure)
	{
		set_text(values, nulls, ENDPOINTS_LAST_FAILURE, figures.last_failure);
		set_time(values, nulls, ENDPOINTS_LAST_FAILURE_TIME, figures.last_failure_time);
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * The last failure may be of anybody's operation, and has text that a handler
 * has sent: it is for who could read that anyway, by directing requests.
 */
static void
put_endpoint_if_visible(const char *name, ReturnSetInfo *result)
{
	NexusEndpoint *endpoint = nexus_endpoint_get(name, true);
	bool		is_owner;

	if (endpoint == NULL)
		return;
	is_owner = has_privs_of_role(GetUserId(), endpoint->owner);
	if (is_owner || nexus_endpoint_has_usage(endpoint->server, GetUserId()) || is_monitor())
		put_endpoint(endpoint, result, is_owner);
	nexus_endpoint_free(endpoint);
}

Datum
nexus_endpoints(PG_FUNCTION_ARGS)
{
	List	   *names = nexus_endpoint_names();
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	foreach(cell, names)
		put_endpoint_if_visible(lfirst(cell), (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}

/* ---- nexus._blocked_reason() ---- */

static bool
is_paused(void)
{
	NexusProcessState state;

	return nexus_worker_registry_worker_state(MyDatabaseId, &state) && state == NEXUS_PROCESS_PAUSED;
}

static bool
has_own_callback_url(const NexusEndpoint *endpoint)
{
	return endpoint->callback_url != NULL || nexus_callback_url[0] != '\0';
}

static bool
is_breaker_open(const NexusEndpoint *endpoint)
{
	NexusEndpointFigures figures;

	return endpoint->breaker.failures > 0 && nexus_stats_get(MyDatabaseId, endpoint->name, &figures)
		&& figures.is_blocked_by_breaker;
}

/* The first of them that applies, or NULL. */
static const char *
find_blocked_reason(const NexusEndpoint *endpoint, Oid owner, bool has_callback_base)
{
	if (!nexus_enabled)
		return "sending_disabled";
	if (is_paused())
		return "paused";
	if (!endpoint->enabled)
		return "endpoint_disabled";
	if (!nexus_endpoint_has_usage(endpoint->server, owner))
		return "no_usage";
	if (is_breaker_open(endpoint))
		return "breaker_open";
	/* of starts only: they come last, to hide nothing that cancels wait for */
	if (!has_callback_base && format_callback_base(endpoint) == NULL)
		return "no_callback_url";
	if (!has_own_callback_url(endpoint) && !nexus_worker_registry_listener_is_up())
		return "listener_down";
	return NULL;
}

Datum
nexus_blocked_reason(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	NexusEndpoint *endpoint = nexus_endpoint_get(name, true);
	const char *reason = NULL;

	if (endpoint != NULL)
	{
		reason = find_blocked_reason(endpoint, PG_GETARG_OID(1), PG_GETARG_BOOL(2));
		nexus_endpoint_free(endpoint);
	}
	pfree(name);
	if (reason == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(reason));
}
