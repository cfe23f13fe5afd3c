/*
 * request.h
 *	  What users ask of an operation: inserted rows that the worker takes.
 */
#ifndef NEXUS_STORE_REQUEST_H
#define NEXUS_STORE_REQUEST_H

#include "postgres.h"
#include "protocol/uuid.h"

/*
 * Ask in the current transaction; kind is "cancel" or "terminate".  False
 * where the same was asked already.
 */
extern bool nexus_request_insert(const char *kind, const NexusUuid *operation_id,
								 const NexusUuid *incarnation, const char *reason);

#endif							/* NEXUS_STORE_REQUEST_H */
