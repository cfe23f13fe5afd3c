/*
 * waiting.h
 *	  Read an operation on behalf of a user, and sleep until awaiting it ends.
 */
#ifndef NEXUS_API_WAITING_H
#define NEXUS_API_WAITING_H

#include "postgres.h"
#include "store/operation.h"

/*
 * The operation as of now.  Where there is none, or the current user may not
 * see it, the same error: 42704.
 */
extern NexusOperationRow *nexus_waiting_read(const NexusUuid *id);

/*
 * Raise NX009 for an operation that the current transaction scheduled: it is
 * not sent before the commit, so waiting for it would never end.
 */
extern void nexus_waiting_refuse_own(const NexusOperationRow *row);

/* Raise NX010 where the library is not preloaded. */
extern void nexus_waiting_require_preload(void);

/*
 * Sleep until all of these operations are closed (or gone); false at the
 * deadline.  Holds no lock, and no snapshot of its own.
 */
extern bool nexus_waiting_until_closed(const NexusUuid *ids, int count, TimestampTz deadline);

/*
 * The same for one operation, until awaiting it ends by its cancellation type
 * (nexus_operation_await_end), which may be before it is closed.
 */
extern bool nexus_waiting_until_ended(const NexusUuid *id, TimestampTz deadline);

/* Raise NX005 for an operation that is still awaited. */
extern void nexus_waiting_raise_timeout(const NexusOperationRow *row) pg_attribute_noreturn();

#endif							/* NEXUS_API_WAITING_H */
