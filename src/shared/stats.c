/*
 * stats.c
 *	  Slots of live figures in shared memory, one per endpoint.
 *
 * One LWLock protects everything.  A worker finds a slot once and then writes
 * by its number: figures of one endpoint are written by one worker only.
 */
#include "postgres.h"

#include "shared/stats.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define SLOTS_MAX 1024

typedef struct EndpointSlot
{
	Oid			database;		/* InvalidOid: the slot is free */
	NameData	endpoint;
	int32		in_flight;
	NexusBreakerState breaker_state;
	TimestampTz breaker_until;
	TimestampTz last_failure_time;
	char		last_failure[sizeof(((NexusEndpointFigures *) 0)->last_failure)];
} EndpointSlot;

typedef struct SharedStats
{
	LWLock		lock;
	int			tranche;
	int			used;			/* slots from here on were never used */
	EndpointSlot slots[SLOTS_MAX];
} SharedStats;

static SharedStats *stats = NULL;

Size
nexus_stats_size(void)
{
	return sizeof(SharedStats);
}

void
nexus_stats_init(void)
{
	bool		found;

	stats = ShmemInitStruct("nexus_stats", nexus_stats_size(), &found);
	if (!found)
	{
		memset(stats, 0, sizeof(SharedStats));
		stats->tranche = LWLockNewTrancheId();
		LWLockInitialize(&stats->lock, stats->tranche);
	}
	LWLockRegisterTranche(stats->tranche, "nexus_stats");
}

/* With the lock held; -1 where the endpoint has no slot. */
static int
find_slot(Oid database, const char *endpoint)
{
	for (int i = 0; i < stats->used; i++)
	{
		if (stats->slots[i].database == database && strcmp(NameStr(stats->slots[i].endpoint), endpoint) == 0)
			return i;
	}
	return -1;
}

static int
make_slot(Oid database, const char *endpoint)
{
	int			i = 0;

	while (i < stats->used && OidIsValid(stats->slots[i].database))
		i++;
	if (i == SLOTS_MAX)
		return -1;
	if (i == stats->used)
		stats->used++;
	memset(&stats->slots[i], 0, sizeof(EndpointSlot));
	stats->slots[i].database = database;
	namestrcpy(&stats->slots[i].endpoint, endpoint);
	return i;
}

int
nexus_stats_slot(Oid database, const char *endpoint)
{
	int			slot;

	if (stats == NULL)
		return -1;
	LWLockAcquire(&stats->lock, LW_EXCLUSIVE);
	slot = find_slot(database, endpoint);
	if (slot < 0)
		slot = make_slot(database, endpoint);
	LWLockRelease(&stats->lock);
	return slot;
}

/* An aligned integer with one writer needs no lock. */
void
nexus_stats_set_in_flight(int slot, int32 in_flight)
{
	if (slot >= 0)
		stats->slots[slot].in_flight = in_flight;
}

void
nexus_stats_set_breaker(int slot, NexusBreakerState state, TimestampTz until)
{
	if (slot < 0)
		return;
	LWLockAcquire(&stats->lock, LW_EXCLUSIVE);
	stats->slots[slot].breaker_state = state;
	stats->slots[slot].breaker_until = until;
	LWLockRelease(&stats->lock);
}

void
nexus_stats_free_slot(int slot)
{
	if (slot < 0)
		return;
	LWLockAcquire(&stats->lock, LW_EXCLUSIVE);
	stats->slots[slot].database = InvalidOid;
	LWLockRelease(&stats->lock);
}

void
nexus_stats_set_failure(int slot, const char *message, TimestampTz at)
{
	if (slot < 0)
		return;
	LWLockAcquire(&stats->lock, LW_EXCLUSIVE);
	strlcpy(stats->slots[slot].last_failure, message, sizeof(stats->slots[slot].last_failure));
	stats->slots[slot].last_failure_time = at;
	LWLockRelease(&stats->lock);
}

void
nexus_stats_clear(Oid database)
{
	if (stats == NULL)
		return;
	LWLockAcquire(&stats->lock, LW_EXCLUSIVE);
	for (int i = 0; i < stats->used; i++)
	{
		if (stats->slots[i].database == database)
			stats->slots[i].database = InvalidOid;
	}
	LWLockRelease(&stats->lock);
}

/* Open until a time, and then the worker writes nothing before it has something to send. */
static void
get_breaker(const EndpointSlot *slot, NexusEndpointFigures *figures)
{
	figures->breaker_state = slot->breaker_state;
	figures->breaker_until = slot->breaker_until;
	if (slot->breaker_state == NEXUS_BREAKER_OPEN && slot->breaker_until <= GetCurrentTimestamp())
	{
		figures->breaker_state = NEXUS_BREAKER_HALF_OPEN;
		figures->breaker_until = 0;
	}
	figures->is_blocked_by_breaker = figures->breaker_state == NEXUS_BREAKER_OPEN
		|| slot->breaker_state == NEXUS_BREAKER_HALF_OPEN;
}

bool
nexus_stats_get(Oid database, const char *endpoint, NexusEndpointFigures *figures)
{
	int			slot = -1;

	memset(figures, 0, sizeof(*figures));
	if (stats == NULL)
		return false;
	LWLockAcquire(&stats->lock, LW_SHARED);
	slot = find_slot(database, endpoint);
	if (slot >= 0)
	{
		figures->in_flight = stats->slots[slot].in_flight;
		get_breaker(&stats->slots[slot], figures);
		figures->last_failure_time = stats->slots[slot].last_failure_time;
		memcpy(figures->last_failure, stats->slots[slot].last_failure, sizeof(figures->last_failure));
	}
	LWLockRelease(&stats->lock);
	return slot >= 0;
}
