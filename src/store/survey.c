/*
 * survey.c
 *	  What stands in the tables when a worker starts.
 */
#include "postgres.h"

#include "store/survey.h"

#include "catalog/pg_type.h"
#include "store/result.h"
#include "store/transaction.h"
#include "utils/timestamp.h"

static void
take_scheduled(const NexusResultRow *row, void *arg)
{
	NexusSurvey *survey = arg;

	survey->on_scheduled(nexus_result_text(row, 1), survey->arg);
}

static void
take_backing_off(const NexusResultRow *row, void *arg)
{
	NexusSurvey *survey = arg;

	survey->on_backing_off(nexus_result_text(row, 1), nexus_result_time(row, 2, DT_NOBEGIN), survey->arg);
}

static void
take_cancellation(const NexusResultRow *row, void *arg)
{
	NexusSurvey *survey = arg;
	NexusUuid	id;

	nexus_result_uuid(row, 1, &id);
	survey->on_cancellation(&id, nexus_result_text(row, 2), nexus_result_time(row, 3, DT_NOBEGIN), survey->arg);
}

static void
take_times(const NexusResultRow *row, void *arg)
{
	NexusSurvey *survey = arg;

	survey->next_deadline = nexus_result_time(row, 1, DT_NOEND);
	survey->first_close_time = nexus_result_time(row, 2, DT_NOEND);
	survey->open_count = nexus_result_int(row, 3, 0);
}

/* The distinct endpoints of a partial index, one probe each. */
#define ENDPOINTS_OF(state) \
	"WITH RECURSIVE e (name) AS (" \
	"(SELECT o.endpoint FROM nexus.operation o WHERE o.state OPERATOR(pg_catalog.=) '" state "' " \
	"ORDER BY o.endpoint LIMIT 1) " \
	"UNION ALL SELECT (SELECT o.endpoint FROM nexus.operation o " \
	"WHERE o.state OPERATOR(pg_catalog.=) '" state "' AND o.endpoint OPERATOR(pg_catalog.>) e.name " \
	"ORDER BY o.endpoint LIMIT 1) FROM e WHERE e.name IS NOT NULL) "

void
nexus_survey_read(const NexusUuid *incarnation, NexusSurvey *survey)
{
	static SPIPlanPtr scheduled = NULL;
	static SPIPlanPtr backing_off = NULL;
	static SPIPlanPtr cancellations = NULL;
	static SPIPlanPtr times = NULL;
	static const Oid types[] = {UUIDOID};
	Datum		values[] = {nexus_uuid_datum(incarnation)};

	nexus_transaction_plan(&scheduled, ENDPOINTS_OF("scheduled") "SELECT e.name FROM e WHERE e.name IS NOT NULL",
						   1, types);
	nexus_transaction_plan(&backing_off, ENDPOINTS_OF("backing_off")
						   "SELECT e.name, (SELECT pg_catalog.min(o.next_attempt_schedule_time) FROM nexus.operation o "
						   "WHERE o.endpoint OPERATOR(pg_catalog.=) e.name "
						   "AND o.state OPERATOR(pg_catalog.=) 'backing_off') FROM e WHERE e.name IS NOT NULL",
						   1, types);
	nexus_transaction_plan(&cancellations,
						   "SELECT o.id, o.endpoint, o.cancellation_next_attempt_schedule_time "
						   "FROM nexus.operation o WHERE o.close_time IS NULL "
						   "AND o.state OPERATOR(pg_catalog.=) 'started' "
						   "AND o.incarnation OPERATOR(pg_catalog.=) $1 AND o.cancellation_state "
						   "OPERATOR(pg_catalog.=) ANY (ARRAY['requested', 'scheduled', 'backing_off'])", 1, types);
	nexus_transaction_plan(&times,
						   "SELECT (SELECT pg_catalog.min(o.deadline) FROM nexus.operation o "
						   "WHERE o.close_time IS NULL AND o.deadline IS NOT NULL), "
						   "(SELECT pg_catalog.min(o.close_time) FROM nexus.operation o "
						   "WHERE o.close_time IS NOT NULL), "
						   "(SELECT pg_catalog.count(*) FROM nexus.operation o WHERE o.close_time IS NULL "
						   "AND o.incarnation OPERATOR(pg_catalog.=) $1)", 1, types);

	nexus_result_each(scheduled, values, take_scheduled, survey);
	nexus_result_each(backing_off, values, take_backing_off, survey);
	nexus_result_each(cancellations, values, take_cancellation, survey);
	nexus_result_each(times, values, take_times, survey);
}

static void
take_last(const NexusResultRow *row, void *arg)
{
	*(TimestampTz *) arg = nexus_result_time(row, 1, DT_NOBEGIN);
}

TimestampTz
nexus_survey_last_close_time(void)
{
	static SPIPlanPtr plan = NULL;
	TimestampTz last = DT_NOBEGIN;

	nexus_transaction_plan(&plan, "SELECT GREATEST((SELECT pg_catalog.max(o.close_time) FROM nexus.operation o "
						   "WHERE o.close_time IS NOT NULL), "
						   "(SELECT pg_catalog.max(s.deleted_close_time) FROM nexus.endpoint_stat s))", 0, NULL);
	nexus_result_each(plan, NULL, take_last, &last);
	return last;
}
