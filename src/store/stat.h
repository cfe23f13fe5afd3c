/*
 * stat.h
 *	  Monotonic counters of each endpoint, written in the commit of what they
 *	  count, so that a crash cannot make them disagree with the rows.
 */
#ifndef NEXUS_STORE_STAT_H
#define NEXUS_STORE_STAT_H

#include "store/outcome.h"

/* Forget what was counted and not written (its transaction was aborted). */
extern void nexus_stat_begin(void);

/* Count the attempt that an applied outcome tells of, and whether it started. */
extern void nexus_stat_count_attempt(const NexusOutcome *outcome);

/* Count an operation that has just closed; "is_start": its completion told of its start, too. */
extern void nexus_stat_count_closed(const char *endpoint, NexusState state, int64 schedule_to_close_us,
									bool is_start);

/* Add what was counted to nexus.endpoint_stat. */
extern void nexus_stat_write(void);

/*
 * Remember that retention has deleted what closed at this time, and the
 * greatest of these times over all endpoints; DT_NOBEGIN for none.
 */
extern void nexus_stat_note_deleted(const char *endpoint, TimestampTz close_time);
extern TimestampTz nexus_stat_last_deleted(void);

#endif							/* NEXUS_STORE_STAT_H */
