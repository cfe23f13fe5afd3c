/*
 * breaker.h
 *	  A circuit breaker: after some failures in a row nothing is sent to an
 *	  endpoint for a while, and then one request to find out.
 *
 * Closed: all may go.  Open: nothing until a time.  Half open: one request, the
 * probe, is on its way, and its result closes the breaker or opens it again.
 * Times are microseconds of one clock, whichever the caller has.
 */
#ifndef NEXUS_PROTOCOL_BREAKER_H
#define NEXUS_PROTOCOL_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct NexusBreakerPolicy
{
	int32_t		failures;		/* consecutive, to open it; 0 = never */
	int64_t		open_interval_us;
} NexusBreakerPolicy;

typedef enum NexusBreakerState
{
	NEXUS_BREAKER_CLOSED,
	NEXUS_BREAKER_OPEN,
	NEXUS_BREAKER_HALF_OPEN
} NexusBreakerState;

/* All zeros is a closed one. */
typedef struct NexusBreaker
{
	NexusBreakerState state;
	int32_t		failed;			/* in a row */
	int64_t		open_until;		/* OPEN: when the probe may go */
	bool		is_probing;		/* HALF_OPEN: the probe is on its way */
	uint32_t	changes;		/* of state: results of requests that were
								 * sent before the last one do not count */
} NexusBreaker;

/* What a request was sent under; 0 is no request. */
typedef uint32_t NexusBreakerTicket;

/* Whether a request may be sent now. */
extern bool nexus_breaker_allows(const NexusBreaker *breaker, const NexusBreakerPolicy *policy, int64_t now);

/* A request is being sent, which was allowed; its result comes with this ticket. */
extern NexusBreakerTicket nexus_breaker_send(NexusBreaker *breaker, const NexusBreakerPolicy *policy, int64_t now);

/*
 * The result of a request.  A failure is one of the handler's availability (a
 * retryable one); an error that is final is an answer, so it is none.  True where the state changed.
 */
extern bool nexus_breaker_take_result(NexusBreaker *breaker, const NexusBreakerPolicy *policy,
									  NexusBreakerTicket ticket, bool is_failure, int64_t now);

/* The request was given up for a reason of ours: it says nothing, and another may probe. */
extern void nexus_breaker_abandon(NexusBreaker *breaker, NexusBreakerTicket ticket);

/* As views call it: "closed", "open", "half_open". */
extern const char *nexus_breaker_state_name(NexusBreakerState state);

#endif							/* NEXUS_PROTOCOL_BREAKER_H */
