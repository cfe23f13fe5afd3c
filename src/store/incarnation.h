/*
 * incarnation.h
 *	  Who this database is, as itself and not as a copy.
 */
#ifndef NEXUS_STORE_INCARNATION_H
#define NEXUS_STORE_INCARNATION_H

#include "postgres.h"
#include "protocol/token.h"
#include "protocol/uuid.h"

typedef struct NexusIncarnation
{
	NexusUuid	id;
	int32		key_number;		/* the newest key, for new tokens */
	uint8		key[32];
} NexusIncarnation;

/*
 * The incarnation of this database, made in the current transaction where
 * there is none yet (and then waiting for another transaction that just made
 * one).  Kept for the rest of the transaction.
 */
extern void nexus_incarnation_ensure(NexusIncarnation *incarnation);

/* The same without making one: false where there is none. */
extern bool nexus_incarnation_find(NexusIncarnation *incarnation);

/*
 * Whether the table holds incarnations of somebody else that nobody adopted:
 * this database is a copy, and its worker must not send.
 */
extern bool nexus_incarnation_is_copy(void);

/* Key of any incarnation of the table, ours or adopted; for checking tokens. */
extern bool nexus_incarnation_key(const NexusUuid *id, int32 key_number, uint8 key[32]);

/*
 * HMAC-SHA256 by PostgreSQL's own code; arg is a const NexusIncarnation *.  With
 * that incarnation's key number it works outside of a transaction too, with
 * another one the table is read (false where no transaction is open).
 */
extern bool nexus_incarnation_mac(void *arg, int32_t key_number, const uint8_t message[32],
								  uint8_t mac[NEXUS_TOKEN_MAC_LEN]);

#endif							/* NEXUS_STORE_INCARNATION_H */
