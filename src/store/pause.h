/*
 * pause.h
 *	  What nexus.pause() and resume() asked for, stored.
 */
#ifndef NEXUS_STORE_PAUSE_H
#define NEXUS_STORE_PAUSE_H

#include "postgres.h"
#include "protocol/uuid.h"

/*
 * Store whether sending is paused, and delete the request that asked for it; in
 * nexus_transaction_run.  It is read again with the incarnation.
 */
extern void nexus_pause_store(const NexusUuid *incarnation, bool is_paused, const NexusUuid *request);

#endif							/* NEXUS_STORE_PAUSE_H */
