/*
 * request.h
 *	  What users ask of an operation: inserted rows that the worker takes.
 */
#ifndef NEXUS_STORE_REQUEST_H
#define NEXUS_STORE_REQUEST_H

#include "postgres.h"
#include "protocol/uuid.h"

typedef enum NexusRequestKind
{
	NEXUS_REQUEST_CANCEL,
	NEXUS_REQUEST_TERMINATE,
	NEXUS_REQUEST_RETRY,
	NEXUS_REQUEST_RETRY_AS_NEW, /* done already: the worker leaves it alone */
	NEXUS_REQUEST_PAUSE,
	NEXUS_REQUEST_RESUME
} NexusRequestKind;

/* What a resume may say of copied operations, as the reason of its request. */
#define NEXUS_RESUME_ADOPT "adopt"
#define NEXUS_RESUME_TERMINATE "terminate"

extern const char *nexus_request_kind_name(NexusRequestKind kind);
extern NexusRequestKind nexus_request_kind_of_name(const char *name);

/*
 * Ask in the current transaction; false where the same was asked already.  Where
 * "operation_id" is NULL it is asked of the whole database: as often as one
 * likes, each request having its own id in place of an operation's.
 */
extern bool nexus_request_insert(NexusRequestKind kind, const NexusUuid *operation_id,
								 const NexusUuid *incarnation, const char *reason);

/*
 * Say in the current transaction that a new operation takes the place of a
 * closed one, once.  Where one does already, false, and *new_id is its id;
 * a transaction that is just saying so is waited for.
 */
extern bool nexus_request_insert_new(const NexusUuid *operation_id, const NexusUuid *incarnation, NexusUuid *new_id);

#endif							/* NEXUS_STORE_REQUEST_H */
