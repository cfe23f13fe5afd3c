/*
 * failure_reader.c
 *	  What a stored failure says to a person.
 */
#include "postgres.h"

#include "store/failure_reader.h"

#include "mb/pg_wchar.h"
#include "utils/jsonb.h"

/* More of a cause than this is no message any more. */
#define MESSAGE_MAX 1000

static JsonbContainer *
container_of(Datum failure)
{
	return failure == (Datum) 0 ? NULL : &DatumGetJsonbP(failure)->root;
}

/* A member of an object; NULL where there is none, or it is no object. */
static JsonbValue *
find_member(JsonbContainer *container, const char *name)
{
	if (container == NULL || !JsonContainerIsObject(container))
		return NULL;
	return getKeyJsonValueFromContainer(container, name, strlen(name), NULL);
}

static JsonbContainer *
find_object(JsonbContainer *container, const char *name)
{
	JsonbValue *value = find_member(container, name);

	return value != NULL && value->type == jbvBinary ? value->val.binary.data : NULL;
}

static char *
find_string(JsonbContainer *container, const char *name)
{
	JsonbValue *value = find_member(container, name);
	int			len;

	if (value == NULL || value->type != jbvString || value->val.string.len == 0)
		return NULL;
	len = pg_mbcliplen(value->val.string.val, value->val.string.len, MESSAGE_MAX);
	return pnstrdup(value->val.string.val, len);
}

char *
nexus_failure_reader_message(Datum failure)
{
	char	   *innermost = NULL;

	for (JsonbContainer *at = container_of(failure); at != NULL; at = find_object(at, "cause"))
	{
		char	   *message = find_string(at, "message");

		if (message != NULL)
			innermost = message;
	}
	return innermost;
}

char *
nexus_failure_reader_timeout_type(Datum failure)
{
	JsonbContainer *details = find_object(container_of(failure), "details");

	return find_string(find_object(details, "timeoutFailureInfo"), "timeoutType");
}
