/*
 * input.c
 *	  Turn the input of an operation into bytes and a content type.
 *
 * Views convert bytes that are marked as JSON with convert_from and a cast, so
 * the mark is given only where neither can raise.
 */
#include "postgres.h"

#include "api/arguments.h"
#include "api/input.h"
#include "config.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "protocol/headers.h"
#include "store/encoding.h"
#include "store/outcome.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#define JSON_CONTENT_TYPE "application/json"

/* Text in the database's encoding behind a bytea header, as a bytea in UTF-8. */
static bytea *
encode_bytes(StringInfo text)
{
	int			len = text->len - VARHDRSZ;
	char	   *encoded = pg_server_to_any(text->data + VARHDRSZ, len, PG_UTF8);
	bytea	   *bytes = (bytea *) text->data;

	if (encoded != text->data + VARHDRSZ)
	{
		len = strlen(encoded);
		bytes = palloc(VARHDRSZ + len);
		memcpy(VARDATA(bytes), encoded, len);
	}
	SET_VARSIZE(bytes, VARHDRSZ + len);
	return bytes;
}

void
nexus_input_read_json(FunctionCallInfo fcinfo, int argument, NexusNewOperation *operation)
{
	static const char header[VARHDRSZ] = {0};
	StringInfoData text;
	Jsonb	   *input;

	if (PG_ARGISNULL(argument))
		return;
	input = PG_GETARG_JSONB_P(argument);
	initStringInfo(&text);
	appendBinaryStringInfo(&text, header, VARHDRSZ);
	(void) JsonbToCString(&text, &input->root, VARSIZE(input));

	operation->input = encode_bytes(&text);
	nexus_arguments_check_payload("input", VARSIZE(operation->input) - VARHDRSZ);
	operation->input_content_type = JSON_CONTENT_TYPE;
	operation->input_is_json = true;
}

/* Parameters of the media type change nothing, as in protocol/payload.c. */
static bool
is_json_content_type(const char *content_type)
{
	NexusText	rest;
	NexusText	media_type = nexus_text_trim(nexus_text_cut(nexus_text_of(content_type), ';', &rest));

	return nexus_text_equal_fold(media_type, nexus_text_of(JSON_CONTENT_TYPE));
}

static char *
read_content_type(FunctionCallInfo fcinfo, int argument)
{
	NexusError	error = {0};
	char	   *value;

	if (PG_ARGISNULL(argument))
		return NULL;
	value = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	if (value[0] == '\0')
		nexus_error_set(&error, "it must not be empty, but it may be null");
	if (strlen(value) > (size_t) nexus_max_header_size)
		nexus_error_set(&error, "it has %zu bytes, the limit is %d", strlen(value), nexus_max_header_size);
	nexus_headers_check(nexus_text_of("content-type"), nexus_text_of(value), &error);
	if (error.is_set)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"content_type\" is not valid: %s", error.message)));
	nexus_encoding_check("content_type", nexus_text_of(value));
	return value;
}

void
nexus_input_read_bytes(FunctionCallInfo fcinfo, int argument, NexusNewOperation *operation)
{
	char	   *content_type = read_content_type(fcinfo, argument + 1);

	if (PG_ARGISNULL(argument))
		return;
	operation->input = PG_GETARG_BYTEA_P(argument);
	nexus_arguments_check_payload("input", VARSIZE(operation->input) - VARHDRSZ);
	operation->input_content_type = content_type;
	operation->input_is_json = content_type != NULL && is_json_content_type(content_type) &&
		nexus_outcome_is_jsonb_here(nexus_text_make(VARDATA(operation->input),
													VARSIZE(operation->input) - VARHDRSZ));
}
