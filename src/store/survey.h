/*
 * survey.h
 *	  What stands in the tables when a worker starts: one look at all of it.
 */
#ifndef NEXUS_STORE_SURVEY_H
#define NEXUS_STORE_SURVEY_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "protocol/uuid.h"

typedef struct NexusSurvey
{
	/* called once per endpoint with scheduled operations */
	void		(*on_scheduled) (const char *endpoint, void *arg);
	/* called once per endpoint with operations that back off */
	void		(*on_backing_off) (const char *endpoint, TimestampTz next_attempt, void *arg);
	/* called for each cancellation that must still be delivered */
	void		(*on_cancellation) (const NexusUuid *id, const char *endpoint, TimestampTz due, void *arg);
	void	   *arg;

	/* filled in */
	TimestampTz next_deadline;	/* DT_NOEND for none */
	TimestampTz first_close_time;	/* DT_NOEND for none */
	int64		open_count;
} NexusSurvey;

/* The greatest close time of the database, deleted ones included; DT_NOBEGIN for none. */
extern TimestampTz nexus_survey_last_close_time(void);

/* In nexus_transaction_run; rows of other incarnations do not count. */
extern void nexus_survey_read(const NexusUuid *incarnation, NexusSurvey *survey);

#endif							/* NEXUS_STORE_SURVEY_H */
