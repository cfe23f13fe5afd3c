/*
 * outcome_json.c
 *	  What of the bytes that peers send can be jsonb in this database.
 */
#include "postgres.h"

#include "store/outcome.h"

#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "protocol/payload.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

/*
 * jsonb_in on text in the database's encoding.  The only errors are about the
 * text itself, raised by pure functions, so catching them needs no
 * subtransaction.
 */
static bool
try_jsonb(const char *json, Datum *result)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool ok = true;

	PG_TRY();
	{
		*result = DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		ok = false;
	}
	PG_END_TRY();
	return ok;
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

	if (try_jsonb(text, &result))
		return result;
	strip_escapes(text);
	if (try_jsonb(text, &result))
		return result;
	return DirectFunctionCall1(jsonb_in,
							   CStringGetDatum("{\"message\": \"the failure cannot be shown in this database\"}"));
}

/* In UTF-8 the parser alone tells, without building anything or raising. */
static bool
is_valid_utf8_json(NexusText json)
{
	JsonLexContext *lex = makeJsonLexContextCstringLen(unconstify(char *, json.data), (int) json.len, PG_UTF8, true);
	bool		ok = pg_parse_json(lex, &nullSemAction) == JSON_SUCCESS;

	pfree(lex->strval->data);
	pfree(lex->strval);
	pfree(lex);
	return ok;
}

bool
nexus_outcome_is_jsonb(NexusText json)
{
	MemoryContext context;
	MemoryContext old;
	volatile bool ok = true;

	if (json.len == 0 || !nexus_payload_json_is_safe(json))
		return false;
	if (GetDatabaseEncoding() == PG_UTF8)
		return is_valid_utf8_json(json);

	context = AllocSetContextCreate(CurrentMemoryContext, "nexus json check", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	PG_TRY();
	{
		char	   *text = pg_any_to_server(pnstrdup(json.data, json.len), (int) json.len, PG_UTF8);
		Datum		ignored;

		ok = try_jsonb(text, &ignored);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		ok = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return ok;
}
