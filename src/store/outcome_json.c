/*
 * outcome_json.c
 *	  What of the bytes that peers send can be jsonb in this database.
 */
#include "postgres.h"

#include "store/outcome.h"

#include "compat.h"
#include "mb/pg_wchar.h"
#include "protocol/payload.h"
#include "store/soft_error.h"
#include "store/transaction.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

typedef struct JsonInput
{
	const char *json;
	int			encoding;
	Datum		result;
} JsonInput;

static void
read_json(void *arg)
{
	JsonInput  *input = arg;
	const char *text = pg_any_to_server(input->json, (int) strlen(input->json), input->encoding);

	input->result = DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

/* jsonb_in on text in some encoding. */
static bool
try_jsonb(const char *json, int encoding, Datum *result)
{
	JsonInput	input = {json, encoding, (Datum) 0};

	if (!nexus_soft_error_try(read_json, &input))
		return false;
	*result = input.result;
	return true;
}

/* Replace each \uXXXX above ASCII by '?', in place. */
static void
strip_escapes(char *json)
{
	char	   *to = json;

	for (const char *from = json; *from != '\0';)
	{
		if (from[0] == '\\' && from[1] == 'u' && strspn(from + 2, "0123456789abcdefABCDEF") >= 4)
		{
			if (strncmp(from + 2, "00", 2) == 0 && from[4] < '8')
			{
				memmove(to, from, 6);
				to += 6;
			}
			else
				*to++ = '?';
			from += 6;
		}
		else if (from[0] == '\\' && from[1] != '\0')
		{
			*to++ = *from++;
			*to++ = *from++;
		}
		else
			*to++ = *from++;
	}
	*to = '\0';
}

Datum
nexus_outcome_jsonb(NexusText json)
{
	char	   *text = pnstrdup(json.data, json.len);
	Datum		result;

	/* failures are ASCII, which every encoding has */
	if (try_jsonb(text, GetDatabaseEncoding(), &result))
		return result;
	strip_escapes(text);
	if (try_jsonb(text, GetDatabaseEncoding(), &result))
		return result;
	return DirectFunctionCall1(jsonb_in,
							   CStringGetDatum("{\"message\": \"the failure cannot be shown in this database\"}"));
}

bool
nexus_outcome_is_jsonb_here(NexusText json)
{
	Datum		ignored;

	if (json.len == 0 || !nexus_payload_json_is_safe(json))
		return false;
	if (GetDatabaseEncoding() == PG_UTF8)
		return nexus_is_json(unconstify(char *, json.data), (int) json.len, PG_UTF8);
	/* in another encoding only the whole conversion tells */
	return try_jsonb(pnstrdup(json.data, json.len), PG_UTF8, &ignored);
}

typedef struct JsonCheck
{
	NexusText	json;
	bool		ok;
} JsonCheck;

static void
check_by_conversion(void *arg)
{
	JsonCheck  *check = arg;

	check->ok = nexus_outcome_is_jsonb_here(check->json);
}

bool
nexus_outcome_is_jsonb(NexusText json)
{
	JsonCheck	check = {json, false};

	if (GetDatabaseEncoding() == PG_UTF8)
		return nexus_outcome_is_jsonb_here(json);
	(void) nexus_transaction_run("check a result", check_by_conversion, &check, NULL);
	return check.ok;
}
