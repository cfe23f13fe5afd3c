/*
 * incarnation.c
 *	  Find or make the incarnation of this database.
 *
 * The table has a handful of rows, so it is read whole, by SnapshotSelf: what
 * another transaction has just committed counts at every isolation level.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "common/cryptohash.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "config.h"
#include "miscadmin.h"
#include "store/incarnation.h"
#include "store/operation.h"
#include "store/relation.h"
#include "store/row.h"
#include "utils/builtins.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#define INCARNATION_TABLE "incarnation"
#define FIRST_KEY_NUMBER 1
#define KEY_LEN 32

/* Incarnation and operation id. */
#define MESSAGE_LEN 32

/* A row of the table. */
typedef struct IncarnationRow
{
	NexusIncarnation incarnation;
	bool		is_ours;
	bool		is_adopted;
	NexusUuid	adopted_by;		/* valid when adopted */
} IncarnationRow;

/* False ends the scan. */
typedef bool (*EachIncarnation) (const IncarnationRow *row, void *arg);

/* What nexus_incarnation_find() found in this transaction. */
static NexusIncarnation cached;
static bool is_cached = false;

static const char *
cluster_identity(void)
{
	if (nexus_cluster_identity[0] != '\0')
		return nexus_cluster_identity;
	return psprintf(UINT64_FORMAT, GetSystemIdentifier());
}

static void
on_transaction(XactEvent event, void *arg)
{
	is_cached = false;
}

/* What the subtransaction made is gone. */
static void
on_subtransaction(SubXactEvent event, SubTransactionId subtransaction, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		is_cached = false;
}

static void
register_callbacks(void)
{
	static bool is_registered = false;

	if (is_registered)
		return;
	RegisterXactCallback(on_transaction, NULL);
	RegisterSubXactCallback(on_subtransaction, NULL);
	is_registered = true;
}

static void
read_row(Relation relation, HeapTuple tuple, const char *identity, IncarnationRow *row)
{
	bool		is_null;
	Datum		key;
	Datum		adopted_by;

	memcpy(row->incarnation.id.bytes,
		   DatumGetUUIDP(nexus_relation_get(relation, tuple, "id", &is_null))->data, UUID_LEN);
	row->incarnation.key_number = DatumGetInt32(nexus_relation_get(relation, tuple, "key_number", &is_null));

	key = nexus_relation_get(relation, tuple, "key", &is_null);
	if (VARSIZE_ANY_EXHDR(DatumGetPointer(key)) != KEY_LEN)
		elog(ERROR, "key of incarnation has a wrong length");
	memcpy(row->incarnation.key, VARDATA_ANY(DatumGetPointer(key)), KEY_LEN);

	row->is_ours = DatumGetObjectId(nexus_relation_get(relation, tuple, "database", &is_null)) == MyDatabaseId &&
		strcmp(TextDatumGetCString(nexus_relation_get(relation, tuple, "identity", &is_null)), identity) == 0;
	row->incarnation.is_paused = DatumGetBool(nexus_relation_get(relation, tuple, "paused", &is_null));
	adopted_by = nexus_relation_get(relation, tuple, "adopted_by", &is_null);
	row->is_adopted = !is_null;
	if (row->is_adopted)
		memcpy(row->adopted_by.bytes, DatumGetUUIDP(adopted_by)->data, UUID_LEN);
}

static void
scan(EachIncarnation each, void *arg)
{
	Relation	relation = nexus_relation_open(INCARNATION_TABLE, AccessShareLock);
	SysScanDesc tuples = systable_beginscan(relation, InvalidOid, false, SnapshotSelf, 0, NULL);
	const char *identity = cluster_identity();
	bool		goes_on = true;
	HeapTuple	tuple;

	while (goes_on && HeapTupleIsValid(tuple = systable_getnext(tuples)))
	{
		IncarnationRow row;

		read_row(relation, tuple, identity, &row);
		goes_on = each(&row, arg);
		explicit_bzero(&row, sizeof(row));
	}
	systable_endscan(tuples);
	table_close(relation, AccessShareLock);
}

/* The newest key of ours. */
static bool
take_ours(const IncarnationRow *row, void *arg)
{
	if (row->is_ours && (!is_cached || row->incarnation.key_number > cached.key_number))
	{
		cached = row->incarnation;
		is_cached = true;
	}
	return true;
}

bool
nexus_incarnation_find(NexusIncarnation *incarnation)
{
	register_callbacks();
	if (!is_cached)
		scan(take_ours, NULL);
	if (is_cached)
		*incarnation = cached;
	return is_cached;
}

/* Insert one unless somebody else has just done so. */
static void
make_incarnation(void)
{
	Relation	relation = nexus_relation_open(INCARNATION_TABLE, RowExclusiveLock);
	NexusRow   *row = nexus_row_create(relation);
	bytea	   *key = palloc(VARHDRSZ + KEY_LEN);
	NexusUuid	id;

	SET_VARSIZE(key, VARHDRSZ + KEY_LEN);
	if (!pg_strong_random(VARDATA(key), KEY_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	nexus_operation_new_id(&id);
	nexus_row_set(row, "id", PointerGetDatum(&id));
	nexus_row_set(row, "key_number", Int32GetDatum(FIRST_KEY_NUMBER));
	nexus_row_set(row, "key", PointerGetDatum(key));
	nexus_row_set(row, "identity", CStringGetTextDatum(cluster_identity()));
	nexus_row_set(row, "database", ObjectIdGetDatum(MyDatabaseId));
	nexus_row_set(row, "created_time", TimestampTzGetDatum(GetCurrentTimestamp()));
	(void) nexus_row_insert_if_new(row);
	nexus_row_destroy(row);
	explicit_bzero(VARDATA(key), KEY_LEN);
	table_close(relation, NoLock);
}

void
nexus_incarnation_ensure(NexusIncarnation *incarnation)
{
	/* Not there after the insert: made by another one, and gone again. */
	while (!nexus_incarnation_find(incarnation))
	{
		CHECK_FOR_INTERRUPTS();
		make_incarnation();
	}
}

/* Going through the incarnations, knowing which one is ours. */
typedef struct KindScan
{
	NexusIncarnation own;
	bool		has_own;
	NexusEachIncarnation each;
	void	   *arg;
} KindScan;

static bool
tell_kind(const IncarnationRow *row, void *arg)
{
	const KindScan *kinds = arg;
	NexusIncarnationKind kind = NEXUS_INCARNATION_STRANGE;

	if (row->is_ours)
		kind = NEXUS_INCARNATION_OWN;
	else if (row->is_adopted && kinds->has_own
			 && memcmp(&row->adopted_by, &kinds->own.id, sizeof(NexusUuid)) == 0)
		kind = NEXUS_INCARNATION_ADOPTED;
	kinds->each(&row->incarnation.id, kind, kinds->arg);
	return true;
}

void
nexus_incarnation_each(NexusEachIncarnation each, void *arg)
{
	KindScan	kinds = {.each = each,.arg = arg};

	kinds.has_own = nexus_incarnation_find(&kinds.own);
	scan(tell_kind, &kinds);
	explicit_bzero(&kinds, sizeof(kinds));
}

static void
look_for_stranger(const NexusUuid *id, NexusIncarnationKind kind, void *arg)
{
	*(bool *) arg |= kind == NEXUS_INCARNATION_STRANGE;
}

bool
nexus_incarnation_is_copy(void)
{
	bool		is_copy = false;

	nexus_incarnation_each(look_for_stranger, &is_copy);
	return is_copy;
}

/* An incarnation that is looked for. */
typedef struct WantedKind
{
	const NexusUuid *id;
	NexusIncarnationKind kind;
	bool		is_found;
} WantedKind;

static void
take_kind(const NexusUuid *id, NexusIncarnationKind kind, void *arg)
{
	WantedKind *wanted = arg;

	if (memcmp(id, wanted->id, sizeof(NexusUuid)) != 0)
		return;
	wanted->kind = kind;
	wanted->is_found = true;
}

bool
nexus_incarnation_find_kind(const NexusUuid *id, NexusIncarnationKind *kind)
{
	WantedKind	wanted = {.id = id};

	nexus_incarnation_each(take_kind, &wanted);
	*kind = wanted.kind;
	return wanted.is_found;
}

/* A key that is looked for. */
typedef struct WantedKey
{
	const NexusUuid *id;
	int32		key_number;
	uint8	   *key;
	bool		is_found;
} WantedKey;

static bool
take_key(const IncarnationRow *row, void *arg)
{
	WantedKey  *wanted = arg;

	if (row->incarnation.key_number != wanted->key_number ||
		memcmp(row->incarnation.id.bytes, wanted->id->bytes, UUID_LEN) != 0)
		return true;
	memcpy(wanted->key, row->incarnation.key, KEY_LEN);
	wanted->is_found = true;
	return false;
}

bool
nexus_incarnation_key(const NexusUuid *id, int32 key_number, uint8 key[32])
{
	WantedKey	wanted = {0};

	wanted.id = id;
	wanted.key_number = key_number;
	wanted.key = key;
	scan(take_key, &wanted);
	return wanted.is_found;
}

static bool
compute_mac(const uint8 *key, const uint8_t message[32], uint8_t mac[NEXUS_TOKEN_MAC_LEN])
{
	pg_hmac_ctx *context = pg_hmac_create(PG_SHA256);
	bool		is_done;

	if (context == NULL)
		return false;
	is_done = pg_hmac_init(context, key, KEY_LEN) >= 0 &&
		pg_hmac_update(context, message, MESSAGE_LEN) >= 0 &&
		pg_hmac_final(context, mac, NEXUS_TOKEN_MAC_LEN) >= 0;
	pg_hmac_free(context);
	return is_done;
}

/* The library's contexts belong to a resource owner; without a transaction there is none. */
static bool
compute_mac_anywhere(const uint8 *key, const uint8_t message[32], uint8_t mac[NEXUS_TOKEN_MAC_LEN])
{
	static ResourceOwner owner = NULL;
	ResourceOwner caller = CurrentResourceOwner;
	bool		is_done;

	if (caller != NULL)
		return compute_mac(key, message, mac);
	if (owner == NULL)
		owner = ResourceOwnerCreate(NULL, "nexus callback token");
	CurrentResourceOwner = owner;
	is_done = compute_mac(key, message, mac);
	CurrentResourceOwner = NULL;
	return is_done;
}

bool
nexus_incarnation_mac(void *arg, int32_t key_number, const uint8_t message[32],
					  uint8_t mac[NEXUS_TOKEN_MAC_LEN])
{
	const NexusIncarnation *incarnation = arg;
	uint8		key[KEY_LEN];
	bool		is_done;

	if (key_number == incarnation->key_number)
		return compute_mac_anywhere(incarnation->key, message, mac);
	if (!IsTransactionState() || !nexus_incarnation_key(&incarnation->id, key_number, key))
		return false;
	is_done = compute_mac_anywhere(key, message, mac);
	explicit_bzero(key, sizeof(key));
	return is_done;
}
