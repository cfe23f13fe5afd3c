/*
 * test_breaker.c
 *	  The circuit breaker.
 */
#include "protocol/breaker.h"
#include "protocol/text.h"
#include "tap.h"

#define FAILURES 5
#define INTERVAL 60000000

static const NexusBreakerPolicy policy = {FAILURES, INTERVAL};

/* Send one request and take its result at once. */
static bool
attempt(NexusBreaker *breaker, bool is_failure, int64_t now)
{
	return nexus_breaker_take_result(breaker, &policy, nexus_breaker_send(breaker, &policy, now), is_failure, now);
}

static void
open_it(NexusBreaker *breaker)
{
	*breaker = (NexusBreaker)
	{
		NEXUS_BREAKER_CLOSED
	};
	for (int i = 0; i < FAILURES; i++)
		(void) attempt(breaker, true, 0);
}

static void
test_opening(void)
{
	NexusBreaker breaker = {NEXUS_BREAKER_CLOSED};

	ok(nexus_breaker_allows(&breaker, &policy, 0), "a new one lets requests through");
	for (int i = 1; i < FAILURES; i++)
		ok(!attempt(&breaker, true, 0), "four failures change nothing");
	ok(!attempt(&breaker, false, 0), "nor does a success");
	for (int i = 1; i < FAILURES; i++)
		ok(!attempt(&breaker, true, 0), "it begins the count anew");
	ok(attempt(&breaker, true, 100), "the fifth failure in a row opens it");
	is_int(breaker.state, NEXUS_BREAKER_OPEN, "open");
	ok(!nexus_breaker_allows(&breaker, &policy, 100), "it lets nothing through");
	ok(!nexus_breaker_allows(&breaker, &policy, INTERVAL + 99), "until its interval is over");
	ok(nexus_breaker_allows(&breaker, &policy, INTERVAL + 100), "and then one request");
	ok(!nexus_breaker_allows(&breaker, &policy, 100), "a clock that was set back a little lets it wait");
	ok(nexus_breaker_allows(&breaker, &policy, 99), "but not for longer than the interval");
}

static void
test_probe(void)
{
	NexusBreaker breaker;
	NexusBreakerTicket probe;

	open_it(&breaker);
	probe = nexus_breaker_send(&breaker, &policy, INTERVAL);
	is_int(breaker.state, NEXUS_BREAKER_HALF_OPEN, "with the probe it is half open");
	ok(!nexus_breaker_allows(&breaker, &policy, INTERVAL), "one probe at a time");
	ok(nexus_breaker_take_result(&breaker, &policy, probe, true, INTERVAL + 7), "a probe that fails");
	is_int(breaker.state, NEXUS_BREAKER_OPEN, "opens it again");
	ok(!nexus_breaker_allows(&breaker, &policy, 2 * INTERVAL + 6), "for a whole interval");

	probe = nexus_breaker_send(&breaker, &policy, 2 * INTERVAL + 7);
	ok(nexus_breaker_take_result(&breaker, &policy, probe, false, 2 * INTERVAL + 8), "a probe that succeeds");
	is_int(breaker.state, NEXUS_BREAKER_CLOSED, "closes it");
	ok(!attempt(&breaker, true, 2 * INTERVAL + 9), "and the count begins at zero");

	open_it(&breaker);
	probe = nexus_breaker_send(&breaker, &policy, INTERVAL);
	nexus_breaker_abandon(&breaker, probe);
	is_int(breaker.state, NEXUS_BREAKER_HALF_OPEN, "a probe that we gave up says nothing");
	ok(nexus_breaker_allows(&breaker, &policy, INTERVAL), "and makes room for another");
}

static void
test_stale_results(void)
{
	NexusBreaker breaker = {NEXUS_BREAKER_CLOSED};
	NexusBreakerTicket old = nexus_breaker_send(&breaker, &policy, 0);
	NexusBreakerTicket probe;

	for (int i = 0; i < FAILURES; i++)
		(void) attempt(&breaker, true, 0);
	ok(!nexus_breaker_take_result(&breaker, &policy, old, false, 1), "a success sent before it opened");
	is_int(breaker.state, NEXUS_BREAKER_OPEN, "does not close it");
	probe = nexus_breaker_send(&breaker, &policy, INTERVAL);
	ok(!nexus_breaker_take_result(&breaker, &policy, old, true, INTERVAL), "nor does an old failure end the probe");
	nexus_breaker_abandon(&breaker, old);
	ok(!nexus_breaker_allows(&breaker, &policy, INTERVAL), "or an old request that is given up");
	ok(!nexus_breaker_take_result(&breaker, &policy, 0, false, INTERVAL), "what was not sent has no result");
	ok(nexus_breaker_take_result(&breaker, &policy, probe, false, INTERVAL), "only its own does");
}

static void
test_policies(void)
{
	NexusBreakerPolicy never = {0, INTERVAL};
	NexusBreakerPolicy once = {1, 5};
	NexusBreaker breaker = {NEXUS_BREAKER_CLOSED};

	for (int i = 0; i < 1000; i++)
		(void) nexus_breaker_take_result(&breaker, &never, nexus_breaker_send(&breaker, &never, 0), true, 0);
	is_int(breaker.state, NEXUS_BREAKER_CLOSED, "zero failures: it never opens");
	ok(nexus_breaker_take_result(&breaker, &once, nexus_breaker_send(&breaker, &once, 0), true, 0), "one: at the first");
	ok(nexus_breaker_allows(&breaker, &never, 0), "an open one lets all through once it is switched off");
	is_text(nexus_text_of(nexus_breaker_state_name(NEXUS_BREAKER_CLOSED)), "closed", "what views call it");
	is_text(nexus_text_of(nexus_breaker_state_name(NEXUS_BREAKER_OPEN)), "open", "what views call it");
	is_text(nexus_text_of(nexus_breaker_state_name(NEXUS_BREAKER_HALF_OPEN)), "half_open", "what views call it");
}

int
main(void)
{
	test_opening();
	test_probe();
	test_stale_results();
	test_policies();
	return done();
}
