/*
 * arguments.c
 *	  Read and check the arguments of our SQL functions.
 */
#include "postgres.h"

#include "access/xact.h"
#include "api/arguments.h"
#include "api/caller_headers.h"
#include "api/input.h"
#include "config.h"
#include "miscadmin.h"
#include "protocol/buffer.h"
#include "protocol/url.h"
#include "shared/worker_registry.h"
#include "store/encoding.h"
#include "store/endpoint.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* Limits of Temporal that nobody has asked to change. */
#define SUMMARY_MAX 400
#define REASON_MAX 1000

#define US_PER_MS INT64CONST(1000)

/* 100 years: longer timeouts are cut off. */
#define TIMEOUT_MAX_US (INT64CONST(100) * 365 * USECS_PER_DAY)

/* Where the arguments of schedule stand; those after the input come one later in schedule_bytes. */
enum
{
	ARG_ENDPOINT,
	ARG_SERVICE,
	ARG_OPERATION,
	ARG_INPUT,
	ARG_SCHEDULE_TO_CLOSE_TIMEOUT,
	ARG_SCHEDULE_TO_START_TIMEOUT,
	ARG_START_TO_CLOSE_TIMEOUT,
	ARG_CANCELLATION_TYPE,
	ARG_HEADERS,
	ARG_SUMMARY,
	ARG_OPERATION_KEY,
	ARG_KEY_REUSE_POLICY,
	ARG_ON_COMPLETION
};

/* The first one is the default: the words of protocol/await_rule. */
static const char *const cancellation_types[] = {
	"wait_cancellation_completed", "abandon", "try_cancel", "wait_cancellation_requested", NULL
};

static const char *const key_reuse_policies[] = {
	"allow_duplicate_failed_only", "allow_duplicate", "reject_duplicate", NULL
};

void
nexus_arguments_check_context(const char *function)
{
	char		name[NAMEDATALEN];

	snprintf(name, sizeof(name), "nexus.%s()", function);
	PreventCommandDuringRecovery(name);
	PreventCommandIfReadOnly(name);
	PreventCommandIfParallelMode(name);
}

static void
raise_null(const char *argument)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("argument \"%s\" must not be null", argument)));
}

static void
raise_not_supported(const char *argument)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("argument \"%s\" is not supported yet", argument),
			 errhint("Leave it out.")));
}

static void
check_length(const char *argument, size_t len, size_t limit, const char *setting)
{
	if (len <= limit)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"%s\" is too long", argument),
			 errdetail("It has %zu bytes, the limit is %zu.", len, limit),
			 setting != NULL ? errhint("Shorten it, or raise \"%s\".", setting) : errhint("Shorten it.")));
}

void
nexus_arguments_check_payload(const char *name, size_t len)
{
	check_length(name, len, nexus_max_payload_size, "nexus_pg.max_payload_size");
}

/* NULL where the argument is. */
static char *
read_text(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

static char *
read_name(FunctionCallInfo fcinfo, int argument, const char *name)
{
	char	   *value = read_text(fcinfo, argument);

	if (value == NULL)
		raise_null(name);
	if (value[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be empty", name)));
	check_length(name, strlen(value), nexus_max_name_length, "nexus_pg.max_name_length");
	return value;
}

/* The name of a service or operation becomes a segment of a path. */
static char *
read_segment(FunctionCallInfo fcinfo, int argument, const char *name)
{
	char	   *value = read_name(fcinfo, argument, name);

	if (strcmp(value, ".") == 0 || strcmp(value, "..") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be \"%s\"", name, value),
				 errdetail("In the path of a URL it would mean another resource.")));
	nexus_encoding_check(name, nexus_text_of(value));
	return value;
}

static int64
read_timeout(FunctionCallInfo fcinfo, int argument, const char *name)
{
	int64		microseconds;

	if (PG_ARGISNULL(argument))
		return 0;
	microseconds = nexus_operation_interval_us(PG_GETARG_INTERVAL_P(argument));
	if (microseconds < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be negative", name),
				 errdetail("It is %s.",
						   DatumGetCString(DirectFunctionCall1(interval_out, PG_GETARG_DATUM(argument)))),
				 errhint("Zero means no limit.")));
	return Min(microseconds, TIMEOUT_MAX_US);
}

/* One of a few words, of which the first one is the default: its place among them. */
static int
read_choice(FunctionCallInfo fcinfo, int argument, const char *name, const char *const *choices)
{
	char	   *value = read_text(fcinfo, argument);
	StringInfoData known;

	if (value == NULL)
		return 0;
	for (int i = 0; choices[i] != NULL; i++)
	{
		if (strcmp(value, choices[i]) == 0)
			return i;
	}

	initStringInfo(&known);
	for (int i = 0; choices[i] != NULL; i++)
		appendStringInfo(&known, "%s\"%s\"", i > 0 ? ", " : "", choices[i]);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"%s\" must not be \"%s\"", name, value),
			 errhint("Valid values are %s.", known.data)));
}

static char *
read_summary(FunctionCallInfo fcinfo, int argument)
{
	char	   *value = read_text(fcinfo, argument);

	if (value != NULL)
		check_length("summary", strlen(value), SUMMARY_MAX, NULL);
	return value;
}

/* Names and key are a row of an index, whose size is limited. */
static void
read_key(FunctionCallInfo fcinfo, int shift, NexusNewOperation *operation, NexusKeyPolicy *policy)
{
	size_t		len;

	*policy = (NexusKeyPolicy) read_choice(fcinfo, ARG_KEY_REUSE_POLICY + shift, "key_reuse_policy",
										   key_reuse_policies);
	if (PG_ARGISNULL(ARG_OPERATION_KEY + shift))
		return;
	operation->operation_key = read_name(fcinfo, ARG_OPERATION_KEY + shift, "operation_key");
	len = strlen(operation->endpoint) + strlen(operation->service) + strlen(operation->operation)
		+ strlen(operation->operation_key);
	if (len > NEXUS_KEY_BYTES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"operation_key\" is too long for the names that go with it"),
				 errdetail("Endpoint, service, operation and key have %zu bytes together, the limit is %d.", len,
						   NEXUS_KEY_BYTES_MAX),
				 errhint("Shorten one of them; the digest of a long key serves as well.")));
}

/* "shift" is 1 where the input has a content type behind it. */
static void
read_options(FunctionCallInfo fcinfo, int shift, NexusNewOperation *operation, NexusKeyPolicy *policy)
{
	operation->schedule_to_close_timeout =
		read_timeout(fcinfo, ARG_SCHEDULE_TO_CLOSE_TIMEOUT + shift, "schedule_to_close_timeout");
	operation->schedule_to_start_timeout =
		read_timeout(fcinfo, ARG_SCHEDULE_TO_START_TIMEOUT + shift, "schedule_to_start_timeout");
	operation->start_to_close_timeout =
		read_timeout(fcinfo, ARG_START_TO_CLOSE_TIMEOUT + shift, "start_to_close_timeout");
	operation->cancellation_type =
		cancellation_types[read_choice(fcinfo, ARG_CANCELLATION_TYPE + shift, "cancellation_type",
									   cancellation_types)];
	if (!PG_ARGISNULL(ARG_HEADERS + shift))
		operation->headers = nexus_caller_headers_check(PG_GETARG_JSONB_P(ARG_HEADERS + shift));
	operation->summary = read_summary(fcinfo, ARG_SUMMARY + shift);
	read_key(fcinfo, shift, operation, policy);
	if (!PG_ARGISNULL(ARG_ON_COMPLETION + shift))
		raise_not_supported("on_completion");
}

static char *
make_callback_base(const NexusEndpoint *endpoint)
{
	char	   *base = NULL;
	NexusBuffer buffer;

	nexus_buffer_init(&buffer, NEXUS_CALLBACK_URL_MAX);
	if (nexus_endpoint_callback_base(endpoint, nexus_worker_registry_listener_port(), &buffer))
		base = pnstrdup(buffer.data, buffer.len);
	nexus_buffer_free(&buffer);
	return base;
}

static int64
earlier(int64 timeout, int64 limit)
{
	return limit != 0 && (timeout == 0 || timeout > limit) ? limit : timeout;
}

/* The endpoint's longest time is that of all, and no part takes longer than the whole. */
static void
trim_timeouts(const NexusEndpoint *endpoint, NexusNewOperation *operation)
{
	int64		whole = earlier(operation->schedule_to_close_timeout, endpoint->max_schedule_to_close_us);

	operation->schedule_to_close_timeout = whole;
	if (operation->schedule_to_start_timeout != 0)
		operation->schedule_to_start_timeout = earlier(operation->schedule_to_start_timeout, whole);
	if (operation->start_to_close_timeout != 0)
		operation->start_to_close_timeout = earlier(operation->start_to_close_timeout, whole);
}

void
nexus_arguments_apply_endpoint(NexusNewOperation *operation)
{
	NexusEndpoint *endpoint = nexus_endpoint_get(operation->endpoint, false);

	nexus_endpoint_check_usage(endpoint, operation->owner);
	operation->callback_base = make_callback_base(endpoint);
	trim_timeouts(endpoint, operation);
	nexus_endpoint_free(endpoint);
}

void
nexus_arguments_read_operation(FunctionCallInfo fcinfo, bool is_bytes, NexusNewOperation *operation,
							   NexusKeyPolicy *policy)
{
	memset(operation, 0, sizeof(*operation));
	operation->owner = GetUserId();
	operation->scheduled_time = GetCurrentTimestamp();
	operation->endpoint = read_name(fcinfo, ARG_ENDPOINT, "endpoint");
	operation->service = read_segment(fcinfo, ARG_SERVICE, "service");
	operation->operation = read_segment(fcinfo, ARG_OPERATION, "operation");
	if (is_bytes)
		nexus_input_read_bytes(fcinfo, ARG_INPUT, operation);
	else
		nexus_input_read_json(fcinfo, ARG_INPUT, operation);
	read_options(fcinfo, is_bytes ? 1 : 0, operation, policy);
	nexus_arguments_apply_endpoint(operation);
	nexus_operation_new_id(&operation->id);
}

void
nexus_arguments_read_id(FunctionCallInfo fcinfo, int argument, NexusUuid *id)
{
	if (PG_ARGISNULL(argument))
		raise_null("operation_id");
	memcpy(id->bytes, PG_GETARG_UUID_P(argument)->data, sizeof(id->bytes));
}

TimestampTz
nexus_arguments_read_deadline(FunctionCallInfo fcinfo, int argument, const char *name)
{
	int64		microseconds = nexus_await_timeout * US_PER_MS;

	if (!PG_ARGISNULL(argument))
		microseconds = read_timeout(fcinfo, argument, name);
	return microseconds == 0 ? DT_NOEND : GetCurrentTimestamp() + microseconds;
}

const char *
nexus_arguments_read_reason(FunctionCallInfo fcinfo, int argument)
{
	char	   *value = read_text(fcinfo, argument);

	if (value != NULL)
		check_length("reason", strlen(value), REASON_MAX, NULL);
	return value;
}

void
nexus_arguments_read_headers(FunctionCallInfo fcinfo, int argument, NexusHeaders *headers)
{
	if (PG_ARGISNULL(argument))
		raise_null("headers");
	nexus_caller_headers_append(PG_GETARG_JSONB_P(argument), headers);
}
