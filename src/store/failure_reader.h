/*
 * failure_reader.h
 *	  What a stored failure (a Nexus Failure as jsonb) says to a person.
 */
#ifndef NEXUS_STORE_FAILURE_READER_H
#define NEXUS_STORE_FAILURE_READER_H

#include "postgres.h"

/*
 * The message of its innermost cause that has one, cut off where it gets
 * long; palloc'd, NULL where nobody put it into words.  0 is no failure.
 */
extern char *nexus_failure_reader_message(Datum failure);

/* timeoutFailureInfo.timeoutType of its details; palloc'd, NULL for none. */
extern char *nexus_failure_reader_timeout_type(Datum failure);

#endif							/* NEXUS_STORE_FAILURE_READER_H */
