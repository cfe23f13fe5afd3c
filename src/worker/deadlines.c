/*
 * deadlines.c
 *	  Operations whose time runs out, and rows whose retention is over.
 *
 * Both read forward from a floor: everything before it is closed or deleted,
 * or its outcome is in the group.
 */
#include "postgres.h"

#include "worker/deadlines.h"

#include "config.h"
#include "store/queue.h"
#include "store/survey.h"
#include "store/transaction.h"
#include "utils/timestamp.h"
#include "worker/dispatcher.h"
#include "worker/outcomes.h"

#define OVERDUE_BATCH 1000		/* operations closed in one turn */
#define RETENTION_BATCH 1000	/* rows deleted in one transaction */
#define RETENTION_MIN_WAIT INT64CONST(1000000)	/* between runs; 1 s */
#define RETENTION_MAX_WAIT INT64CONST(3600000000)	/* 1 hour */

struct NexusDeadlines
{
	NexusWorker *worker;
	TimestampTz next;			/* the earliest deadline that may be ahead */
	TimestampTz floor;
	NexusUuid	floor_id;
	TimestampTz closed_floor;	/* nothing older is left */
	TimestampTz closed_next;	/* close time of the oldest one left */
	TimestampTz retention_time; /* when to delete next */
	int			deleted;		/* by the last bite */
};

NexusDeadlines *
nexus_deadlines_create(NexusWorker *worker, TimestampTz next_deadline, TimestampTz first_close_time)
{
	NexusDeadlines *deadlines = palloc0(sizeof(NexusDeadlines));

	deadlines->worker = worker;
	deadlines->next = next_deadline;
	deadlines->floor = DT_NOBEGIN;
	deadlines->closed_floor = DT_NOBEGIN;
	deadlines->closed_next = first_close_time;
	deadlines->retention_time = DT_NOBEGIN;
	return deadlines;
}

void
nexus_deadlines_note(NexusDeadlines *deadlines, TimestampTz deadline)
{
	deadlines->next = Min(deadlines->next, deadline);
	/* one that lies behind the floor would never be found */
	if (deadline <= deadlines->floor)
	{
		deadlines->floor = deadline - 1;
		memset(&deadlines->floor_id, 0, sizeof(deadlines->floor_id));
	}
}

void
nexus_deadlines_note_closed(NexusDeadlines *deadlines, TimestampTz close_time)
{
	deadlines->closed_next = Min(deadlines->closed_next, close_time);
}

static int64
retention_us(void)
{
	return nexus_retention * INT64CONST(1000000);
}

/* Not for every row by itself: in bites, a hundredth of the retention apart. */
static TimestampTz
next_retention(const NexusDeadlines *deadlines)
{
	if (nexus_retention == 0 || deadlines->closed_next == DT_NOEND)
		return DT_NOEND;
	return Max(deadlines->closed_next + retention_us(), deadlines->retention_time);
}

static bool
can_expire(const NexusDeadlines *deadlines)
{
	return deadlines->worker->has_incarnation && !nexus_group_is_failing(deadlines->worker->group);
}

/* What has to wait for the group waits for the group's own deadline. */
TimestampTz
nexus_deadlines_next(const NexusDeadlines *deadlines)
{
	TimestampTz next = can_expire(deadlines) ? deadlines->next : DT_NOEND;

	return nexus_group_is_empty(deadlines->worker->group) ? Min(next, next_retention(deadlines)) : next;
}

static void
on_overdue_settled(NexusOutcome *outcome, void *arg)
{
	NexusWorker *worker = arg;

	nexus_dispatcher_settled(worker->dispatcher, &outcome->id);
}

static void
take_overdue(const NexusUuid *id, const char *endpoint, NexusState state, TimestampTz scheduled_time,
			 TimestampTz started_time, TimestampTz deadline, int64 schedule_to_close, int64 schedule_to_start,
			 int64 start_to_close, void *arg)
{
	NexusWorker *worker = arg;
	NexusTimeoutType type = nexus_outcomes_timeout_type(state, scheduled_time, started_time, schedule_to_close,
														schedule_to_start, start_to_close);
	NexusOutcome *outcome = nexus_outcomes_timed_out(worker, id, endpoint, type);

	outcome->on_settled = on_overdue_settled;
	outcome->arg = worker;
	nexus_dispatcher_settling(worker->dispatcher, id, true);
}

static void
read_overdue(void *arg)
{
	NexusDeadlines *deadlines = arg;

	nexus_queue_read_overdue(&deadlines->worker->incarnation.id, &deadlines->floor, &deadlines->floor_id,
							 GetCurrentTimestamp(), OVERDUE_BATCH, &deadlines->next, take_overdue,
							 deadlines->worker);
}

static void
delete_old(void *arg)
{
	NexusDeadlines *deadlines = arg;

	deadlines->deleted = nexus_survey_delete_closed(&deadlines->closed_floor, GetCurrentTimestamp() - retention_us(),
													RETENTION_BATCH, &deadlines->closed_next);
}

static void
run_retention(NexusDeadlines *deadlines)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		wait = Min(Max(retention_us() / 100, RETENTION_MIN_WAIT), RETENTION_MAX_WAIT);

	if (!nexus_transaction_run("delete old operations", delete_old, deadlines, NULL))
	{
		deadlines->retention_time = now + RETENTION_MAX_WAIT / 60;
		return;
	}
	/* a full bite means that more is waiting */
	deadlines->retention_time = deadlines->deleted == RETENTION_BATCH ? now : now + wait;
}

void
nexus_deadlines_run(NexusDeadlines *deadlines)
{
	NexusWorker *worker = deadlines->worker;
	TimestampTz now = GetCurrentTimestamp();

	if (can_expire(deadlines) && deadlines->next <= now
		&& !nexus_transaction_run("find overdue operations", read_overdue, deadlines, NULL))
		deadlines->next = now + RETENTION_MIN_WAIT;
	/* between groups: outcomes come first */
	if (next_retention(deadlines) <= now && nexus_group_is_empty(worker->group))
		run_retention(deadlines);
}
