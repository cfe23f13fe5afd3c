/*
 * endpoint_list.c
 *	  The endpoints that a worker has met, by name.
 *
 * There may be many of which few have something to do, so those that rest
 * stand in a list of their own, which no turn walks.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "worker/dispatcher_internal.h"

#define ENDPOINTS_USUAL 64		/* to begin with */

typedef struct NamedQueue
{
	const char *name;			/* the queue's own */
	NexusEndpointQueue *queue;
} NamedQueue;

static uint32
hash_name(const void *key, Size size)
{
	const char *name = *(const char *const *) key;

	return hash_bytes((const unsigned char *) name, (int) strlen(name));
}

static int
compare_names(const void *a, const void *b, Size size)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

void
nexus_dispatcher_init_queues(NexusDispatcher *dispatcher)
{
	HASHCTL		control = {.keysize = sizeof(char *),.entrysize = sizeof(NamedQueue),.hcxt = CurrentMemoryContext,
	.hash = hash_name,.match = compare_names};

	dispatcher->by_name = hash_create("nexus endpoints", ENDPOINTS_USUAL, &control,
									  HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	dlist_init(&dispatcher->queues);
	dlist_init(&dispatcher->resting);
}

static NexusEndpointQueue *
find_queue(const NexusDispatcher *dispatcher, const char *endpoint)
{
	const NamedQueue *named = hash_search(dispatcher->by_name, &endpoint, HASH_FIND, NULL);

	return named == NULL ? NULL : named->queue;
}

static NexusEndpointQueue *
add_queue(NexusDispatcher *dispatcher, const char *endpoint)
{
	NexusEndpointQueue *queue = nexus_endpoint_queue_create(endpoint, dispatcher->worker->database,
															dispatcher->context);
	NamedQueue *named = hash_search(dispatcher->by_name, &queue->name, HASH_ENTER, NULL);

	named->queue = queue;
	queue->dispatcher = dispatcher;
	queue->busy = &dispatcher->queues;
	dlist_push_tail(&dispatcher->queues, &queue->node);
	return queue;
}

NexusEndpointQueue *
nexus_dispatcher_queue(NexusDispatcher *dispatcher, const char *endpoint)
{
	NexusEndpointQueue *queue = dispatcher->last_queue;

	/* arrivals of one transaction tend to be for one endpoint */
	if (queue != NULL && strcmp(queue->name, endpoint) == 0)
		return queue;
	queue = find_queue(dispatcher, endpoint);
	if (queue == NULL)
		queue = add_queue(dispatcher, endpoint);
	return dispatcher->last_queue = queue;
}

void
nexus_dispatcher_drop_queue(NexusDispatcher *dispatcher, NexusEndpointQueue *queue)
{
	dlist_delete(&queue->node);
	hash_search(dispatcher->by_name, &queue->name, HASH_REMOVE, NULL);
	if (dispatcher->last_queue == queue)
		dispatcher->last_queue = NULL;
	nexus_endpoint_queue_free(queue);
}

void
nexus_dispatcher_let_rest(NexusDispatcher *dispatcher, NexusEndpointQueue *queue)
{
	dlist_delete(&queue->node);
	dlist_push_tail(&dispatcher->resting, &queue->node);
	queue->is_resting = true;
}
