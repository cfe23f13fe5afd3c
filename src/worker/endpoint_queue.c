/*
 * endpoint_queue.c
 *	  One endpoint in a worker's memory.
 */
#include "postgres.h"

#include "worker/endpoint_queue.h"

#include "access/xact.h"
#include "common/pg_prng.h"
#include "config.h"
#include "postmaster/bgworker.h"
#include "protocol/url.h"
#include "shared/stats.h"
#include "shared/worker_registry.h"
#include "store/unix_time.h"
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
	dlist_init(&queue->cancels);
	return queue;
}

bool
nexus_endpoint_queue_is_over(const NexusEndpointQueue *queue)
{
	return queue->config == NULL && !queue->is_stale && queue->users == 0 && !queue->is_spilled
		&& queue->retry_next == DT_NOEND;
}

bool
nexus_endpoint_queue_is_idle(const NexusEndpointQueue *queue)
{
	return queue->queued_count + queue->loaded_count + queue->cancel_count == 0 && !queue->is_spilled
		&& queue->retry_next == DT_NOEND && !queue->is_stale && queue->config != NULL;
}

void
nexus_endpoint_queue_rouse(NexusEndpointQueue *queue)
{
	if (!queue->is_resting)
		return;
	dlist_delete(&queue->node);
	dlist_push_tail(queue->busy, &queue->node);
	queue->is_resting = false;
}

/* ---- the circuit breaker ---- */

static void
publish_breaker(const NexusEndpointQueue *queue)
{
	nexus_stats_set_breaker(queue->stats_slot, queue->breaker.state,
							queue->breaker.state == NEXUS_BREAKER_OPEN ? queue->breaker.open_until : 0);
}

static void
reset_breaker(NexusEndpointQueue *queue)
{
	uint32		changes = queue->breaker.changes;

	memset(&queue->breaker, 0, sizeof(queue->breaker));
	/* what is on its way does not count any more */
	queue->breaker.changes = changes + 1;
	publish_breaker(queue);
}

/* ---- the configuration, and who calls ---- */

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

void
nexus_endpoint_queue_free(NexusEndpointQueue *queue)
{
	forget_callers(queue);
	nexus_stats_free_slot(queue->stats_slot);
	MemoryContextDelete(queue->context);
	pfree(queue->name);
	pfree(queue);
}

/* The base of callback URLs that lead to our own listener directly; NULL = none. */
static char *
find_own_base(const NexusEndpoint *config, int listener_port)
{
	NexusEndpoint plain = *config;
	char	   *own_base = NULL;
	NexusBuffer base;

	plain.callback_url = NULL;
	nexus_buffer_init(&base, NEXUS_CALLBACK_URL_MAX);
	if (nexus_callback_url[0] == '\0' && nexus_endpoint_callback_base(&plain, listener_port, &base))
		own_base = pnstrdup(base.data, base.len);
	nexus_buffer_free(&base);
	return own_base;
}

/* What was learnt of one address, or server, says nothing about another. */
static bool
is_another(const NexusEndpoint *before, const NexusEndpoint *now)
{
	return before == NULL || now == NULL || strcmp(before->url, now->url) != 0
		|| before->breaker.failures != now->breaker.failures
		|| before->breaker.open_interval_us != now->breaker.open_interval_us;
}

void
nexus_endpoint_queue_read(NexusEndpointQueue *queue, int listener_port)
{
	/* goes with the transaction after an error, which leaves all as it was */
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "nexus endpoint", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	NexusEndpoint *config = nexus_endpoint_get(queue->name, true);
	char	   *own_base = config == NULL ? NULL : find_own_base(config, listener_port);

	MemoryContextSwitchTo(old);
	if (is_another(queue->config, config))
		reset_breaker(queue);
	forget_callers(queue);
	MemoryContextSetParent(context, MemoryContextGetParent(queue->context));
	MemoryContextDelete(queue->context);
	queue->context = context;
	queue->config = config;
	queue->own_base = own_base;
	queue->is_stale = false;
}

bool
nexus_endpoint_queue_wants_reading(const NexusEndpointQueue *queue)
{
	return queue->is_stale && queue->queued_count + queue->loaded_count + queue->cancel_count > 0;
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
	nexus_endpoint_queue_rouse(queue);
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
	nexus_endpoint_queue_rouse(queue);
	queue->retry_next = Min(queue->retry_next, due);
	/* its commit took long: behind the floor it would never be found */
	if (due <= queue->retry_floor)
	{
		queue->retry_floor = TIMESTAMP_IS_NOBEGIN(due) ? due : due - 1;
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
	nexus_endpoint_queue_rouse(queue);
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
	int			room = Max(limit - queue->in_flight, 0);

	/* operations of a server that is gone are not sent but failed */
	if (queue->breaker.state == NEXUS_BREAKER_CLOSED || queue->config == NULL)
		return room;
	return nexus_breaker_allows(&queue->breaker, &queue->config->breaker, GetCurrentTimestamp()) ? Min(room, 1) : 0;
}

static int64
rate_wait_us(const NexusEndpointQueue *queue)
{
	if (queue->config == NULL || queue->config->max_requests_per_second == 0)
		return 0;
	return nexus_rate_wait_us(&queue->rate, queue->config->max_requests_per_second, GetCurrentTimestamp());
}

bool
nexus_endpoint_queue_admits(const NexusEndpointQueue *queue, const NexusWorker *worker)
{
	return nexus_endpoint_queue_is_open(queue, worker) && nexus_endpoint_queue_room(queue) > 0
		&& rate_wait_us(queue) == 0;
}

TimestampTz
nexus_endpoint_queue_opens_at(const NexusEndpointQueue *queue)
{
	int64		wait;

	if (queue->breaker.state == NEXUS_BREAKER_OPEN && queue->breaker.open_until > GetCurrentTimestamp()
		&& queue->queued_count + queue->loaded_count + queue->cancel_count > 0)
		return queue->breaker.open_until;
	wait = rate_wait_us(queue);
	if (wait > 0 && queue->loaded_count + queue->cancel_count > 0)
		return GetCurrentTimestamp() + wait;
	return DT_NOEND;
}

NexusBreakerTicket
nexus_endpoint_queue_note_sent(NexusEndpointQueue *queue, TimestampTz now)
{
	NexusBreakerState before = queue->breaker.state;
	NexusBreakerTicket ticket = nexus_breaker_send(&queue->breaker, &queue->config->breaker, now);

	nexus_rate_take(&queue->rate, queue->config->max_requests_per_second, now);
	if (queue->breaker.state != before)
		publish_breaker(queue);
	return ticket;
}

void
nexus_endpoint_queue_note_result(NexusEndpointQueue *queue, NexusBreakerTicket ticket, bool is_failure)
{
	NexusBreakerState before = queue->breaker.state;

	if (queue->config == NULL
		|| !nexus_breaker_take_result(&queue->breaker, &queue->config->breaker, ticket, is_failure,
									  GetCurrentTimestamp()))
		return;
	publish_breaker(queue);
	/* a probe that fails is no news, and its interval may be short */
	if (before == NEXUS_BREAKER_HALF_OPEN && queue->breaker.state == NEXUS_BREAKER_OPEN)
		return;
	ereport(LOG,
			(errmsg("circuit breaker of endpoint \"%s\" is %s now", queue->name,
					nexus_breaker_state_name(queue->breaker.state)),
			 errcontext("%s", MyBgworkerEntry->bgw_name)));
}

void
nexus_endpoint_queue_note_abandoned(NexusEndpointQueue *queue, NexusBreakerTicket ticket)
{
	nexus_breaker_abandon(&queue->breaker, ticket);
}

/* The defaults where the server is gone, whose operations may still be in flight. */
static const NexusRetryPolicy *
retry_policy(const NexusEndpointQueue *queue)
{
	static const NexusRetryPolicy defaults = {NEXUS_DEFAULT_RETRY_INITIAL_INTERVAL_MS,
	NEXUS_DEFAULT_RETRY_MAX_INTERVAL_MS, NEXUS_DEFAULT_RETRY_BACKOFF_COEFFICIENT};

	return queue->config == NULL ? &defaults : &queue->config->retry;
}

TimestampTz
nexus_endpoint_queue_next_attempt(const NexusEndpointQueue *queue, int32 attempt, const NexusHeaders *headers,
								  TimestampTz now)
{
	const NexusRetryPolicy *policy = retry_policy(queue);
	int64		delay = nexus_retry_delay_ms(policy, attempt, pg_prng_double(&pg_global_prng_state));
	int64		asked = headers == NULL ? 0 : nexus_retry_after_ms(headers, nexus_unix_us_of_timestamp(now));

	return TimestampTzPlusMilliseconds(now, Max(delay, Min(asked, policy->max_interval_ms)));
}

void
nexus_endpoint_queue_add_in_flight(NexusEndpointQueue *queue, int change)
{
	queue->in_flight += change;
	nexus_stats_set_in_flight(queue->stats_slot, queue->in_flight);
}
