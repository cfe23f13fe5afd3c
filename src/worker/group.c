/*
 * group.c
 *	  The group commit.
 *
 * An error of the environment keeps the group for another try a second later.
 * Any other error is of a row: the group is split by halves until the culprit
 * is alone.  Its operation is then closed as failed with that error, and where
 * even this cannot be written the outcome is rejected (its on_settled is told).  After a lock
 * time-out the next try leaves the locked rows out, so that one of them holds
 * up itself only.
 */
#include "postgres.h"

#include "worker/group.h"

#include "protocol/failure.h"
#include "shared/waiters.h"
#include "shared/worker_registry.h"
#include "store/transaction.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define RETRY_INTERVAL_MS 1000	/* between tries while commits fail */
#define SUBSTITUTE_MAX (16 * 1024)	/* of the failure that says what went
									 * wrong */

/*
 * What a run of outcomes was allocated in.  One that is held up by a locked row
 * keeps its own memory only, not that of all that came after it.
 */
typedef struct GroupMemory
{
	MemoryContext context;
	int			count;			/* outcomes that are not settled */
} GroupMemory;

struct NexusGroup
{
	GroupMemory *memory;		/* of outcomes that come now */
	MemoryContext context;		/* parent of all of those */
	MemoryContext scratch;		/* of one commit */
	dlist_head	outcomes;
	int			count;
	int			patient;		/* of them */
	Size		bytes;
	TimestampTz first_time;		/* of the oldest outcome */
	TimestampTz retry_time;		/* 0 unless commits fail */
	bool		probes_locks;	/* the next try leaves locked rows out */
	dlist_head	locked;			/* outcomes whose rows were locked */
	TimestampTz locked_time;	/* when to try those again */
	TimestampTz last_close_time;
	int64		opened;			/* inserted less closed */
	HTAB	   *closing;		/* id -> CLOSE outcome in the group */
};

typedef struct ClosingEntry
{
	NexusUuid	id;
	NexusOutcome *outcome;
} ClosingEntry;

static GroupMemory *
create_memory(NexusGroup *group)
{
	GroupMemory *memory = MemoryContextAllocZero(group->context, sizeof(GroupMemory));

	memory->context = AllocSetContextCreate(group->context, "nexus outcomes", ALLOCSET_DEFAULT_SIZES);
	return memory;
}

/* After a settled outcome was looked at for the last time. */
static void
release_memory(NexusGroup *group, GroupMemory *memory)
{
	if (--memory->count > 0 || memory == group->memory)
		return;
	MemoryContextDelete(memory->context);
	pfree(memory);
}

NexusGroup *
nexus_group_create(TimestampTz last_close_time)
{
	NexusGroup *group = palloc0(sizeof(NexusGroup));
	HASHCTL		control = {.keysize = sizeof(NexusUuid),.entrysize = sizeof(ClosingEntry),
	.hcxt = CurrentMemoryContext};

	group->context = AllocSetContextCreate(CurrentMemoryContext, "nexus group", ALLOCSET_SMALL_SIZES);
	group->memory = create_memory(group);
	group->scratch = AllocSetContextCreate(CurrentMemoryContext, "nexus group commit", ALLOCSET_DEFAULT_SIZES);
	group->last_close_time = last_close_time;
	group->closing = hash_create("nexus closing", NEXUS_GROUP_MAX_OUTCOMES, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	dlist_init(&group->outcomes);
	dlist_init(&group->locked);
	return group;
}

MemoryContext
nexus_group_context(const NexusGroup *group)
{
	return group->memory->context;
}

/* Whether the outcome is the first close of its operation in this group. */
static bool
claim_close(NexusGroup *group, NexusOutcome *outcome)
{
	bool		found;
	ClosingEntry *entry = hash_search(group->closing, &outcome->id, HASH_ENTER, &found);

	if (found)
	{
		outcome->next_same = entry->outcome->next_same;
		entry->outcome->next_same = outcome;
		return false;
	}
	entry->outcome = outcome;
	return true;
}

NexusOutcome *
nexus_group_add(NexusGroup *group, NexusOutcomeKind kind, const NexusUuid *id, const char *endpoint)
{
	NexusOutcome *outcome = MemoryContextAllocZero(group->memory->context, sizeof(NexusOutcome));

	outcome->memory = group->memory;
	group->memory->count++;
	outcome->id = *id;
	outcome->kind = kind;
	if (endpoint != NULL)
		outcome->endpoint = MemoryContextStrdup(group->memory->context, endpoint);
	if (group->count == 0)
		group->first_time = GetCurrentTimestamp();
	if (kind == NEXUS_OUTCOME_CLOSE && !claim_close(group, outcome))
		return outcome;
	dlist_push_tail(&group->outcomes, &outcome->node);
	group->count++;
	return outcome;
}

void
nexus_group_weigh(NexusGroup *group, NexusOutcome *outcome, Size size)
{
	outcome->size += size;
	group->bytes += size;
}

void
nexus_group_be_patient(NexusGroup *group, NexusOutcome *outcome)
{
	outcome->is_patient = true;
	group->patient++;
}

/* Waits for nothing but a commit, as against what was set aside. */
static bool
has_outcomes(const NexusGroup *group)
{
	return !dlist_is_empty(unconstify(dlist_head *, &group->outcomes));
}

static bool
has_locked(const NexusGroup *group)
{
	return !dlist_is_empty(unconstify(dlist_head *, &group->locked));
}

bool
nexus_group_is_empty(const NexusGroup *group)
{
	return group->count == 0;
}

bool
nexus_group_can_commit(const NexusGroup *group)
{
	return has_outcomes(group) && group->retry_time <= GetCurrentTimestamp();
}

bool
nexus_group_is_failing(const NexusGroup *group)
{
	return group->retry_time != 0;
}

bool
nexus_group_is_full(const NexusGroup *group)
{
	return nexus_group_is_failing(group) && group->bytes > NEXUS_GROUP_MAX_KEPT_BYTES;
}

static bool
is_patient(const NexusGroup *group)
{
	return group->patient >= group->count;
}

static TimestampTz
age_limit(const NexusGroup *group)
{
	return group->first_time + (is_patient(group) ? NEXUS_GROUP_PATIENT_AGE_US : NEXUS_GROUP_MAX_AGE_US);
}

bool
nexus_group_is_collecting(const NexusGroup *group)
{
	return has_outcomes(group) && group->retry_time == 0 && !is_patient(group);
}

bool
nexus_group_is_due(const NexusGroup *group, bool is_quiet)
{
	if (has_locked(group) && GetCurrentTimestamp() >= group->locked_time)
		return true;
	if (!has_outcomes(group))
		return false;
	if (group->retry_time != 0)
		return GetCurrentTimestamp() >= group->retry_time;
	return (is_quiet && !is_patient(group)) || group->count >= NEXUS_GROUP_MAX_OUTCOMES
		|| group->bytes >= NEXUS_GROUP_MAX_BYTES || GetCurrentTimestamp() >= age_limit(group);
}

TimestampTz
nexus_group_deadline(const NexusGroup *group)
{
	TimestampTz deadline = has_locked(group) ? group->locked_time : DT_NOEND;

	if (!has_outcomes(group))
		return deadline;
	return Min(deadline, group->retry_time != 0 ? group->retry_time : age_limit(group));
}

int64
nexus_group_opened(const NexusGroup *group)
{
	return group->opened;
}

/* One try of the whole or a part of a group. */
typedef struct GroupTry
{
	NexusGroup *group;
	NexusOutcome **outcomes;
	int			count;
	NexusOutcome **applied;
	int			applied_count;
	TimestampTz last_close_time;
} GroupTry;

static void
apply_try(void *arg)
{
	GroupTry   *try = arg;

	try->last_close_time = try->group->last_close_time;
	try->applied_count = 0;
	if (try->group->probes_locks)
	{
		bool	   *is_free = palloc(sizeof(bool) * try->count);

		nexus_outcome_probe_locks(try->outcomes, try->count, is_free);
		for (int i = 0; i < try->count; i++)
			if (is_free[i])
				try->applied[try->applied_count++] = try->outcomes[i];
	}
	else
	{
		memcpy(try->applied, try->outcomes, sizeof(NexusOutcome *) * try->count);
		try->applied_count = try->count;
	}
	nexus_outcome_apply(try->applied, try->applied_count, &try->last_close_time);
}

/* A substitute has become a close without having claimed to be the first. */
static void
forget_close(NexusGroup *group, const NexusOutcome *outcome)
{
	const ClosingEntry *entry = hash_search(group->closing, &outcome->id, HASH_FIND, NULL);

	if (entry != NULL && entry->outcome == outcome)
		hash_search(group->closing, &outcome->id, HASH_REMOVE, NULL);
}

static void
settle(NexusGroup *group, NexusOutcome *outcome)
{
	NexusOutcome *same = outcome->next_same;

	dlist_delete(&outcome->node);
	group->count--;
	group->patient -= outcome->is_patient;
	group->bytes -= outcome->size;
	forget_close(group, outcome);
	if (outcome->on_settled != NULL)
		outcome->on_settled(outcome, outcome->arg);
	while (same != NULL)
	{
		NexusOutcome *next = same->next_same;

		group->patient -= same->is_patient;
		group->bytes -= same->size;
		same->disposition = outcome->disposition == NEXUS_DISPOSITION_APPLIED
			? NEXUS_DISPOSITION_CLOSED_BEFORE : outcome->disposition;
		if (same->on_settled != NULL)
			same->on_settled(same, same->arg);
		release_memory(group, same->memory);
		same = next;
	}
	release_memory(group, outcome->memory);
}

static void
settle_all(NexusGroup *group, NexusOutcome **outcomes, int count)
{
	NexusUuid  *ended = palloc(sizeof(NexusUuid) * (count + 1));
	int			n = 0;

	for (int i = 0; i < count; i++)
	{
		if (outcomes[i]->disposition != NEXUS_DISPOSITION_APPLIED)
			continue;
		if (outcomes[i]->kind == NEXUS_OUTCOME_CLOSE || outcomes[i]->ends_waiting)
			ended[n++] = outcomes[i]->id;
		if (outcomes[i]->kind == NEXUS_OUTCOME_CLOSE)
			group->opened--;
		else if (outcomes[i]->kind == NEXUS_OUTCOME_INSERT)
			group->opened++;
	}
	if (n > 0)
		nexus_waiters_wake(ended, n);
	for (int i = 0; i < count; i++)
		settle(group, outcomes[i]);
}

/*
 * What an operation came to cannot be written: let it fail with the reason, for
 * everybody to see, rather than stay open for ever.  False where this has been
 * tried already, or there is no operation to close.
 */
static bool
substitute(NexusGroup *group, NexusOutcome *outcome, const NexusSqlError *error)
{
	char	   *message = psprintf("the outcome could not be recorded: %s", error->message);
	MemoryContext old = MemoryContextSwitchTo(((GroupMemory *) outcome->memory)->context);
	NexusBuffer failure;

	if (outcome->is_substitute
		|| (outcome->kind != NEXUS_OUTCOME_CLOSE && outcome->kind != NEXUS_OUTCOME_PROGRESS))
	{
		MemoryContextSwitchTo(old);
		return false;
	}
	nexus_buffer_init(&failure, SUBSTITUTE_MAX);
	nexus_failure_encode_message(&failure, nexus_text_of(message));
	outcome->is_substitute = true;
	outcome->state = NEXUS_STATE_FAILED;
	outcome->result = NULL;
	outcome->result_content_type = NULL;
	outcome->result_is_json = false;
	outcome->operation_token = NULL;
	outcome->links = (Datum) 0;
	outcome->failed_attempt.kind = NULL;
	outcome->failure = nexus_outcome_jsonb(nexus_buffer_view(&failure));
	if (outcome->kind == NEXUS_OUTCOME_PROGRESS)
	{
		outcome->kind = NEXUS_OUTCOME_CLOSE;
		outcome->started_time = 0;
	}
	nexus_buffer_free(&failure);
	MemoryContextSwitchTo(old);
	return true;
}

static void
reject(NexusGroup *group, NexusOutcome *outcome, const NexusSqlError *error)
{
	outcome->disposition = NEXUS_DISPOSITION_REJECTED;
	outcome->sqlerrcode = error->sqlerrcode;
	outcome->error = MemoryContextStrdup(group->scratch, error->message);
	settle(group, outcome);
}

/* What was left out because of a lock is tried again later, by itself. */
static void
set_locked_aside(GroupTry *try)
{
	NexusGroup *group = try->group;
	int			applied = 0;

	for (int i = 0; i < try->count; i++)
	{
		if (applied < try->applied_count && try->applied[applied] == try->outcomes[i])
		{
			applied++;
			continue;
		}
		dlist_delete(&try->outcomes[i]->node);
		dlist_push_tail(&group->locked, &try->outcomes[i]->node);
	}
	group->locked_time = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_INTERVAL_MS);
}

/* Bring back what was set aside once its time has come. */
static void
take_back_locked(NexusGroup *group)
{
	if (!has_locked(group) || GetCurrentTimestamp() < group->locked_time)
		return;
	while (!dlist_is_empty(&group->locked))
		dlist_push_tail(&group->outcomes, dlist_pop_head_node(&group->locked));
	group->probes_locks = true;
}

static void
commit_range(NexusGroup *group, NexusOutcome **outcomes, int count)
{
	GroupTry	try = {.group = group,.outcomes = outcomes,.count = count};
	NexusSqlError error;

	try.applied = palloc(sizeof(NexusOutcome *) * count);
	if (nexus_transaction_run("record outcomes", apply_try, &try, &error))
	{
		group->last_close_time = try.last_close_time;
		if (try.applied_count < count)
			set_locked_aside(&try);
		settle_all(group, try.applied, try.applied_count);
		return;
	}

	nexus_worker_registry_set_error(error.message);
	if (nexus_transaction_is_environment_error(error.sqlerrcode))
	{
		bool		is_row_lock = error.sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE && !group->probes_locks;

		group->retry_time = GetCurrentTimestamp() + (is_row_lock ? 0 : RETRY_INTERVAL_MS * INT64CONST(1000));
		group->probes_locks = is_row_lock;
	}
	else if (count == 1 && substitute(group, outcomes[0], &error))
		commit_range(group, outcomes, 1);
	else if (count == 1)
		reject(group, outcomes[0], &error);
	else
	{
		commit_range(group, outcomes, count / 2);
		commit_range(group, outcomes + count / 2, count - count / 2);
	}
}

void
nexus_group_commit(NexusGroup *group)
{
	MemoryContext old = MemoryContextSwitchTo(group->scratch);
	NexusOutcome **outcomes = palloc(sizeof(NexusOutcome *) * (group->count + 1));
	int			count = 0;
	dlist_iter	iter;

	take_back_locked(group);
	group->retry_time = 0;
	dlist_foreach(iter, &group->outcomes)
		outcomes[count++] = dlist_container(NexusOutcome, node, iter.cur);
	if (count > 0)
		commit_range(group, outcomes, count);
	group->probes_locks &= group->retry_time != 0;
	if (group->memory->count == 0)
		MemoryContextReset(group->memory->context);
	else if (!has_outcomes(group))
		group->memory = create_memory(group);	/* what was set aside keeps
												 * its own */
	MemoryContextSwitchTo(old);
	MemoryContextReset(group->scratch);
}
