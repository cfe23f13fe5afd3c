/*
 * loading.c
 *	  Read the operations that will be sent next.
 *
 * In a transaction, a batch for all endpoints at once, and only as much as can
 * be sent soon: what waits for a slow endpoint stays in the table.
 */
#include "postgres.h"

#include "config.h"
#include "shared/worker_registry.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/cancellation.h"
#include "worker/dispatcher_internal.h"

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

bool
nexus_dispatcher_wants_load(const NexusDispatcher *dispatcher, const NexusEndpointQueue *queue)
{
	const NexusCall *first;

	if (queue->queued_count == 0 || dispatcher->in_flight >= nexus_max_in_flight
		|| queue->loaded_count >= nexus_endpoint_queue_room(queue))
		return false;
	first = dlist_container(NexusCall, node, dlist_head_node(unconstify(dlist_head *, &queue->queued)));
	return nexus_dispatcher_fits(first, 0, 0);
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
		if (nexus_endpoint_queue_wants_reading(queue) || wants_retries(queue, now) || wants_refill(queue)
			|| nexus_dispatcher_wants_load(dispatcher, queue)
			|| (nexus_cancellations_want_load(queue) && nexus_dispatcher_may_send(dispatcher, queue)))
			return true;
	}
	return false;
}

static void
arrive_again(const NexusArrival *arrival, void *arg)
{
	NexusDispatcher *dispatcher = arg;

	if (nexus_dispatcher_find(dispatcher, &arrival->key.id) == NULL)
		nexus_dispatcher_push_queued(nexus_dispatcher_enter(dispatcher, &arrival->key.id,
															nexus_dispatcher_queue(dispatcher, arrival->endpoint)));
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
	if (due->left_out > 0)
	{
		/* it keeps its place, and is read whole when there is room for it */
		call->large_size = due->left_out;
		pfree(due);
		return;
	}
	queue = call->queue;
	nexus_dispatcher_unlink(call);
	nexus_dispatcher_set_due(call, due);
	if (due->is_closed || due->state == NEXUS_STATE_STARTED)
	{
		call->phase = NEXUS_CALL_SETTLING;
		nexus_dispatcher_forget(dispatcher, call);
		return;
	}
	nexus_dispatcher_push_loaded(call);
	if (queue->config == NULL)
		return;					/* it fails when it is its turn */
	caller = nexus_endpoint_queue_caller(queue, due->owner);
	if (caller->owner_exists && !caller->has_usage)
		nexus_dispatcher_hold(dispatcher, call);
	else if (due->callback_base == NULL)
		nexus_dispatcher_give_base(dispatcher, call);
}

/* What one look at the table asks for: ids, and the bytes of large inputs. */
typedef struct Batch
{
	NexusUuid	ids[LOAD_BATCH];
	int			count;
	int64		bytes;
} Batch;

/*
 * Queued operations of one endpoint, in their order.  Large ones are read as
 * there is room for them, and not ahead of their turn.
 */
static void
collect_of(const NexusEndpointQueue *queue, Batch *small, Batch *large)
{
	int			room = nexus_endpoint_queue_room(queue) - queue->loaded_count;
	int			taken = 0;
	int64		bytes = 0;
	dlist_iter	iter;

	dlist_foreach(iter, unconstify(dlist_head *, &queue->queued))
	{
		const NexusCall *call = dlist_container(NexusCall, node, iter.cur);
		bool		is_large = call->large_size > 0;
		Batch	   *batch = is_large ? large : small;

		if (taken >= room + (is_large ? 0 : LOAD_AHEAD) || batch->count == LOAD_BATCH
			|| !nexus_dispatcher_fits(call, large->bytes, bytes))
			break;
		batch->ids[batch->count++] = call->id;
		batch->bytes += call->large_size;
		bytes += call->large_size;
		taken++;
	}
}

/* Those that the table does not have any more must not be asked for again. */
static void
forget_missing(NexusDispatcher *dispatcher, const Batch *batch, bool with_large)
{
	for (int i = 0; i < batch->count; i++)
	{
		NexusCall  *call = nexus_dispatcher_find(dispatcher, &batch->ids[i]);

		if (call != NULL && call->phase == NEXUS_CALL_QUEUED && (with_large || call->large_size == 0))
			nexus_dispatcher_forget(dispatcher, call);
	}
}

static void
load(NexusDispatcher *dispatcher, const Batch *batch, Size max_input)
{
	if (batch->count == 0)
		return;
	nexus_due_load(batch->ids, batch->count, max_input, dispatcher->context, take_loaded, dispatcher);
	forget_missing(dispatcher, batch, max_input == NEXUS_DUE_WHOLE);
}

/* Load what can be sent, of all endpoints. */
static void
load_queued(NexusDispatcher *dispatcher)
{
	Batch	   *small = palloc0(sizeof(Batch));
	Batch	   *large = palloc0(sizeof(Batch));
	dlist_iter	iter;

	dlist_foreach(iter, &dispatcher->queues)
	{
		NexusEndpointQueue *queue = dlist_container(NexusEndpointQueue, node, iter.cur);

		if (nexus_endpoint_queue_is_open(queue, dispatcher->worker) && nexus_dispatcher_wants_load(dispatcher, queue))
			collect_of(queue, small, large);
	}
	load(dispatcher, small, NEXUS_INPUT_LARGE);
	load(dispatcher, large, NEXUS_DUE_WHOLE);
}

void
nexus_dispatcher_prepare(NexusDispatcher *dispatcher)
{
	int			port = nexus_worker_registry_listener_port();
	dlist_mutable_iter iter;

	dispatcher->baseless_count = 0;
	dlist_foreach_modify(iter, &dispatcher->queues)
	{
		NexusEndpointQueue *queue = dlist_container(NexusEndpointQueue, node, iter.cur);

		if (queue->is_stale)
			nexus_endpoint_queue_read(queue, port);
		if (nexus_endpoint_queue_is_over(queue))
			nexus_dispatcher_drop_queue(dispatcher, queue);
		else if (nexus_endpoint_queue_is_open(queue, dispatcher->worker))
			read_more(dispatcher, queue);
	}
	load_queued(dispatcher);
	nexus_dispatcher_store_bases(dispatcher);
}
