/*
 * options.h
 *	  Options of servers and user mappings, as the catalogs keep them.
 */
#ifndef NEXUS_STORE_OPTIONS_H
#define NEXUS_STORE_OPTIONS_H

#include "access/htup.h"
#include "nodes/parsenodes.h"

/*
 * An option that is kept as it stands, and the char * field of a struct that
 * it goes to.  Tables of them end with a NULL name.
 */
typedef struct NexusStringOption
{
	const char *name;
	size_t		offset;
} NexusStringOption;

/* The options (DefElem *) in a column of a tuple of a system cache. */
extern List *nexus_options_read(int cache, HeapTuple tuple, AttrNumber column);

/* Copy an option into its field of the struct; false where it has none. */
extern bool nexus_options_take_string(const NexusStringOption *options, void *target, DefElem *option);

/* Free all fields of a table and make them NULL. */
extern void nexus_options_free_strings(const NexusStringOption *options, void *target);

#endif							/* NEXUS_STORE_OPTIONS_H */
