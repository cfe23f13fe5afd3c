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
	bool		is_paused;		/* by nexus.pause() */
} NexusIncarnation;

/* Whose an incarnation of the table is. */
typedef enum NexusIncarnationKind
{
	NEXUS_INCARNATION_OWN,
	NEXUS_INCARNATION_ADOPTED,	/* by our own */
	NEXUS_INCARNATION_STRANGE	/* of a database that this one is a copy of */
} NexusIncarnationKind;

/*
 * The incarnation of this database, made in the current transaction where
 * there is none yet (and then waiting for another transaction that just made
 * one).  Kept for the rest of the transaction.
 */
extern void nexus_incarnation_ensure(NexusIncarnation *incarnation);

/* The same without making one: false where there is none. */
extern bool nexus_incarnation_find(NexusIncarnation *incarnation);

/* Call "each" for every incarnation of the table, once for each of its keys. */
typedef void (*NexusEachIncarnation) (const NexusUuid *id, NexusIncarnationKind kind, void *arg);
extern void nexus_incarnation_each(NexusEachIncarnation each, void *arg);

/*
 * Whether the table holds incarnations of somebody else that we did not adopt:
 * this database is a copy, and its worker must not send.
 */
extern bool nexus_incarnation_is_copy(void);

/* Whose this one is; false where the table does not have it. */
extern bool nexus_incarnation_find_kind(const NexusUuid *id, NexusIncarnationKind *kind);

/* Key of any incarnation of the table, for checking tokens. */
extern bool nexus_incarnation_key(const NexusUuid *id, int32 key_number, uint8 key[32]);

/*
 * HMAC-SHA256 by PostgreSQL's own code; arg is a const NexusIncarnation *.  With
 * that incarnation's key number it works outside of a transaction too, with
 * another one the table is read (false where no transaction is open).
 */
extern bool nexus_incarnation_mac(void *arg, int32_t key_number, const uint8_t message[32],
								  uint8_t mac[NEXUS_TOKEN_MAC_LEN]);

#endif							/* NEXUS_STORE_INCARNATION_H */
