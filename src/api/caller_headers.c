/*
 * caller_headers.c
 *	  Take headers out of jsonb, with every rule that holds for them.
 */
#include "postgres.h"

#include "api/caller_headers.h"
#include "config.h"
#include "store/encoding.h"

/* What to do with one header; must not keep the views. */
typedef void (*EachHeader) (NexusText name, NexusText value, void *arg);

static void
raise_no_object(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"headers\" must be a JSON object of strings"),
			 errhint("Pass something like '{\"my-header\": \"value\"}'.")));
}

static NexusText
text_of_value(const JsonbValue *value)
{
	return nexus_text_make(value->val.string.val, value->val.string.len);
}

static NexusText
next_value(JsonbIterator **members, NexusText name)
{
	JsonbValue	value;

	(void) JsonbIteratorNext(members, &value, true);
	if (value.type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("value of header \"%.*s\" must be a string", (int) name.len, name.data),
				 errhint("Pass something like '{\"my-header\": \"value\"}'.")));
	return text_of_value(&value);
}

static void
check_header(NexusText name, NexusText value)
{
	NexusError	error = {0};

	if (!nexus_headers_check(name, value, &error))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"headers\" is not valid: %s", error.message)));
}

static void
each_header(Jsonb *object, EachHeader each, void *arg)
{
	JsonbIterator *members = JsonbIteratorInit(&object->root);
	JsonbValue	item;

	if (!JB_ROOT_IS_OBJECT(object))
		raise_no_object();
	(void) JsonbIteratorNext(&members, &item, false);
	while (JsonbIteratorNext(&members, &item, true) == WJB_KEY)
	{
		NexusText	name = text_of_value(&item);
		NexusText	value = next_value(&members, name);

		check_header(name, value);
		nexus_encoding_check("headers", value);
		each(name, value, arg);
	}
}

/* The object that is stored, while it is built. */
typedef struct StoredHeaders
{
	JsonbParseState *state;
	size_t		bytes;
	uint32		count;
} StoredHeaders;

static void
push_string(StoredHeaders *stored, JsonbIteratorToken token, NexusText text, bool is_lower)
{
	JsonbValue	item;

	item.type = jbvString;
	item.val.string.len = text.len;
	item.val.string.val = pnstrdup(text.data, text.len);
	for (size_t i = 0; is_lower && i < text.len; i++)
		item.val.string.val[i] = pg_ascii_tolower((unsigned char) text.data[i]);
	(void) pushJsonbValue(&stored->state, token, &item);
}

static void
store_header(NexusText name, NexusText value, void *arg)
{
	StoredHeaders *stored = arg;

	if (!nexus_headers_is_allowed_for_caller(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("header \"%.*s\" must not be set by callers", (int) name.len, name.data),
				 errdetail("It says something about the message or the connection that is not theirs to say."),
				 errhint("Leave it out; credentials stand in the endpoint's user mapping.")));
	push_string(stored, WJB_KEY, name, true);
	push_string(stored, WJB_VALUE, value, false);
	stored->bytes += name.len + value.len;
	stored->count++;
}

Datum
nexus_caller_headers_check(Jsonb *object)
{
	StoredHeaders stored = {0};
	Jsonb	   *result;

	(void) pushJsonbValue(&stored.state, WJB_BEGIN_OBJECT, NULL);
	each_header(object, store_header, &stored);
	result = JsonbValueToJsonb(pushJsonbValue(&stored.state, WJB_END_OBJECT, NULL));
	if (JB_ROOT_COUNT(result) < stored.count)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"headers\" has a name twice"),
				 errdetail("Names of headers are the same in upper and lower case."),
				 errhint("Give each header once; a list of values is joined by commas.")));
	if (stored.bytes > (size_t) nexus_max_header_size)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"headers\" is too long"),
				 errdetail("Names and values have %zu bytes, the limit is %d.", stored.bytes, nexus_max_header_size),
				 errhint("Shorten them, or raise \"%s\".", "nexus_pg.max_header_size")));
	return stored.bytes == 0 ? (Datum) 0 : JsonbPGetDatum(result);
}

static void
append_header(NexusText name, NexusText value, void *arg)
{
	if (!nexus_headers_add(arg, name, value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"headers\" is too long"),
				 errhint("Pass the headers of the completion request only.")));
}

void
nexus_caller_headers_append(Jsonb *object, NexusHeaders *headers)
{
	each_header(object, append_header, headers);
}
