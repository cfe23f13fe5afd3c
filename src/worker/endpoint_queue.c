/*
 * endpoint_queue.c
 *	  One endpoint in a worker's memory.
 */
#include "postgres.h"

#include "worker/endpoint_queue.h"

#include "access/xact.h"
#include "config.h"
#include "protocol/url.h"
#include "shared/stats.h"
#include "shared/worker_registry.h"
#include "utils/memutils.h"

NexusEndpointQueue *
nexus_endpoint_queue_create(const char *name, Oid database, MemoryContext context)
{
	NexusEndpointQueue *queue = MemoryContextAllocZero(context, sizeof(NexusEndpointQueue));

	queue->name = MemoryContextStrdup(context, name);
	queue->context = AllocSetContextCreate(context, "nexus endpoint", ALLOCSET_SMALL_SIZES);
	queue->is_stale = true;
	queue->retry_next = DT_NOEND;
	queue->retry_floor = DT_NOBEGIN;
	queue->stats_slot = nexus_stats_slot(database, name);
	dlist_init(&queue->queued);
	dlist_init(&queue->loaded);
	return queue;
}

static void
forget_callers(NexusEndpointQueue *queue)
{
	while (queue->callers != NULL)
	{
		NexusCaller *caller = queue->callers;

		queue->callers = caller->next;
		nexus_caller_free(caller);
	}
}

/* The base of callback URLs that lead to our own listener directly. */
static void
find_own_base(NexusEndpointQueue *queue, int listener_port)
{
	NexusEndpoint plain = *queue->config;
	NexusBuffer base;

	queue->own_base = NULL;
	plain.callback_url = NULL;
	nexus_buffer_init(&base, NEXUS_CALLBACK_URL_MAX);
	if (nexus_callback_url[0] == '\0' && nexus_endpoint_callback_base(&plain, listener_port, &base))
		queue->own_base = pnstrdup(base.data, base.len);
	nexus_buffer_free(&base);
}

void
nexus_endpoint_queue_read(NexusEndpointQueue *queue, int listener_port)
{
	MemoryContext old;

	forget_callers(queue);
	queue->config = NULL;
	queue->own_base = NULL;
	MemoryContextReset(queue->context);
	old = MemoryContextSwitchTo(queue->context);
	queue->config = nexus_endpoint_get(queue->name, true);
	if (queue->config != NULL)
		find_own_base(queue, listener_port);
	MemoryContextSwitchTo(old);
	queue->is_stale = false;
}

NexusCaller *
nexus_endpoint_queue_known_caller(NexusEndpointQueue *queue, Oid owner)
{
	for (NexusCaller *caller = queue->callers; caller != NULL; caller = caller->next)
		if (caller->owner == owner)
			return caller;
	return NULL;
}

static void
forget_caller(NexusEndpointQueue *queue, NexusCaller *caller)
{
	NexusCaller **link = &queue->callers;

	while (*link != caller)
		link = &(*link)->next;
	*link = caller->next;
	nexus_caller_free(caller);
}

NexusCaller *
nexus_endpoint_queue_caller(NexusEndpointQueue *queue, Oid owner)
{
	NexusCaller *caller = nexus_endpoint_queue_known_caller(queue, owner);

	if (caller != NULL && !nexus_caller_is_old(caller, GetCurrentStatementStartTimestamp()))
		return caller;
	if (caller != NULL)
		forget_caller(queue, caller);
	caller = nexus_caller_read(queue->config, owner, queue->context);
	caller->next = queue->callers;
	queue->callers = caller;
	return caller;
}

void
nexus_endpoint_queue_rewind(NexusEndpointQueue *queue)
{
	memset(&queue->spill_key, 0, sizeof(queue->spill_key));
	queue->is_spilled = true;
	queue->has_executed = true;
	queue->retry_floor = DT_NOBEGIN;
	memset(&queue->retry_floor_id, 0, sizeof(queue->retry_floor_id));
	queue->retry_next = DT_NOBEGIN;
}

void
nexus_endpoint_queue_note_retry(NexusEndpointQueue *queue, TimestampTz due)
{
	queue->retry_next = Min(queue->retry_next, due);
	/* its commit took long: behind the floor it would never be found */
	if (due <= queue->retry_floor)
	{
		queue->retry_floor = due - 1;
		memset(&queue->retry_floor_id, 0, sizeof(queue->retry_floor_id));
	}
}

void
nexus_endpoint_queue_spill(NexusEndpointQueue *queue, const NexusQueueKey *key)
{
	NexusQueueKey before = *key;

	/* the refill reads what comes after its key: step back by one transaction */
	before.xid = key->xid == 0 ? 0 : key->xid - 1;
	memset(&before.id, 0xff, sizeof(before.id));
	if (!queue->is_spilled || before.xid < queue->spill_key.xid)
		queue->spill_key = before;
	queue->is_spilled = true;
}

bool
nexus_endpoint_queue_is_open(const NexusEndpointQueue *queue, const NexusWorker *worker)
{
	if (!nexus_enabled || worker->is_paused || nexus_group_is_failing(worker->group))
		return false;
	return queue->is_stale || queue->config == NULL || queue->config->enabled;
}

int
nexus_endpoint_queue_room(const NexusEndpointQueue *queue)
{
	int32		limit = queue->config == NULL ? NEXUS_DEFAULT_ENDPOINT_MAX_IN_FLIGHT : queue->config->max_in_flight;

	return Max(limit - queue->in_flight, 0);
}

const NexusRetryPolicy *
nexus_endpoint_queue_retry(const NexusEndpointQueue *queue)
{
	static const NexusRetryPolicy defaults = {NEXUS_DEFAULT_RETRY_INITIAL_INTERVAL_MS,
	NEXUS_DEFAULT_RETRY_MAX_INTERVAL_MS, NEXUS_DEFAULT_RETRY_BACKOFF_COEFFICIENT};

	return queue->config == NULL ? &defaults : &queue->config->retry;
}

void
nexus_endpoint_queue_add_in_flight(NexusEndpointQueue *queue, int change)
{
	queue->in_flight += change;
	nexus_stats_set_in_flight(queue->stats_slot, queue->in_flight);
}
