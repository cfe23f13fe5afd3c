/*
 * encoding.h
 *	  Text of the database as UTF-8, which is what goes over the wire.
 */
#ifndef NEXUS_STORE_ENCODING_H
#define NEXUS_STORE_ENCODING_H

#include "protocol/text.h"

/*
 * The same text in UTF-8, NUL-terminated where "text" is or where it had to be
 * converted; palloc'd then.  In an encoding other than UTF-8 it needs a
 * transaction.  What cannot be converted stays as it is: the worker must not
 * stumble over one row.
 */
extern NexusText nexus_encoding_to_utf8(NexusText text);

/* The same of a string; NULL stays NULL. */
extern const char *nexus_encoding_string_to_utf8(const char *string);

/* Raise, naming it, where an argument of a function cannot be converted. */
extern void nexus_encoding_check(const char *argument, NexusText text);

#endif							/* NEXUS_STORE_ENCODING_H */
