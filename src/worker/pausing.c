/*
 * pausing.c
 *	  Whether this database sends.
 *
 * Each request is carried out by a commit that also deletes it.  One that says
 * what becomes of copied operations takes many: they are adopted, or closed
 * through the group, a window at a time, while the loop goes on.  The request
 * goes with the last of these commits, so whatever ends the worker meanwhile,
 * the next one continues.  Then the worker begins anew, which reads all that is
 * ours now.
 */
#include "postgres.h"

#include "worker/pausing.h"

#include "postmaster/bgworker.h"
#include "shared/worker_registry.h"
#include "store/adoption.h"
#include "store/encoding.h"
#include "store/pause.h"
#include "store/transaction.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/outcomes.h"

#define RETRY_INTERVAL_MS 1000	/* after an error, and for locked rows */
#define CLOSING_MAX 2000		/* outcomes in the group at most, before more
								 * are read */
#define FAILURE_MAX (16 * 1024)

typedef struct PauseRequest
{
	dlist_node	node;
	NexusUuid	id;
	bool		is_pause;
	bool		settles_copies; /* says what becomes of them: */
	bool		adopts;			/* or terminates */
	char	   *identity;
} PauseRequest;

struct NexusPausing
{
	NexusWorker *worker;
	bool		is_copy;
	dlist_head	requests;		/* in the order of their ids */
	TimestampTz due;			/* not before; DT_NOBEGIN: now */

	/* copied operations, as the first request says */
	bool		is_settling;
	bool		is_read;		/* to the end of the table */
	NexusUuid	start;			/* of this pass: before it none is left */
	NexusUuid	next;
	int64		settled;		/* adopted or closed */
	int			closing;		/* of them in the group */
	bool		begins_anew;
};

NexusPausing *
nexus_pausing_create(NexusWorker *worker)
{
	NexusPausing *pausing = palloc0(sizeof(NexusPausing));

	pausing->worker = worker;
	pausing->due = DT_NOBEGIN;
	dlist_init(&pausing->requests);
	return pausing;
}

static bool
has_pause(const NexusPausing *pausing)
{
	dlist_iter	iter;

	dlist_foreach(iter, unconstify(dlist_head *, &pausing->requests))
		if (dlist_container(PauseRequest, node, iter.cur)->is_pause)
		return true;
	return false;
}

static void
show(NexusPausing *pausing)
{
	NexusWorker *worker = pausing->worker;

	worker->is_paused = pausing->is_copy || pausing->is_settling || has_pause(pausing)
		|| worker->incarnation.is_paused;
	nexus_worker_registry_set_state(worker->is_paused ? NEXUS_PROCESS_PAUSED : NEXUS_PROCESS_RUNNING);
}

void
nexus_pausing_look(NexusPausing *pausing, bool is_copy)
{
	if (is_copy && !pausing->is_copy)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database holds operations of another one, so nothing is sent from it"),
				 errcontext("%s", MyBgworkerEntry->bgw_name),
				 errdetail("It was restored, or copied from a template; the operations of its origin are left alone."),
				 errhint("nexus.resume('adopt') takes them over, nexus.resume('terminate') closes them here.")));
	pausing->is_copy = is_copy;
	show(pausing);
}

/* ---- requests ---- */

static PauseRequest *
first_request(NexusPausing *pausing)
{
	return dlist_container(PauseRequest, node, dlist_head_node(&pausing->requests));
}

static PauseRequest *
make_request(NexusPausing *pausing, const NexusTakenRequest *taken)
{
	MemoryContext context = pausing->worker->context;
	PauseRequest *request = MemoryContextAllocZero(context, sizeof(PauseRequest));

	request->id = taken->operation_id;
	request->is_pause = taken->kind == NEXUS_REQUEST_PAUSE;
	if (!request->is_pause && taken->reason != NULL)
	{
		request->adopts = strcmp(taken->reason, NEXUS_RESUME_ADOPT) == 0;
		request->settles_copies = request->adopts || strcmp(taken->reason, NEXUS_RESUME_TERMINATE) == 0;
	}
	request->identity = MemoryContextStrdup(context, taken->identity);
	return request;
}

/* The one after which a request comes; the first one if it has begun. */
static dlist_node *
find_place(NexusPausing *pausing, const NexusUuid *id, bool *is_known)
{
	dlist_node *place = &pausing->requests.head;
	dlist_iter	iter;

	*is_known = false;
	dlist_foreach(iter, &pausing->requests)
	{
		int			order = memcmp(&dlist_container(PauseRequest, node, iter.cur)->id, id, sizeof(NexusUuid));

		*is_known |= order == 0;
		if (order < 0 || (pausing->is_settling && place == &pausing->requests.head))
			place = iter.cur;
	}
	return place;
}

void
nexus_pausing_take(NexusPausing *pausing, const NexusTakenRequest *taken)
{
	bool		is_known;
	dlist_node *place;

	place = find_place(pausing, &taken->operation_id, &is_known);
	if (is_known)
		return;
	dlist_insert_after(place, &make_request(pausing, taken)->node);
	show(pausing);
}

static void
forget_first(NexusPausing *pausing)
{
	PauseRequest *request = first_request(pausing);

	dlist_delete(&request->node);
	pfree(request->identity);
	pfree(request);
}

static void
store_first(void *arg)
{
	NexusPausing *pausing = arg;
	const PauseRequest *request = first_request(pausing);

	nexus_pause_store(&pausing->worker->incarnation.id, request->is_pause, &request->id);
}

static void
carry_out_first(NexusPausing *pausing)
{
	bool		is_pause = first_request(pausing)->is_pause;

	if (!nexus_transaction_run("store whether sending is paused", store_first, pausing, NULL))
	{
		pausing->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_INTERVAL_MS);
		return;
	}
	pausing->worker->incarnation.is_paused = is_pause;
	forget_first(pausing);
	show(pausing);
}

/* ---- copied operations ---- */

static void
look_for_copies(void *arg)
{
	NexusPausing *pausing = arg;

	memset(&pausing->start, 0, sizeof(pausing->start));
	pausing->is_settling = nexus_incarnation_is_copy()
		|| nexus_adoption_find(&pausing->worker->incarnation.id, &pausing->start);
}

static void
begin_pass(NexusPausing *pausing)
{
	pausing->next = pausing->start;
	pausing->is_read = false;
}

/* One transaction's part of a pass. */
typedef struct Window
{
	NexusPausing *pausing;
	NexusUuid	next;
	int64		adopted;
	bool		is_last;
} Window;

static void
adopt_window(void *arg)
{
	Window	   *window = arg;

	window->is_last = !nexus_adoption_take(&window->pausing->worker->incarnation.id, &window->next,
										   &window->adopted);
}

static void
on_terminated(NexusOutcome *outcome, void *arg)
{
	NexusPausing *pausing = arg;

	pausing->closing--;
	pausing->settled += outcome->disposition == NEXUS_DISPOSITION_APPLIED;
}

static void
terminate_copied(const NexusUuid *id, const char *endpoint, void *arg)
{
	NexusPausing *pausing = arg;
	NexusOutcome *outcome;
	NexusBuffer failure;

	nexus_buffer_init(&failure, FAILURE_MAX);
	nexus_failure_encode_terminated(&failure, nexus_text_of("operation of the database that this one is a copy of"),
									nexus_encoding_to_utf8(nexus_text_of(first_request(pausing)->identity)));
	outcome = nexus_outcomes_close(pausing->worker, id, endpoint, NEXUS_STATE_TERMINATED,
								   nexus_buffer_view(&failure));
	nexus_buffer_free(&failure);
	outcome->on_settled = on_terminated;
	outcome->arg = pausing;
	pausing->closing++;
}

static void
terminate_window(void *arg)
{
	Window	   *window = arg;

	window->is_last = !nexus_adoption_read(&window->pausing->worker->incarnation.id, &window->next,
										   terminate_copied, window->pausing);
}

static bool
settle_window(NexusPausing *pausing)
{
	Window		window = {.pausing = pausing,.next = pausing->next};
	bool		is_done = first_request(pausing)->adopts
	? nexus_transaction_run("adopt operations", adopt_window, &window, NULL)
	: nexus_transaction_run("terminate operations", terminate_window, &window, NULL);

	if (is_done)
	{
		pausing->next = window.next;
		pausing->settled += window.adopted;
		pausing->is_read = window.is_last;
	}
	return is_done;
}

static void
unlink_stranger(const NexusUuid *id, NexusIncarnationKind kind, void *arg)
{
	const NexusWorker *worker = arg;

	if (kind == NEXUS_INCARNATION_STRANGE)
		nexus_local_socket_unlink(worker->database, id);
}

/* What was locked or came meanwhile takes another pass, from where it begins. */
static void
finish(void *arg)
{
	NexusPausing *pausing = arg;
	NexusWorker *worker = pausing->worker;
	const PauseRequest *request = first_request(pausing);

	if (nexus_adoption_find(&worker->incarnation.id, &pausing->start))
	{
		pausing->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_INTERVAL_MS);
		begin_pass(pausing);
		return;
	}
	if (!request->adopts)
		nexus_incarnation_each(unlink_stranger, worker);
	nexus_adoption_finish(&worker->incarnation.id, request->adopts);
	nexus_pause_store(&worker->incarnation.id, false, &request->id);
	pausing->begins_anew = true;
}

/* Whether the next step must wait until the group has written more. */
static bool
waits_for_group(const NexusPausing *pausing)
{
	return pausing->closing >= CLOSING_MAX || (pausing->is_read && pausing->closing > 0)
		|| (pausing->closing > 0 && nexus_group_is_failing(pausing->worker->group));
}

static void
settle_copies(NexusPausing *pausing)
{
	const PauseRequest *request = first_request(pausing);
	bool		is_done;

	if (waits_for_group(pausing))
		return;
	if (pausing->is_read)
		is_done = nexus_transaction_run("take leave of the database it is a copy of", finish, pausing, NULL);
	else
		is_done = settle_window(pausing);
	if (!is_done)
	{
		pausing->begins_anew = false;
		pausing->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_INTERVAL_MS);
	}
	else if (pausing->begins_anew)
		ereport(LOG,
				(errmsg("%s has %s " INT64_FORMAT " operations of the database that this one is a copy of",
						MyBgworkerEntry->bgw_name, request->adopts ? "adopted" : "terminated", pausing->settled)));
}

/* ---- each turn ---- */

void
nexus_pausing_run(NexusPausing *pausing)
{
	if (pausing->begins_anew || dlist_is_empty(&pausing->requests) || GetCurrentTimestamp() < pausing->due)
		return;
	pausing->due = DT_NOBEGIN;
	if (!pausing->is_settling && first_request(pausing)->settles_copies)
	{
		if (!nexus_transaction_run("look for copied operations", look_for_copies, pausing, NULL))
		{
			pausing->is_settling = false;
			pausing->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_INTERVAL_MS);
			return;
		}
		begin_pass(pausing);
		show(pausing);
	}
	if (pausing->is_settling)
		settle_copies(pausing);
	else
		carry_out_first(pausing);
}

TimestampTz
nexus_pausing_next(const NexusPausing *pausing)
{
	if (dlist_is_empty(unconstify(dlist_head *, &pausing->requests))
		|| (pausing->is_settling && waits_for_group(pausing)))
		return DT_NOEND;
	return pausing->due == DT_NOBEGIN ? GetCurrentTimestamp() : pausing->due;
}

bool
nexus_pausing_begins_anew(const NexusPausing *pausing)
{
	return pausing->begins_anew;
}
