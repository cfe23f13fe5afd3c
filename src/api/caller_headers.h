/*
 * caller_headers.h
 *	  Headers that callers give as a JSON object of strings.
 */
#ifndef NEXUS_API_CALLER_HEADERS_H
#define NEXUS_API_CALLER_HEADERS_H

#include "postgres.h"
#include "protocol/headers.h"
#include "utils/jsonb.h"

/*
 * The headers of an operation with their names in lower case, as jsonb, 0
 * where there are none.  Raises for what may not be sent.
 */
extern Datum nexus_caller_headers_check(Jsonb *object);

/* Append headers as they are; raises for what cannot be any. */
extern void nexus_caller_headers_append(Jsonb *object, NexusHeaders *headers);

#endif							/* NEXUS_API_CALLER_HEADERS_H */
