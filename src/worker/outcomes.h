/*
 * outcomes.h
 *	  Outcomes that several parts of a worker make, filled in.
 */
#ifndef NEXUS_WORKER_OUTCOMES_H
#define NEXUS_WORKER_OUTCOMES_H

#include "protocol/failure.h"
#include "protocol/payload.h"
#include "worker/state.h"

/* Add a CLOSE with a failure (JSON text); len 0 for none. */
extern NexusOutcome *nexus_outcomes_close(NexusWorker *worker, const NexusUuid *id, const char *endpoint,
										  NexusState state, NexusText failure);

/* The CLOSE of an operation whose time ran out at "deadline". */
extern NexusOutcome *nexus_outcomes_timed_out(NexusWorker *worker, const NexusUuid *id, const char *endpoint,
											  NexusTimeoutType type);

/* Copy a result into an outcome, and judge whether it can be jsonb here. */
extern void nexus_outcomes_set_payload(NexusWorker *worker, NexusOutcome *outcome, const NexusPayload *payload);

/* A header value as a string of the database; what is not ASCII becomes '?'. */
extern char *nexus_outcomes_text(NexusWorker *worker, NexusText text);

/* An operation token as it is to be kept; NULL where the database's encoding cannot. */
extern char *nexus_outcomes_token(NexusWorker *worker, NexusText token);

/* JSON text as jsonb in the group's memory; 0 for empty text. */
extern Datum nexus_outcomes_jsonb(NexusWorker *worker, NexusText json);

/* Which of an operation's timeouts ends it at its deadline. */
extern NexusTimeoutType nexus_outcomes_timeout_type(NexusState state, TimestampTz scheduled_time,
													TimestampTz started_time, int64 schedule_to_close,
													int64 schedule_to_start, int64 start_to_close);

#endif							/* NEXUS_WORKER_OUTCOMES_H */
