/*
 * retention.c
 *	  How long closed operations are kept, and when they go.
 *
 * Endpoints with the same retention are a class; one more has all that the
 * setting is for.  Each class goes through the index on close_time once, from a
 * floor of its own, and leaves the rows of other classes alone.
 */
#include "postgres.h"

#include "worker/retention.h"

#include "config.h"
#include "store/endpoint.h"
#include "store/retention.h"
#include "store/transaction.h"
#include "store/unix_time.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/*
 * Between two bites of a class that keeps up: long enough for a full one, so that
 * the rate of closes finds it, and at most a hundredth of the retention.
 */
#define MIN_WAIT INT64CONST(10000)	/* 10 ms */
#define MAX_WAIT_FLOOR INT64CONST(1000000)	/* 1 s */
#define MAX_WAIT INT64CONST(3600000000) /* 1 hour */
#define ERROR_WAIT INT64CONST(60000000) /* 1 minute */
#define LOCKED_MIN_WAIT INT64CONST(1000000) /* then twice as long each time */

typedef struct RetentionClass
{
	int64		kept_us;
	TimestampTz floor;			/* what closed before has been looked at */
	TimestampTz next;			/* close time of what to look at next */
	TimestampTz run_time;		/* not before */
	int64		wait;
	TimestampTz locked;			/* the floor has passed a locked row of this
								 * close time; DT_NOEND: none */
	TimestampTz locked_time;	/* when to look at it again */
	int64		locked_wait;
} RetentionClass;

/* An endpoint with a retention of its own. */
typedef struct OwnEntry
{
	char		endpoint[NAMEDATALEN];
	int64		kept_us;		/* 0 = for ever */
} OwnEntry;

struct NexusRetention
{
	NexusWorker *worker;
	bool		is_stale;		/* classes are to be made, or made anew */
	TimestampTz retry_time;		/* making them failed: not before */
	MemoryContext context;		/* of own and classes; NULL at first */
	HTAB	   *own;
	RetentionClass *classes;
	int			count;
	bool		has_closed;		/* an operation is known to have closed */
	TimestampTz last_deleted;	/* close time; grows */
};

/* A bite in its transaction. */
typedef struct Run
{
	NexusRetention *retention;
	RetentionClass *class;
	NexusRetentionBite bite;
} Run;

NexusRetention *
nexus_retention_create(NexusWorker *worker, TimestampTz last_deleted)
{
	NexusRetention *retention = palloc0(sizeof(NexusRetention));

	retention->worker = worker;
	retention->is_stale = true;
	retention->retry_time = DT_NOBEGIN;
	retention->last_deleted = last_deleted;
	return retention;
}

void
nexus_retention_note_closed(NexusRetention *retention, TimestampTz close_time)
{
	retention->has_closed |= close_time != DT_NOEND;
	for (int i = 0; i < retention->count; i++)
	{
		RetentionClass *class = &retention->classes[i];

		class->next = Min(class->next, close_time);
		class->floor = Min(class->floor, close_time);
	}
}

void
nexus_retention_catalog_changed(NexusRetention *retention)
{
	retention->is_stale = true;
}

/* ---- classes ---- */

static int64
setting_us(void)
{
	return nexus_retention * INT64CONST(1000000);
}

/* Of an endpoint, by what was read last; 0 = for ever. */
static int64
kept_us(const NexusRetention *retention, const char *endpoint)
{
	const OwnEntry *entry = hash_search(retention->own, endpoint, HASH_FIND, NULL);

	return entry != NULL ? entry->kept_us : setting_us();
}

static RetentionClass *
find_class(RetentionClass *classes, int count, int64 kept)
{
	for (int i = 0; i < count; i++)
		if (classes[i].kept_us == kept)
			return &classes[i];
	return NULL;
}

static void
add_class(NexusRetention *fresh, int64 kept)
{
	RetentionClass *class = &fresh->classes[fresh->count];

	if (kept == 0 || find_class(fresh->classes, fresh->count, kept) != NULL)
		return;
	class->kept_us = kept;
	class->floor = DT_NOBEGIN;
	class->next = DT_NOBEGIN;	/* a bite finds what is there */
	class->run_time = DT_NOBEGIN;
	class->wait = MIN_WAIT;
	class->locked = DT_NOEND;
	class->locked_wait = LOCKED_MIN_WAIT;
	fresh->count++;
}

static bool
is_same(const NexusRetention *a, const NexusRetention *b)
{
	HASH_SEQ_STATUS status;
	const OwnEntry *entry;

	if (a->own == NULL || a->count != b->count || hash_get_num_entries(a->own) != hash_get_num_entries(b->own))
		return false;
	for (int i = 0; i < b->count; i++)
		if (find_class(a->classes, a->count, b->classes[i].kept_us) == NULL)
			return false;
	hash_seq_init(&status, b->own);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		const OwnEntry *other = hash_search(a->own, entry->endpoint, HASH_FIND, NULL);

		if (other == NULL || other->kept_us != entry->kept_us)
		{
			hash_seq_term(&status);
			return false;
		}
	}
	return true;
}

static void
add_own(NexusRetention *fresh, const NexusEndpoint *endpoint)
{
	OwnEntry   *entry = hash_search(fresh->own, endpoint->name, HASH_ENTER, NULL);

	entry->kept_us = endpoint->retention_us;
	add_class(fresh, endpoint->retention_us);
}

/* Read what the catalogs say; floors stay as they are unless it is something new. */
static void
read_classes(NexusRetention *retention)
{
	List	   *names = nexus_endpoint_names();
	NexusRetention fresh = *retention;
	HASHCTL		control = {.keysize = NAMEDATALEN,.entrysize = sizeof(OwnEntry)};
	ListCell   *cell;

	/* goes with the transaction, unless it is kept */
	fresh.context = AllocSetContextCreate(CurrentMemoryContext, "nexus retention", ALLOCSET_SMALL_SIZES);
	control.hcxt = fresh.context;
	fresh.own = hash_create("nexus retention", 16, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	fresh.classes = MemoryContextAllocZero(fresh.context, sizeof(RetentionClass) * (list_length(names) + 1));
	fresh.count = 0;
	add_class(&fresh, setting_us());
	foreach(cell, names)
	{
		NexusEndpoint *endpoint = nexus_endpoint_get(lfirst(cell), true);

		if (endpoint != NULL && endpoint->retention_us >= 0)
			add_own(&fresh, endpoint);
	}
	retention->is_stale = false;
	if (is_same(retention, &fresh))
		return;
	if (retention->context != NULL)
		MemoryContextDelete(retention->context);
	MemoryContextSetParent(fresh.context, retention->worker->context);
	fresh.is_stale = false;
	*retention = fresh;
}

static void
read_classes_in_transaction(void *arg)
{
	read_classes(arg);
}

/* ---- bites ---- */

static TimestampTz
due_time(const RetentionClass *class)
{
	TimestampTz due = class->next == DT_NOEND ? DT_NOEND : Max(class->next + class->kept_us, class->run_time);

	return class->locked == DT_NOEND ? due : Min(due, class->locked_time);
}

static RetentionClass *
first_due(const NexusRetention *retention)
{
	RetentionClass *first = NULL;

	for (int i = 0; i < retention->count; i++)
		if (first == NULL || due_time(&retention->classes[i]) < due_time(first))
			first = &retention->classes[i];
	return first;
}

TimestampTz
nexus_retention_next(const NexusRetention *retention)
{
	const RetentionClass *class = first_due(retention);

	if (nexus_group_is_failing(retention->worker->group) || !retention->has_closed)
		return DT_NOEND;
	if (retention->is_stale)
		return retention->retry_time;
	return class == NULL ? DT_NOEND : due_time(class);
}

static bool
is_meant(const char *endpoint, void *arg)
{
	const RetentionClass *class = ((Run *) arg)->class;

	return kept_us(((Run *) arg)->retention, endpoint) == class->kept_us;
}

static void
bite_in_transaction(void *arg)
{
	nexus_retention_bite(&((Run *) arg)->bite);
}

/* When to come back: at once while behind, else when there is about a bite to take. */
static void
set_pace(RetentionClass *class, const NexusRetentionBite *bite, TimestampTz now)
{
	int64		max_wait = Min(Max(class->kept_us / 100, MAX_WAIT_FLOOR), MAX_WAIT);

	if (!bite->is_end)
	{
		class->run_time = DT_NOBEGIN;
		class->wait = Max(class->wait / 2, MIN_WAIT);
		return;
	}
	if (bite->deleted < NEXUS_RETENTION_MAX_DELETED / 2)
		class->wait = Min(class->wait * 2, max_wait);
	class->run_time = now + class->wait;
}

/* The floor has to go back to what was locked, some time. */
static void
note_locked(RetentionClass *class, const NexusRetentionBite *bite, TimestampTz now)
{
	if (bite->first_locked != DT_NOEND)
	{
		if (class->locked == DT_NOEND)
		{
			class->locked_time = now + class->locked_wait;
			class->locked_wait = Min(class->locked_wait * 2, MAX_WAIT);
		}
		class->locked = Min(class->locked, bite->first_locked);
	}
	else if (bite->is_end && class->locked == DT_NOEND)
		class->locked_wait = LOCKED_MIN_WAIT;
}

static void
take_bite(NexusRetention *retention, RetentionClass *class, TimestampTz now)
{
	Run			run = {.retention = retention,.class = class};

	if (class->locked_time <= now && class->locked != DT_NOEND)
	{
		class->floor = Min(class->floor, class->locked);
		class->locked = DT_NOEND;
	}
	run.bite.floor = class->floor;
	run.bite.before = now - class->kept_us;
	run.bite.is_meant = is_meant;
	run.bite.arg = &run;
	if (!nexus_transaction_run("delete old operations", bite_in_transaction, &run, NULL))
	{
		class->run_time = now + ERROR_WAIT;
		class->next = Min(class->next, class->floor);
		return;
	}
	class->floor = run.bite.floor;
	class->next = run.bite.next;
	retention->last_deleted = Max(retention->last_deleted, run.bite.last_deleted);
	note_locked(class, &run.bite, now);
	set_pace(class, &run.bite, now);
}

void
nexus_retention_run(NexusRetention *retention)
{
	TimestampTz now = GetCurrentTimestamp();

	if (nexus_retention_next(retention) > now)
		return;
	if (retention->is_stale
		&& !nexus_transaction_run("read the retention of endpoints", read_classes_in_transaction, retention, NULL))
	{
		retention->retry_time = now + ERROR_WAIT;
		return;
	}
	if (nexus_retention_next(retention) <= now)
		take_bite(retention, first_due(retention), now);
}

/* ---- what may have gone ---- */

bool
nexus_retention_may_have_deleted(const NexusRetention *retention, const NexusUuid *id)
{
	int64		id_ms = nexus_uuid_v7_unix_ms(id);
	TimestampTz id_time = nexus_timestamp_of_unix_us(id_ms * 1000);
	int64		shortest = setting_us();

	for (int i = 0; i < retention->count; i++)
		if (shortest == 0 || retention->classes[i].kept_us < shortest)
			shortest = retention->classes[i].kept_us;
	if (id_ms < 0)
		return false;
	return id_time <= retention->last_deleted || (shortest > 0 && id_time < GetCurrentTimestamp() - shortest);
}
