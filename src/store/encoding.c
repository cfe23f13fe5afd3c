/*
 * encoding.c
 *	  Text of the database as UTF-8, which is what goes over the wire.
 *
 * Most encodings can always be converted; but SQL_ASCII takes any bytes, and
 * some have codes that stand for nothing.
 */
#include "postgres.h"

#include "store/encoding.h"

#include "mb/pg_wchar.h"
#include "store/soft_error.h"

/* Most texts are the same in all encodings. */
static bool
is_utf8_anyway(NexusText text)
{
	if (GetDatabaseEncoding() == PG_UTF8)
		return true;
	for (size_t i = 0; i < text.len; i++)
	{
		if (IS_HIGHBIT_SET(text.data[i]))
			return false;
	}
	return true;
}

static void
convert_text(void *arg)
{
	NexusText  *text = arg;
	char	   *converted = pg_server_to_any(text->data, (int) text->len, PG_UTF8);

	if (converted != text->data)
		*text = nexus_text_of(converted);
}

/* False where it cannot be. */
static bool
convert(NexusText *text)
{
	return nexus_soft_error_try(convert_text, text);
}

NexusText
nexus_encoding_to_utf8(NexusText text)
{
	if (!is_utf8_anyway(text))
		(void) convert(&text);
	return text;
}

const char *
nexus_encoding_string_to_utf8(const char *string)
{
	return string == NULL ? NULL : nexus_encoding_to_utf8(nexus_text_of(string)).data;
}

void
nexus_encoding_check(const char *argument, NexusText text)
{
	if (is_utf8_anyway(text) || convert(&text))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
			 errmsg("argument \"%s\" cannot be sent as UTF-8", argument),
			 errdetail("It has bytes that are no characters of the database's encoding, \"%s\".",
					   GetDatabaseEncodingName())));
}
