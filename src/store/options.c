/*
 * options.c
 *	  Take options of servers and user mappings from the catalogs.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "commands/defrem.h"
#include "store/options.h"
#include "utils/syscache.h"

List *
nexus_options_read(int cache, HeapTuple tuple, AttrNumber column)
{
	bool		is_null;
	Datum		options = SysCacheGetAttr(cache, tuple, column, &is_null);

	return is_null ? NIL : untransformRelOptions(options);
}

static char **
field_at(void *target, size_t offset)
{
	return (char **) ((char *) target + offset);
}

bool
nexus_options_take_string(const NexusStringOption *options, void *target, DefElem *option)
{
	for (; options->name != NULL; options++)
	{
		if (strcmp(options->name, option->defname) == 0)
		{
			*field_at(target, options->offset) = pstrdup(defGetString(option));
			return true;
		}
	}
	return false;
}

void
nexus_options_free_strings(const NexusStringOption *options, void *target)
{
	for (; options->name != NULL; options++)
	{
		char	  **field = field_at(target, options->offset);

		if (*field != NULL)
			pfree(*field);
		*field = NULL;
	}
}
