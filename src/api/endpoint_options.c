/*
 * endpoint_options.c
 *	  nexus.validate_options(): the options of endpoints and user mappings.
 *
 * PostgreSQL calls it with all options that the object will have, so that an
 * ALTER of one option shows the others again; it tells neither which object it
 * is nor what the options were before.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "config.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "protocol/url.h"
#include "store/endpoint.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#define MS_PER_DAY INT64CONST(86400000)
#define MAX_IN_FLIGHT_LIMIT 10000
#define BACKOFF_COEFFICIENT_LIMIT 100.0
#define BREAKER_FAILURES_LIMIT 1000000
#define REQUESTS_PER_SECOND_LIMIT 1000000.0

/* Where only the host of a callback URL counts, any port will do. */
#define SOME_PORT 1

typedef struct OptionRule
{
	const char *name;
	Oid			catalog;		/* of the objects that have this option */
	void		(*check) (const struct OptionRule *rule, const char *value);
	double		min;			/* of numbers, and of intervals in ms */
	double		max;
} OptionRule;

PG_FUNCTION_INFO_V1(nexus_validate_options);

static void
raise_bad_value(const char *name, const char *value, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\": \"%s\"", name, value),
			 errhint("%s", hint)));
}

/* The value of a secret is not repeated. */
static void
raise_bad_secret(const char *name, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\"", name),
			 errhint("%s", hint)));
}

/* Nor is a URL, which may have a password in it. */
static void
raise_bad_url(const char *name, const NexusError *error)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\": %s", name, error->message),
			 errhint("Give a URL such as \"https://host:port/path\", without user, password and fragment.")));
}

static void
check_url(const OptionRule *rule, const char *value)
{
	NexusError	error = {0};

	if (!nexus_url_check_base(nexus_text_of(value), &error))
		raise_bad_url(rule->name, &error);
}

static void
check_callback_url(const OptionRule *rule, const char *value)
{
	NexusError	error = {0};

	if (!nexus_config_check_callback_url(value, &error))
		raise_bad_url(rule->name, &error);
}

static void
check_interval(const OptionRule *rule, const char *value)
{
	int64		ms;

	if (!nexus_endpoint_parse_interval(value, &ms) || ms < rule->min || ms > rule->max)
		raise_bad_value(rule->name, value,
						psprintf("It is an interval from \"%g ms\" to \"%g %s\".", rule->min,
								 rule->max / MS_PER_DAY, rule->max == MS_PER_DAY ? "day" : "days"));
}

static void
check_count(const OptionRule *rule, const char *value)
{
	int64		count;

	if (!nexus_text_to_int64(nexus_text_of(value), &count) || count < rule->min || count > rule->max)
		raise_bad_value(rule->name, value, psprintf("It is a whole number from %.0f to %.0f.", rule->min, rule->max));
}

static void
check_number(const OptionRule *rule, const char *value)
{
	char	   *end;
	double		number = strtod(value, &end);

	if (end == value || *end != '\0' || !(number >= rule->min && number <= rule->max))
		raise_bad_value(rule->name, value, psprintf("It is a number from %g to %.0f.", rule->min, rule->max));
}

static void
check_boolean(const OptionRule *rule, const char *value)
{
	bool		result;

	if (!parse_bool(value, &result))
		raise_bad_value(rule->name, value, "It is \"true\" or \"false\".");
}

static void
check_protocol_version(const OptionRule *rule, const char *value)
{
	if (strcmp(value, "TLSv1") == 0 || strcmp(value, "TLSv1.1") == 0)
		raise_bad_value(rule->name, value, "Older versions than TLSv1.2 are not secure.");
	if (strcmp(value, "TLSv1.2") != 0 && strcmp(value, "TLSv1.3") != 0)
		raise_bad_value(rule->name, value, "It is \"TLSv1.2\" or \"TLSv1.3\".");
}

static void
check_bearer_token(const OptionRule *rule, const char *value)
{
	if (!nexus_endpoint_is_token(value))
		raise_bad_secret(rule->name, "It is one word of visible ASCII characters.");
}

static void
check_username(const OptionRule *rule, const char *value)
{
	NexusText	text = nexus_text_of(value);

	/* Basic authentication ends it with a colon. */
	if (text.len == 0 || strchr(value, ':') != NULL ||
		!nexus_headers_check(nexus_text_of("Authorization"), text, NULL))
		raise_bad_value(rule->name, value, "It is not empty, and has neither colons nor control characters.");
}

static void
check_password(const OptionRule *rule, const char *value)
{
	if (!nexus_headers_check(nexus_text_of("Authorization"), nexus_text_of(value), NULL))
		raise_bad_secret(rule->name, "It has no control characters.");
}

static void
check_key_password(const OptionRule *rule, const char *value)
{
	if (*value == '\0')
		raise_bad_secret(rule->name, "It is not empty.");
}

static void
check_headers(const OptionRule *rule, const char *value)
{
	NexusHeaders headers;
	NexusError	error = {0};

	nexus_headers_init(&headers, nexus_max_header_size);
	(void) nexus_endpoint_parse_headers(value, &headers, &error);
	nexus_headers_free(&headers);
	if (error.is_set)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": %s", rule->name, error.message),
				 errhint("It is a JSON object of strings, such as {\"X-Team\": \"billing\"}.")));
}

/*
 * A file option makes the server read a file in the operating system's name,
 * and send what it says where the url points.  So setting one needs the right
 * to read server files.  An owner without it may still ALTER another option of
 * an endpoint that has files.  Since we cannot see whether an option is new,
 * the rule is: a file may stand where an endpoint of the same owner has it
 * already.  That gives nothing away, for the owner can point that endpoint's
 * url anywhere.  A mapping's own role does not count: it cannot do that, and
 * with a second endpoint of its own it could learn a secret that it was only
 * given to use.
 */
static void
check_file(const OptionRule *rule, const char *value)
{
	if (!is_absolute_path(value) || strlen(value) >= MAXPGPATH)
		raise_bad_value(rule->name, value, "It is the absolute path of a file.");
	if (has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES) ||
		nexus_endpoint_owner_has_option(rule->catalog, GetUserId(), rule->name, value))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to set option \"%s\"", rule->name),
			 errhint("It takes the privileges of \"pg_read_server_files\" to name files.")));
}

/* In the order of the hint that lists them. */
static const OptionRule rules[] = {
	{"url", ForeignServerRelationId, check_url, 0, 0},
	{"request_timeout", ForeignServerRelationId, check_interval, 1, MS_PER_DAY},
	{"max_in_flight", ForeignServerRelationId, check_count, 1, MAX_IN_FLIGHT_LIMIT},
	{"max_requests_per_second", ForeignServerRelationId, check_number, 0.001, REQUESTS_PER_SECOND_LIMIT},
	{"retry_initial_interval", ForeignServerRelationId, check_interval, 1, 30 * MS_PER_DAY},
	{"retry_max_interval", ForeignServerRelationId, check_interval, 1, 30 * MS_PER_DAY},
	{"retry_backoff_coefficient", ForeignServerRelationId, check_number, 1, BACKOFF_COEFFICIENT_LIMIT},
	{"breaker_failures", ForeignServerRelationId, check_count, 0, BREAKER_FAILURES_LIMIT},
	{"breaker_open_interval", ForeignServerRelationId, check_interval, 1, 30 * MS_PER_DAY},
	{"callback_url", ForeignServerRelationId, check_callback_url, 0, 0},
	{"enabled", ForeignServerRelationId, check_boolean, 0, 0},
	{"max_schedule_to_close_timeout", ForeignServerRelationId, check_interval, 1, 36500 * MS_PER_DAY},
	{"retention", ForeignServerRelationId, check_interval, 0, 36500 * MS_PER_DAY},
	{"sslrootcert", ForeignServerRelationId, check_file, 0, 0},
	{"sslcert", ForeignServerRelationId, check_file, 0, 0},
	{"sslkey", ForeignServerRelationId, check_file, 0, 0},
	{"ssl_min_protocol_version", ForeignServerRelationId, check_protocol_version, 0, 0},

	{"bearer_token", UserMappingRelationId, check_bearer_token, 0, 0},
	{"bearer_token_file", UserMappingRelationId, check_file, 0, 0},
	{"username", UserMappingRelationId, check_username, 0, 0},
	{"password", UserMappingRelationId, check_password, 0, 0},
	{"sslcert", UserMappingRelationId, check_file, 0, 0},
	{"sslkey", UserMappingRelationId, check_file, 0, 0},
	{"sslpassword", UserMappingRelationId, check_key_password, 0, 0},
	{"headers", UserMappingRelationId, check_headers, 0, 0},
};

/* Options of endpoints to come: refused by name, never taken and ignored. */
static const char *const later_options[] = {
	"temporal_url", "temporal_endpoint", "temporal_namespace", "temporal_task_queue", "temporal_ui_url",
};

static void
raise_unknown_option(Oid catalog, const char *name)
{
	StringInfoData names;
	size_t		i;

	for (i = 0; catalog == ForeignServerRelationId && i < lengthof(later_options); i++)
	{
		if (strcmp(later_options[i], name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("option \"%s\" is not supported yet", name)));
	}

	initStringInfo(&names);
	for (i = 0; i < lengthof(rules); i++)
	{
		if (rules[i].catalog == catalog)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", rules[i].name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"", name),
			 errhint("Valid options in this context are: %s", names.data)));
}

static void
check_option(Oid catalog, DefElem *option)
{
	size_t		i;

	for (i = 0; i < lengthof(rules); i++)
	{
		if (rules[i].catalog == catalog && strcmp(rules[i].name, option->defname) == 0)
		{
			rules[i].check(&rules[i], defGetString(option));
			return;
		}
	}
	raise_unknown_option(catalog, option->defname);
}

/* The value of an option; NULL where it is not set. */
static char *
get_option(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst(cell);

		if (strcmp(option->defname, name) == 0)
			return defGetString(option);
	}
	return NULL;
}

static int64
get_interval(List *options, const char *name, int64 default_ms)
{
	char	   *value = get_option(options, name);
	int64		ms = default_ms;

	if (value != NULL)
		(void) nexus_endpoint_parse_interval(value, &ms);
	return ms;
}

/*
 * A handler on another machine cannot reach a listener on this one's loopback
 * address: its operations would stay open until they time out.
 */
static void
warn_of_unreachable_callback(List *options)
{
	NexusEndpoint endpoint = {0};
	NexusBuffer base;
	bool		is_loopback;

	endpoint.callback_url = get_option(options, "callback_url");
	nexus_buffer_init(&base, NEXUS_CALLBACK_URL_MAX);
	is_loopback = nexus_endpoint_callback_base(&endpoint, SOME_PORT, &base) &&
		nexus_url_host_is_loopback(nexus_url_host(nexus_buffer_view(&base)));
	nexus_buffer_free(&base);

	if (is_loopback &&
		!nexus_url_host_is_loopback(nexus_url_host(nexus_text_of(get_option(options, "url")))))
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("handlers of this endpoint cannot call back"),
				 errdetail("They are on another machine, but the callback URL is a loopback address."),
				 errhint("Set option \"callback_url\" or setting \"nexus_pg.callback_url\".")));
}

static void
check_server(List *options)
{
	int64		initial_ms;
	int64		max_ms;

	if (get_option(options, "url") == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"url\" is required"),
				 errhint("Add OPTIONS (url 'https://host:port/path').")));

	initial_ms = get_interval(options, "retry_initial_interval", NEXUS_DEFAULT_RETRY_INITIAL_INTERVAL_MS);
	max_ms = get_interval(options, "retry_max_interval", NEXUS_DEFAULT_RETRY_MAX_INTERVAL_MS);
	if (initial_ms > max_ms)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"retry_initial_interval\" is longer than option \"retry_max_interval\""),
				 errdetail("They are " INT64_FORMAT " ms and " INT64_FORMAT " ms.", initial_ms, max_ms)));
	warn_of_unreachable_callback(options);
}

/* Whether checked headers have an Authorization. */
static bool
has_authorization(const char *json)
{
	NexusHeaders headers;
	NexusText	value;
	bool		result;

	nexus_headers_init(&headers, nexus_max_header_size);
	result = nexus_endpoint_parse_headers(json, &headers, NULL) &&
		nexus_headers_get(&headers, "Authorization", &value);
	nexus_headers_free(&headers);
	return result;
}

static void
check_mapping(List *options)
{
	char	   *headers = get_option(options, "headers");
	int			ways = 0;

	ways += get_option(options, "bearer_token") != NULL;
	ways += get_option(options, "bearer_token_file") != NULL;
	ways += get_option(options, "username") != NULL;
	ways += headers != NULL && has_authorization(headers);
	if (ways > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("more than one kind of authorization"),
				 errhint("Give a bearer token, or its file, or a username, or a header Authorization.")));
	if (get_option(options, "password") != NULL && get_option(options, "username") == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"password\" requires option \"username\"")));
}

static void
refuse_tables(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("wrapper \"%s\" has no foreign tables", NEXUS_WRAPPER_NAME),
			 errhint("Call operations of an endpoint with nexus.schedule() or nexus.execute().")));
}

static void
refuse_wrapper_options(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("wrapper \"%s\" has no options", NEXUS_WRAPPER_NAME),
			 errhint("Give the options to the server or to the user mapping.")));
}

Datum
nexus_validate_options(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	ListCell   *cell;

	if (catalog == ForeignDataWrapperRelationId)
	{
		if (options != NIL)
			refuse_wrapper_options();
		PG_RETURN_VOID();
	}
	if (catalog != ForeignServerRelationId && catalog != UserMappingRelationId)
		refuse_tables();

	foreach(cell, options)
		check_option(catalog, lfirst(cell));
	if (catalog == ForeignServerRelationId)
		check_server(options);
	else
		check_mapping(options);
	PG_RETURN_VOID();
}
