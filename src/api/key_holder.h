/*
 * key_holder.h
 *	  Whether a business id makes a new operation, or means one that is there.
 */
#ifndef NEXUS_API_KEY_HOLDER_H
#define NEXUS_API_KEY_HOLDER_H

#include "postgres.h"
#include "store/operation_key.h"

/* When a closed operation gives way to a new one; an open one never does. */
typedef enum NexusKeyPolicy
{
	NEXUS_KEY_ALLOW_DUPLICATE_FAILED_ONLY,	/* unless it succeeded */
	NEXUS_KEY_ALLOW_DUPLICATE,
	NEXUS_KEY_REJECT_DUPLICATE
} NexusKeyPolicy;

/*
 * The last row of the operation's key once no other transaction is writing it,
 * which is waited for interruptibly; NX005 at "deadline".  The operation is
 * made to follow it: key_generation and key_predecessor are set.
 */
extern void nexus_key_holder_follow(NexusNewOperation *operation, TimestampTz deadline, NexusKeyRow *last);

/*
 * Whether an operation holds the key, so that none is to be made: its id is
 * then in *id.  Raises 42501 where the current user may not see it.  Otherwise
 * the operation follows the last one, as above.
 */
extern bool nexus_key_holder_find(NexusNewOperation *operation, NexusKeyPolicy policy, TimestampTz deadline,
								  NexusUuid *id);

#endif							/* NEXUS_API_KEY_HOLDER_H */
