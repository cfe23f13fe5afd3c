/*
 * dispatcher.c
 *	  Which operation is sent when; loading.c reads them before.
 *
 * An operation in memory is QUEUED (its id is known), LOADED (all that is
 * needed to send it), IN_FLIGHT, or SETTLING (its outcome waits for the
 * commit).  The table of them is also what keeps a row that is read again from
 * being sent twice at once.
 */
#include "postgres.h"

#include "worker/dispatcher.h"

#include "config.h"
#include "shared/worker_registry.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/cancellation.h"
#include "worker/dispatcher_internal.h"

NexusDispatcher *
nexus_dispatcher_create(NexusWorker *worker)
{
	NexusDispatcher *dispatcher = palloc0(sizeof(NexusDispatcher));
	HASHCTL		calls = {.keysize = sizeof(NexusUuid),.entrysize = sizeof(NexusCall),.hcxt = CurrentMemoryContext};

	dispatcher->worker = worker;
	dispatcher->context = AllocSetContextCreate(CurrentMemoryContext, "nexus dispatcher", ALLOCSET_DEFAULT_SIZES);
	dispatcher->calls = hash_create("nexus calls", NEXUS_QUEUE_LOW, &calls, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	nexus_reply_init(&dispatcher->reply);
	nexus_dispatcher_init_queues(dispatcher);
	return dispatcher;
}

NexusCall *
nexus_dispatcher_find(const NexusDispatcher *dispatcher, const NexusUuid *id)
{
	return hash_search(dispatcher->calls, id, HASH_FIND, NULL);
}

NexusCall *
nexus_dispatcher_enter(NexusDispatcher *dispatcher, const NexusUuid *id, NexusEndpointQueue *queue)
{
	bool		found;
	NexusCall  *call = hash_search(dispatcher->calls, id, HASH_ENTER, &found);

	Assert(!found);
	memset((char *) call + sizeof(NexusUuid), 0, sizeof(NexusCall) - sizeof(NexusUuid));
	call->queue = queue;
	if (queue != NULL)
		queue->users++;
	return call;
}

void
nexus_dispatcher_push_queued(NexusCall *call)
{
	call->phase = NEXUS_CALL_QUEUED;
	dlist_push_tail(&call->queue->queued, &call->node);
	call->queue->queued_count++;
	nexus_endpoint_queue_rouse(call->queue);
}

void
nexus_dispatcher_push_loaded(NexusCall *call)
{
	call->phase = NEXUS_CALL_LOADED;
	dlist_push_tail(&call->queue->loaded, &call->node);
	call->queue->loaded_count++;
	nexus_endpoint_queue_rouse(call->queue);
}

void
nexus_dispatcher_unlink(NexusCall *call)
{
	switch (call->phase)
	{
		case NEXUS_CALL_QUEUED:
			dlist_delete(&call->node);
			call->queue->queued_count--;
			break;
		case NEXUS_CALL_LOADED:
			dlist_delete(&call->node);
			call->queue->loaded_count--;
			break;
		case NEXUS_CALL_IN_FLIGHT:
		case NEXUS_CALL_SETTLING:
			break;
	}
}

static void
count_large(NexusCall *call, int64 change)
{
	call->queue->large_bytes += change;
	call->queue->dispatcher->large_bytes += change;
}

void
nexus_dispatcher_set_due(NexusCall *call, NexusDue *due)
{
	call->due = due;
	if (due->input.len > NEXUS_INPUT_LARGE)
	{
		call->large_size = due->input.len;
		count_large(call, call->large_size);
	}
}

static void
drop_due(NexusCall *call)
{
	if (call->due == NULL)
		return;
	if (call->due->input.len > NEXUS_INPUT_LARGE)
		count_large(call, -call->large_size);
	pfree(call->due);
	call->due = NULL;
}

bool
nexus_dispatcher_fits(const NexusCall *call, int64 planned, int64 planned_here)
{
	int64		here = call->queue->large_bytes + planned_here;
	int64		everywhere = call->queue->dispatcher->large_bytes + planned;

	if (call->large_size == 0 || everywhere == 0)
		return true;

	/*
	 * half at most for one endpoint, so that there is room beside one that
	 * hangs
	 */
	return everywhere + call->large_size <= nexus_max_bytes_in_flight
		&& (here == 0 || here + call->large_size <= nexus_max_bytes_in_flight / 2);
}

void
nexus_dispatcher_forget(NexusDispatcher *dispatcher, NexusCall *call)
{
	nexus_dispatcher_unlink(call);
	drop_due(call);
	if (call->queue != NULL)
		call->queue->users--;
	hash_search(dispatcher->calls, &call->id, HASH_REMOVE, NULL);
}

void
nexus_dispatcher_put_back(NexusCall *call)
{
	drop_due(call);
	nexus_dispatcher_push_queued(call);
}

void
nexus_dispatcher_hold(NexusDispatcher *dispatcher, NexusCall *call)
{
	call->queue->has_held = true;
	nexus_dispatcher_forget(dispatcher, call);
}

void
nexus_dispatcher_arrive(NexusDispatcher *dispatcher, const NexusArrival *arrival)
{
	NexusEndpointQueue *queue = nexus_dispatcher_queue(dispatcher, arrival->endpoint);

	if (nexus_dispatcher_find(dispatcher, &arrival->key.id) != NULL)
		return;
	if ((queue->queued_count >= NEXUS_QUEUE_MAX || hash_get_num_entries(dispatcher->calls) >= CALLS_MAX)
		&& arrival->key.xid != 0)
		nexus_endpoint_queue_spill(queue, &arrival->key);
	else
		nexus_dispatcher_push_queued(nexus_dispatcher_enter(dispatcher, &arrival->key.id, queue));
}

void
nexus_dispatcher_arrive_loaded(NexusDispatcher *dispatcher, NexusDue *due)
{
	const NexusCaller *caller;
	NexusDue   *copy;
	NexusCall  *call;

	if (nexus_dispatcher_find(dispatcher, &due->id) != NULL)
		return;
	call = nexus_dispatcher_enter(dispatcher, &due->id, nexus_dispatcher_queue(dispatcher, due->endpoint));
	caller = nexus_endpoint_queue_known_caller(call->queue, due->owner);
	if (caller == NULL || nexus_caller_is_old(caller, GetCurrentTimestamp()) || call->queue->is_stale
		|| due->callback_base == NULL)
	{
		/* what is not at hand must be read in a transaction: the usual way */
		nexus_dispatcher_push_queued(call);
		return;
	}
	call->large_size = due->input.len > NEXUS_INPUT_LARGE ? due->input.len : 0;
	if (!nexus_dispatcher_fits(call, 0, 0))
	{
		nexus_dispatcher_push_queued(call);
		return;
	}
	copy = MemoryContextAllocHuge(dispatcher->context, due->size);
	nexus_due_move(copy, due);
	nexus_dispatcher_set_due(call, copy);
	nexus_dispatcher_push_loaded(call);
}

bool
nexus_dispatcher_was_sent(const NexusDispatcher *dispatcher, const NexusUuid *id)
{
	const NexusCall *call = nexus_dispatcher_find(dispatcher, id);

	return call != NULL && (call->phase == NEXUS_CALL_IN_FLIGHT || call->phase == NEXUS_CALL_SETTLING);
}

void
nexus_dispatcher_settling(NexusDispatcher *dispatcher, const NexusUuid *id, bool abort)
{
	NexusCall  *call = nexus_dispatcher_find(dispatcher, id);

	if (call == NULL)
		call = nexus_dispatcher_enter(dispatcher, id, NULL);
	else if (call->phase == NEXUS_CALL_IN_FLIGHT && abort)
	{
		nexus_http_client_abort(dispatcher->worker->http, call->http);
		nexus_endpoint_queue_note_abandoned(call->queue, call->ticket);
		nexus_dispatcher_leave_flight(dispatcher, call);
		nexus_dispatcher_count_attempt(dispatcher, call, GetCurrentTimestamp() - call->sent_time, false);
	}
	else
		nexus_dispatcher_unlink(call);
	call->is_closed = true;
	call->settling++;
	if (call->phase != NEXUS_CALL_IN_FLIGHT)
		call->phase = NEXUS_CALL_SETTLING;
}

void
nexus_dispatcher_overdue(NexusDispatcher *dispatcher, const NexusUuid *id)
{
	const NexusCall *call = nexus_dispatcher_find(dispatcher, id);

	/* a handler that does not answer in time is down, whoever set the time */
	if (call != NULL && call->phase == NEXUS_CALL_IN_FLIGHT)
		nexus_endpoint_queue_note_result(call->queue, call->ticket, true);
	nexus_dispatcher_settling(dispatcher, id, true);
}

void
nexus_dispatcher_settled(NexusDispatcher *dispatcher, const NexusUuid *id)
{
	NexusCall  *call = nexus_dispatcher_find(dispatcher, id);

	if (call == NULL)
		return;
	call->settling--;
	if (call->settling <= 0 && call->phase == NEXUS_CALL_SETTLING)
		nexus_dispatcher_forget(dispatcher, call);
}

/* From the last one on, so that their order stays. */
static void
unload(NexusEndpointQueue *queue)
{
	while (queue->loaded_count > 0)
	{
		NexusCall  *call = dlist_container(NexusCall, node, dlist_tail_node(&queue->loaded));

		nexus_dispatcher_unlink(call);
		drop_due(call);
		call->phase = NEXUS_CALL_QUEUED;
		dlist_push_head(&queue->queued, &call->node);
		queue->queued_count++;
	}
}

void
nexus_dispatcher_catalog_changed(NexusDispatcher *dispatcher)
{
	dlist_iter	iter;

	/*
	 * the configuration of all has to be read, and be it to see that there is
	 * none
	 */
	while (!dlist_is_empty(&dispatcher->resting))
		nexus_endpoint_queue_rouse(dlist_head_element(NexusEndpointQueue, node, &dispatcher->resting));
	dlist_foreach(iter, &dispatcher->queues)
	{
		NexusEndpointQueue *queue = dlist_container(NexusEndpointQueue, node, iter.cur);

		queue->is_stale = true;
		/* loaded ones were checked against what is no longer so */
		unload(queue);
		if (queue->has_held)
			nexus_endpoint_queue_rewind(queue);
		queue->has_held = false;
	}
}

/* ---- sending ---- */

/* The first that need not wait for the listener; NULL for none. */
static NexusCall *
first_sendable(const NexusEndpointQueue *queue)
{
	dlist_iter	iter;

	dlist_foreach(iter, unconstify(dlist_head *, &queue->loaded))
	{
		NexusCall  *call = dlist_container(NexusCall, node, iter.cur);

		if (!nexus_dispatcher_waits_for_listener(call))
			return call;
	}
	return NULL;
}

/* What could go if its endpoint takes it; a cancel request is read before, if need be. */
static bool
has_sendable(const NexusEndpointQueue *queue)
{
	return queue->cancel_count > 0 || first_sendable(queue) != NULL;
}

bool
nexus_dispatcher_may_send(const NexusDispatcher *dispatcher, const NexusEndpointQueue *queue)
{
	return !queue->is_stale && dispatcher->in_flight < nexus_max_in_flight
		&& nexus_endpoint_queue_admits(queue, dispatcher->worker);
}

/* Send from one endpoint's queue; false where nothing (more) can go. */
static bool
send_one(NexusDispatcher *dispatcher, NexusEndpointQueue *queue)
{
	NexusCall  *call;

	if (queue->cancel_count + queue->loaded_count == 0 || !nexus_dispatcher_may_send(dispatcher, queue))
		return false;
	if (nexus_cancellations_start_one(queue))
		return true;
	call = first_sendable(queue);
	if (call == NULL)
		return false;
	nexus_dispatcher_unlink(call);
	nexus_dispatcher_send(dispatcher, call);
	return true;
}

/* The list of queues is a ring, whose head may stand anywhere. */
static void
begin_behind(NexusDispatcher *dispatcher, NexusEndpointQueue *queue)
{
	dlist_delete(&dispatcher->queues.head);
	dlist_insert_after(&queue->node, &dispatcher->queues.head);
}

/* One request to each endpoint that takes one; those go on the list. */
static void
send_first(NexusDispatcher *dispatcher, dlist_head *sending)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &dispatcher->queues)
	{
		NexusEndpointQueue *queue = dlist_container(NexusEndpointQueue, node, iter.cur);

		if (nexus_endpoint_queue_is_idle(queue))
		{
			nexus_dispatcher_let_rest(dispatcher, queue);
			continue;
		}
		/* what waits for a breaker needs no memory meanwhile */
		if (queue->breaker.state == NEXUS_BREAKER_OPEN && nexus_endpoint_queue_room(queue) == 0)
			unload(queue);
		if (send_one(dispatcher, queue))
			dlist_push_tail(sending, &queue->turn);
	}
}

void
nexus_dispatcher_start_due(NexusDispatcher *dispatcher)
{
	NexusEndpointQueue *last;
	dlist_head	sending = DLIST_STATIC_INIT(sending);

	send_first(dispatcher, &sending);
	if (dlist_is_empty(&sending))
		return;
	last = dlist_tail_element(NexusEndpointQueue, turn, &sending);

	/* one of each endpoint in turn, so that none takes all the room */
	while (!dlist_is_empty(&sending))
	{
		dlist_mutable_iter iter;

		dlist_foreach_modify(iter, &sending)
		{
			NexusEndpointQueue *queue = dlist_container(NexusEndpointQueue, turn, iter.cur);

			if (send_one(dispatcher, queue))
				last = queue;
			else
				dlist_delete(&queue->turn);
		}
	}
	/* the next place, or memory, that becomes free is for another one */
	begin_behind(dispatcher, last);
}

TimestampTz
nexus_dispatcher_next_deadline(const NexusDispatcher *dispatcher)
{
	TimestampTz next = DT_NOEND;
	dlist_iter	iter;

	dlist_foreach(iter, unconstify(dlist_head *, &dispatcher->queues))
	{
		const NexusEndpointQueue *queue = dlist_container(NexusEndpointQueue, node, iter.cur);

		if (!nexus_endpoint_queue_is_open(queue, dispatcher->worker))
			continue;
		/* replies came since the last look and left room */
		if (nexus_endpoint_queue_wants_reading(queue) || nexus_dispatcher_wants_load(dispatcher, queue)
			|| (nexus_dispatcher_may_send(dispatcher, queue) && has_sendable(queue)))
			return GetCurrentTimestamp();
		next = Min(next, nexus_endpoint_queue_opens_at(queue));
		if (queue->queued_count < NEXUS_QUEUE_LOW)
			next = Min(next, queue->retry_next);
	}
	return next;
}

int
nexus_dispatcher_in_flight(const NexusDispatcher *dispatcher)
{
	return dispatcher->in_flight;
}

int
nexus_dispatcher_queued(const NexusDispatcher *dispatcher)
{
	return (int) hash_get_num_entries(dispatcher->calls) - dispatcher->starts_in_flight;
}
