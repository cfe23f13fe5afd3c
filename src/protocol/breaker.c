/*
 * breaker.c
 *	  A circuit breaker.
 */
#include "protocol/breaker.h"

/* Also where the clock was set back behind its beginning. */
static bool
is_interval_over(const NexusBreaker *breaker, const NexusBreakerPolicy *policy, int64_t now)
{
	return now >= breaker->open_until || now < breaker->open_until - policy->open_interval_us;
}

bool
nexus_breaker_allows(const NexusBreaker *breaker, const NexusBreakerPolicy *policy, int64_t now)
{
	if (policy->failures == 0)
		return true;
	switch (breaker->state)
	{
		case NEXUS_BREAKER_CLOSED:
			return true;
		case NEXUS_BREAKER_OPEN:
			return is_interval_over(breaker, policy, now);
		case NEXUS_BREAKER_HALF_OPEN:
			return !breaker->is_probing;
	}
	return true;
}

static void
change(NexusBreaker *breaker, NexusBreakerState state)
{
	breaker->state = state;
	breaker->failed = 0;
	breaker->is_probing = false;
	breaker->changes++;
}

/* Never 0, which is no request. */
static NexusBreakerTicket
current_ticket(const NexusBreaker *breaker)
{
	return breaker->changes + 1 == 0 ? 1 : breaker->changes + 1;
}

NexusBreakerTicket
nexus_breaker_send(NexusBreaker *breaker, const NexusBreakerPolicy *policy, int64_t now)
{
	if (breaker->state == NEXUS_BREAKER_OPEN && is_interval_over(breaker, policy, now))
		change(breaker, NEXUS_BREAKER_HALF_OPEN);
	if (breaker->state == NEXUS_BREAKER_HALF_OPEN)
		breaker->is_probing = true;
	return current_ticket(breaker);
}

static void
open(NexusBreaker *breaker, const NexusBreakerPolicy *policy, int64_t now)
{
	change(breaker, NEXUS_BREAKER_OPEN);
	breaker->open_until = now + policy->open_interval_us;
}

bool
nexus_breaker_take_result(NexusBreaker *breaker, const NexusBreakerPolicy *policy, NexusBreakerTicket ticket,
						  bool is_failure, int64_t now)
{
	uint32_t	before = breaker->changes;

	if (ticket != current_ticket(breaker))
		return false;
	switch (breaker->state)
	{
		case NEXUS_BREAKER_CLOSED:
			breaker->failed = is_failure ? breaker->failed + 1 : 0;
			if (policy->failures > 0 && breaker->failed >= policy->failures)
				open(breaker, policy, now);
			break;
		case NEXUS_BREAKER_HALF_OPEN:
			if (is_failure)
				open(breaker, policy, now);
			else
				change(breaker, NEXUS_BREAKER_CLOSED);
			break;
		case NEXUS_BREAKER_OPEN:
			break;
	}
	return breaker->changes != before;
}

void
nexus_breaker_abandon(NexusBreaker *breaker, NexusBreakerTicket ticket)
{
	if (ticket == current_ticket(breaker))
		breaker->is_probing = false;
}

const char *
nexus_breaker_state_name(NexusBreakerState state)
{
	switch (state)
	{
		case NEXUS_BREAKER_CLOSED:
			return "closed";
		case NEXUS_BREAKER_OPEN:
			return "open";
		case NEXUS_BREAKER_HALF_OPEN:
			return "half_open";
	}
	return "closed";
}
