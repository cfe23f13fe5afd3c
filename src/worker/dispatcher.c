/*
 * dispatcher.c
 *	  Which operation is sent when.
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
#include "worker/dispatcher_internal.h"

NexusDispatcher *
nexus_dispatcher_create(NexusWorker *worker)
{
	NexusDispatcher *dispatcher = palloc0(sizeof(NexusDispatcher));
	HASHCTL		control = {.keysize = sizeof(NexusUuid),.entrysize = sizeof(NexusCall),
	.hcxt = CurrentMemoryContext};

	dispatcher->worker = worker;
	dispatcher->context = AllocSetContextCreate(CurrentMemoryContext, "nexus dispatcher", ALLOCSET_DEFAULT_SIZES);
	dispatcher->calls = hash_create("nexus calls", NEXUS_QUEUE_LOW, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	nexus_reply_init(&dispatcher->reply);
	dlist_init(&dispatcher->queues);
	return dispatcher;
}

NexusEndpointQueue *
nexus_dispatcher_queue(NexusDispatcher *dispatcher, const char *endpoint)
{
	NexusEndpointQueue *queue = dispatcher->last_queue;
	dlist_iter	iter;

	/* arrivals of one transaction tend to be for one endpoint */
	if (queue != NULL && strcmp(queue->name, endpoint) == 0)
		return queue;
	dlist_foreach(iter, &dispatcher->queues)
	{
		queue = dlist_container(NexusEndpointQueue, node, iter.cur);
		if (strcmp(queue->name, endpoint) == 0)
			return dispatcher->last_queue = queue;
	}
	queue = nexus_endpoint_queue_create(endpoint, dispatcher->worker->database, dispatcher->context);
	queue->dispatcher = dispatcher;
	dlist_push_tail(&dispatcher->queues, &queue->node);
	return queue;
}

NexusCall *
nexus_dispatcher_find(const NexusDispatcher *dispatcher, const NexusUuid *id)
{
	return hash_search(dispatcher->calls, id, HASH_FIND, NULL);
}

static NexusCall *
enter_call(NexusDispatcher *dispatcher, const NexusUuid *id, NexusEndpointQueue *queue)
{
	bool		found;
	NexusCall  *call = hash_search(dispatcher->calls, id, HASH_ENTER, &found);

	Assert(!found);
	memset((char *) call + sizeof(NexusUuid), 0, sizeof(NexusCall) - sizeof(NexusUuid));
	call->queue = queue;
	return call;
}

static void
push_queued(NexusCall *call)
{
	call->phase = NEXUS_CALL_QUEUED;
	dlist_push_tail(&call->queue->queued, &call->node);
	call->queue->queued_count++;
}

static void
push_loaded(NexusCall *call)
{
	call->phase = NEXUS_CALL_LOADED;
	dlist_push_tail(&call->queue->loaded, &call->node);
	call->queue->loaded_count++;
}

/* Take it out of whichever list it is in. */
static void
unlink_call(NexusCall *call)
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

void
nexus_dispatcher_forget(NexusDispatcher *dispatcher, NexusCall *call)
{
	unlink_call(call);
	if (call->due != NULL)
		pfree(call->due);
	hash_search(dispatcher->calls, &call->id, HASH_REMOVE, NULL);
}

void
nexus_dispatcher_put_back(NexusCall *call)
{
	pfree(call->due);
	call->due = NULL;
	push_queued(call);
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
		push_queued(enter_call(dispatcher, &arrival->key.id, queue));
}

void
nexus_dispatcher_arrive_loaded(NexusDispatcher *dispatcher, NexusDue *due)
{
	const NexusCaller *caller;
	NexusCall  *call;

	if (nexus_dispatcher_find(dispatcher, &due->id) != NULL)
		return;
	call = enter_call(dispatcher, &due->id, nexus_dispatcher_queue(dispatcher, due->endpoint));
	caller = nexus_endpoint_queue_known_caller(call->queue, due->owner);
	if (caller == NULL || nexus_caller_is_old(caller, GetCurrentTimestamp()) || call->queue->is_stale
		|| due->callback_base == NULL)
	{
		/* what is not at hand must be read in a transaction: the usual way */
		push_queued(call);
		return;
	}
	call->due = MemoryContextAllocHuge(dispatcher->context, due->size);
	nexus_due_move(call->due, due);
	push_loaded(call);
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
		call = enter_call(dispatcher, id, NULL);
	else if (call->phase == NEXUS_CALL_IN_FLIGHT && abort)
	{
		nexus_http_client_abort(dispatcher->worker->http, call->http);
		nexus_dispatcher_leave_flight(dispatcher, call);
		nexus_dispatcher_count_attempt(dispatcher, call, GetCurrentTimestamp() - call->sent_time, false);
	}
	else
		unlink_call(call);
	call->is_closed = true;
	call->settling++;
	if (call->phase != NEXUS_CALL_IN_FLIGHT)
		call->phase = NEXUS_CALL_SETTLING;
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

void
nexus_dispatcher_catalog_changed(NexusDispatcher *dispatcher)
{
	dlist_iter	iter;

	dlist_foreach(iter, &dispatcher->queues)
	{
		NexusEndpointQueue *queue = dlist_container(NexusEndpointQueue, node, iter.cur);

		queue->is_stale = true;
		/* loaded ones were checked against what is no longer so */
		while (queue->loaded_count > 0)
		{
			NexusCall  *call = dlist_container(NexusCall, node, dlist_head_node(&queue->loaded));

			unlink_call(call);
			nexus_dispatcher_put_back(call);
		}
		if (queue->has_held)
			nexus_endpoint_queue_rewind(queue);
		queue->has_held = false;
	}
}

/* ---- reading what will be sent ---- */

static bool
wants_retries(const NexusEndpointQueue *queue, TimestampTz now)
{
	return queue->retry_next <= now && queue->queued_count < NEXUS_QUEUE_LOW;
}

static bool
wants_refill(const NexusEndpointQueue *queue)
{
	return queue->is_spilled && queue->queued_count < NEXUS_QUEUE_LOW;
}

static bool
wants_load(const NexusEndpointQueue *queue)
{
	return queue->queued_count > 0 && queue->loaded_count < nexus_endpoint_queue_room(queue);
}

bool
nexus_dispatcher_needs_transaction(NexusDispatcher *dispatcher)
{
	TimestampTz now = GetCurrentTimestamp();
	dlist_iter	iter;

	if (!dispatcher->worker->has_incarnation)
		return false;
	dlist_foreach(iter, &dispatcher->queues)
	{
		NexusEndpointQueue *queue = dlist_container(NexusEndpointQueue, node, iter.cur);

		if (!nexus_endpoint_queue_is_open(queue, dispatcher->worker))
			continue;
		if (wants_retries(queue, now) || wants_refill(queue)
			|| (wants_load(queue) && dispatcher->in_flight < nexus_max_in_flight))
			return true;
	}
	return false;
}

static void
arrive_again(const NexusArrival *arrival, void *arg)
{
	NexusDispatcher *dispatcher = arg;

	if (nexus_dispatcher_find(dispatcher, &arrival->key.id) == NULL)
		push_queued(enter_call(dispatcher, &arrival->key.id, nexus_dispatcher_queue(dispatcher, arrival->endpoint)));
}

static void
read_more(NexusDispatcher *dispatcher, NexusEndpointQueue *queue)
{
	const NexusUuid *incarnation = &dispatcher->worker->incarnation.id;
	TimestampTz now = GetCurrentTimestamp();

	if (wants_retries(queue, now))
		nexus_queue_read_retries(incarnation, queue->name, &queue->retry_floor, &queue->retry_floor_id, now,
								 NEXUS_QUEUE_LOW, &queue->retry_next, arrive_again, dispatcher);
	if (wants_refill(queue) && queue->has_executed)
	{
		nexus_queue_read_executed(incarnation, queue->name, arrive_again, dispatcher);
		queue->has_executed = false;
	}
	if (wants_refill(queue)
		&& nexus_queue_read_scheduled(incarnation, queue->name, &queue->spill_key, NEXUS_QUEUE_MAX / 2,
									  arrive_again, dispatcher) < NEXUS_QUEUE_MAX / 2)
		queue->is_spilled = false;
}

/* Judge an operation that was loaded: to be sent, to be held back, or to fail. */
static void
take_loaded(NexusDue *due, void *arg)
{
	NexusDispatcher *dispatcher = arg;
	NexusCall  *call = nexus_dispatcher_find(dispatcher, &due->id);
	NexusEndpointQueue *queue;
	NexusCaller *caller;

	if (call == NULL || call->phase != NEXUS_CALL_QUEUED)
	{
		pfree(due);
		return;
	}
	queue = call->queue;
	call->due = due;
	unlink_call(call);
	if (due->is_closed || due->state == NEXUS_STATE_STARTED)
	{
		call->phase = NEXUS_CALL_SETTLING;
		nexus_dispatcher_forget(dispatcher, call);
		return;
	}
	push_loaded(call);
	if (queue->config == NULL)
		return;					/* it fails when it is its turn */
	caller = nexus_endpoint_queue_caller(queue, due->owner);
	if (caller->owner_exists && !caller->has_usage)
		nexus_dispatcher_hold(dispatcher, call);
	else if (due->callback_base == NULL)
		nexus_dispatcher_give_base(dispatcher, call);
}

/* Ids of queued operations, across all endpoints that can send. */
static int
collect_queued(NexusDispatcher *dispatcher, NexusUuid *ids)
{
	int			count = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &dispatcher->queues)
	{
		NexusEndpointQueue *queue = dlist_container(NexusEndpointQueue, node, iter.cur);
		int			wanted = LOAD_AHEAD + nexus_endpoint_queue_room(queue) - queue->loaded_count;
		dlist_iter	call_iter;

		if (!nexus_endpoint_queue_is_open(queue, dispatcher->worker) || !wants_load(queue))
			continue;
		dlist_foreach(call_iter, &queue->queued)
		{
			if (wanted-- <= 0 || count == LOAD_BATCH)
				break;
			ids[count++] = dlist_container(NexusCall, node, call_iter.cur)->id;
		}
	}
	return count;
}

/* An id that the table does not have any more must not be asked for again. */
static void
forget_missing(NexusDispatcher *dispatcher, const NexusUuid *ids, int count)
{
	for (int i = 0; i < count; i++)
	{
		NexusCall  *call = nexus_dispatcher_find(dispatcher, &ids[i]);

		if (call != NULL && call->phase == NEXUS_CALL_QUEUED)
			nexus_dispatcher_forget(dispatcher, call);
	}
}

void
nexus_dispatcher_prepare(NexusDispatcher *dispatcher)
{
	NexusUuid  *ids = palloc(sizeof(NexusUuid) * LOAD_BATCH);
	int			port = nexus_worker_registry_listener_port();
	int			count;
	dlist_iter	iter;

	dispatcher->baseless_count = 0;
	dlist_foreach(iter, &dispatcher->queues)
	{
		NexusEndpointQueue *queue = dlist_container(NexusEndpointQueue, node, iter.cur);

		if (queue->is_stale)
			nexus_endpoint_queue_read(queue, port);
		if (nexus_endpoint_queue_is_open(queue, dispatcher->worker))
			read_more(dispatcher, queue);
	}
	count = collect_queued(dispatcher, ids);
	if (count == 0)
		return;
	nexus_due_load(ids, count, dispatcher->context, take_loaded, dispatcher);
	forget_missing(dispatcher, ids, count);
	nexus_dispatcher_store_bases(dispatcher);
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

static bool
can_send(const NexusDispatcher *dispatcher, const NexusEndpointQueue *queue)
{
	return !queue->is_stale && nexus_endpoint_queue_is_open(queue, dispatcher->worker)
		&& dispatcher->in_flight < nexus_max_in_flight && nexus_endpoint_queue_room(queue) > 0
		&& first_sendable(queue) != NULL;
}

/* Send from one endpoint's queue; false where nothing (more) can go. */
static bool
send_one(NexusDispatcher *dispatcher, NexusEndpointQueue *queue)
{
	NexusCall  *call;

	if (!can_send(dispatcher, queue))
		return false;
	call = first_sendable(queue);
	unlink_call(call);
	nexus_dispatcher_send(dispatcher, call);
	return true;
}

void
nexus_dispatcher_start_due(NexusDispatcher *dispatcher)
{
	bool		sent = true;

	/* one of each endpoint in turn, so that none takes all the room */
	while (sent)
	{
		dlist_iter	iter;

		sent = false;
		dlist_foreach(iter, &dispatcher->queues)
		{
			NexusEndpointQueue *queue = dlist_container(NexusEndpointQueue, node, iter.cur);

			sent |= send_one(dispatcher, queue);
		}
	}
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
		if (can_send(dispatcher, queue) || (wants_load(queue) && dispatcher->in_flight < nexus_max_in_flight))
			return GetCurrentTimestamp();
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
	return (int) hash_get_num_entries(dispatcher->calls) - dispatcher->in_flight;
}
