/*
 * deadlines.c
 *	  Operations whose time runs out.
 *
 * They are read forward from a floor: everything before it is closed, or its
 * outcome is in the group.
 */
#include "postgres.h"

#include "worker/deadlines.h"

#include "store/queue.h"
#include "store/transaction.h"
#include "utils/timestamp.h"
#include "worker/dispatcher.h"
#include "worker/outcomes.h"

#define OVERDUE_BATCH 1000		/* operations closed in one turn */
#define RETRY_WAIT INT64CONST(1000000)	/* after reading failed; 1 s */

struct NexusDeadlines
{
	NexusWorker *worker;
	TimestampTz next;			/* the earliest deadline that may be ahead */
	TimestampTz floor;
	NexusUuid	floor_id;
};

NexusDeadlines *
nexus_deadlines_create(NexusWorker *worker)
{
	NexusDeadlines *deadlines = palloc0(sizeof(NexusDeadlines));

	deadlines->worker = worker;
	deadlines->next = DT_NOEND;
	deadlines->floor = DT_NOBEGIN;
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

static bool
can_expire(const NexusDeadlines *deadlines)
{
	return deadlines->worker->has_incarnation && !nexus_group_is_failing(deadlines->worker->group);
}

/* What has to wait for the group waits for the group's own deadline. */
TimestampTz
nexus_deadlines_next(const NexusDeadlines *deadlines)
{
	return can_expire(deadlines) ? deadlines->next : DT_NOEND;
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
	nexus_dispatcher_overdue(worker->dispatcher, id);
}

static void
read_overdue(void *arg)
{
	NexusDeadlines *deadlines = arg;

	nexus_queue_read_overdue(&deadlines->worker->incarnation.id, &deadlines->floor, &deadlines->floor_id,
							 GetCurrentTimestamp(), OVERDUE_BATCH, &deadlines->next, take_overdue,
							 deadlines->worker);
}

void
nexus_deadlines_run(NexusDeadlines *deadlines)
{
	TimestampTz now = GetCurrentTimestamp();

	if (can_expire(deadlines) && deadlines->next <= now
		&& !nexus_transaction_run("find overdue operations", read_overdue, deadlines, NULL))
		deadlines->next = now + RETRY_WAIT;
}
