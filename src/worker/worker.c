/*
 * worker.c
 *	  The life of a database's worker: attach, recover, loop, drain.
 *
 * It sleeps in one place.  Each turn it takes what is readable, reads what has
 * arrived, sends what may go and then commits what has come back; with no open
 * operation it sleeps without limit.
 */
#include "postgres.h"

#include "worker/worker.h"

#include <signal.h>

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "config.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "shared/stats.h"
#include "shared/waiters.h"
#include "shared/worker_registry.h"
#include "storage/ipc.h"
#include "storage/procsignal.h"
#include "storage/sinval.h"
#include "store/queue.h"
#include "store/relation.h"
#include "store/stat.h"
#include "store/survey.h"
#include "store/transaction.h"
#include "tcop/tcopprot.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "worker/cancellation.h"
#include "worker/deadlines.h"
#include "worker/dispatcher.h"
#include "worker/incarnation_watch.h"
#include "worker/pausing.h"
#include "worker/reception.h"
#include "worker/request_taker.h"
#include "worker/retention.h"
#include "worker/state.h"

#define LOOK_INTERVAL_MS 60000	/* with operations open: rows that came
								 * another way */
#define RETRY_INTERVAL_MS 1000	/* after reading failed */
#define DRAIN_MS 3000			/* at shutdown, for the last commit */

/* set by invalidations */
static bool catalog_changed = false;	/* servers, mappings, roles */
static bool table_changed = false;	/* nexus.operation: dropped, or vacuumed */

/* ---- what is read in transactions ---- */

/* One that an earlier worker inserted; the survey counted it. */
static void
take_survivor(const NexusArrival *arrival, void *arg)
{
	NexusWorker *worker = arg;

	nexus_deadlines_note(worker->deadlines, arrival->deadline);
	nexus_dispatcher_arrive(worker->dispatcher, arrival);
}

static void
take_arrival(const NexusArrival *arrival, void *arg)
{
	NexusWorker *worker = arg;

	worker->arrived++;
	take_survivor(arrival, arg);
}

static void
take_request(const NexusTakenRequest *request, void *arg)
{
	nexus_request_taker_take(arg, request);
}

static void
survey_scheduled(const char *endpoint, void *arg)
{
	NexusWorker *worker = arg;

	nexus_endpoint_queue_rewind(nexus_dispatcher_queue(worker->dispatcher, endpoint));
}

static void
survey_backing_off(const char *endpoint, TimestampTz next_attempt, void *arg)
{
	NexusWorker *worker = arg;

	nexus_endpoint_queue_note_retry(nexus_dispatcher_queue(worker->dispatcher, endpoint), next_attempt);
}

static void
survey_cancellation(const NexusUuid *id, const char *endpoint, TimestampTz due, void *arg)
{
	nexus_cancellation_schedule(arg, id, endpoint, due);
}

/* Everything that stands in the tables, once per life of an incarnation. */
static void
recover(NexusWorker *worker)
{
	NexusSurvey survey = {.on_scheduled = survey_scheduled,.on_backing_off = survey_backing_off,
	.on_cancellation = survey_cancellation,.arg = worker};

	nexus_survey_read(&worker->incarnation.id, &survey);
	nexus_deadlines_note(worker->deadlines, survey.next_deadline);
	nexus_retention_note_closed(worker->retention, survey.first_close_time);
	worker->arrived = survey.open_count - nexus_group_opened(worker->group);
}

static void
read_arrivals(void *arg)
{
	NexusWorker *worker = arg;

	bool		is_first = !worker->is_surveyed;

	nexus_incarnation_watch_look(worker);
	if (!worker->has_incarnation)
		return;
	if (is_first)
		recover(worker);
	nexus_queue_read_arrivals(&worker->incarnation.id, is_first ? take_survivor : take_arrival, take_request, worker);
	worker->is_surveyed = true;
}

static void
prepare_requests(void *arg)
{
	NexusWorker *worker = arg;

	nexus_dispatcher_prepare(worker->dispatcher);
	nexus_cancellations_prepare(worker->cancellations);
}

static void
look_at_extension(void *arg)
{
	NexusWorker *worker = arg;

	worker->operation_table = nexus_relation_oid("operation");
}

/* Gone for good: nobody will send its callbacks here any more. */
static void
leave_if_dropped(NexusWorker *worker)
{
	Oid			before = worker->operation_table;

	if (!nexus_transaction_run("look at the catalogs", look_at_extension, worker, NULL)
		|| worker->operation_table == before)
		return;
	ereport(LOG,
			(errmsg("%s leaves: the extension was dropped", MyBgworkerEntry->bgw_name)));
	nexus_waiters_wake_all();
	nexus_stats_clear(worker->database);
	nexus_local_socket_close(worker->server);
	if (!OidIsValid(worker->operation_table))
		nexus_local_socket_remove(worker->database);
	else
		nexus_worker_registry_request(worker->database);	/* dropped and made
															 * again */
	proc_exit(0);
}

/* ---- the loop ---- */

/*
 * As long as the setting has ever allowed: who has not heard yet that it was
 * lowered would be cut off, and try again and again.
 */
static size_t
max_frame(void)
{
	static size_t most = 0;

	most = Max(most, (size_t) nexus_max_payload_size + NEXUS_FRAME_OVERHEAD);
	return most;
}

/* One more commit for what has come back, then go; the rest is sent again. */
static void
drain(NexusWorker *worker)
{
	TimestampTz give_up = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), DRAIN_MS);

	/* the commit itself must not be interrupted by what asked us to stop */
	ProcDiePending = false;
	while (nexus_group_can_commit(worker->group) && GetCurrentTimestamp() < give_up)
		nexus_group_commit(worker->group);
	nexus_local_socket_close(worker->server);
	nexus_http_client_destroy(worker->http);
	nexus_stats_clear(worker->database);
	proc_exit(0);
}

/* What was read so far is not all that is ours any more. */
static void
begin_anew(NexusWorker *worker)
{
	nexus_worker_registry_request(worker->database);
	drain(worker);
}

/* What was read of endpoints and roles, or depends on settings, may be another now. */
static void
read_anew(NexusWorker *worker)
{
	nexus_dispatcher_catalog_changed(worker->dispatcher);
	nexus_cancellations_catalog_changed(worker->cancellations);
	nexus_retention_catalog_changed(worker->retention);
}

/* With another name of the cluster this may be a copy, or none any more. */
static void
reload_settings(NexusWorker *worker)
{
	char	   *identity;

	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	identity = pstrdup(nexus_cluster_identity);
	ProcessConfigFile(PGC_SIGHUP);
	if (strcmp(identity, nexus_cluster_identity) != 0)
		begin_anew(worker);
	nexus_transaction_apply_synchronous_commit();
	nexus_local_socket_set_max_frame(worker->server, max_frame());
	read_anew(worker);
}

static void
heed_signals(NexusWorker *worker, uint32 wake)
{
	if (ProcDiePending || (wake & NEXUS_WAKE_LEAVE) != 0)
		drain(worker);
	QueryCancelPending = false; /* there is no query to cancel out here */
	CHECK_FOR_INTERRUPTS();
	if (catchupInterruptPending)
		ProcessCatchupInterrupt();
	reload_settings(worker);
}

static bool
has_open(const NexusWorker *worker)
{
	return worker->arrived + nexus_group_opened(worker->group) > 0;
}

/* When to read arrivals unasked; with nothing open there is nothing to look for. */
static TimestampTz
next_look(const NexusWorker *worker)
{
	if (worker->look_time == DT_NOBEGIN)
		return DT_NOBEGIN;
	if (worker->look_failed)
		return TimestampTzPlusMilliseconds(worker->look_time, RETRY_INTERVAL_MS);
	return has_open(worker) ? TimestampTzPlusMilliseconds(worker->look_time, LOOK_INTERVAL_MS) : DT_NOEND;
}

/* Read what has committed if somebody says so, if it is time, or at the start. */
static void
take_arrivals(NexusWorker *worker, uint32 wake)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		arrived = worker->arrived;

	if ((wake & NEXUS_WAKE_ARRIVALS) == 0 && now < next_look(worker))
		return;
	worker->look_failed = !nexus_transaction_run("read arrivals", read_arrivals, worker, NULL);
	if (worker->look_failed)
		worker->arrived = arrived;	/* they will come again */
	worker->look_time = now;
}

static void
heed_catalogs(NexusWorker *worker, uint32 wake)
{
	if ((wake & NEXUS_WAKE_CATALOG) == 0 && !catalog_changed && !table_changed)
		return;
	/* its transaction takes in the invalidations */
	table_changed = false;
	leave_if_dropped(worker);
	if ((wake & NEXUS_WAKE_CATALOG) == 0 && !catalog_changed)
		return;
	catalog_changed = false;
	read_anew(worker);
	if (!worker->has_incarnation)
		worker->look_time = DT_NOBEGIN; /* a restore may be about to end */
}

static void
send_due(NexusWorker *worker)
{
	nexus_cancellations_take_due(worker->cancellations);
	if (GetCurrentTimestamp() >= worker->read_retry_time)
		worker->read_retry_time = DT_NOBEGIN;
	if (worker->read_retry_time == DT_NOBEGIN
		&& nexus_dispatcher_needs_transaction(worker->dispatcher))
	{
		if (!nexus_transaction_run("read due operations", prepare_requests, worker, NULL))
		{
			nexus_dispatcher_undo_bases(worker->dispatcher);
			worker->read_retry_time = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_INTERVAL_MS);
		}
	}

	/*
	 * any transaction of this turn may have brought it: send nothing by what
	 * is no longer so
	 */
	heed_catalogs(worker, 0);
	nexus_dispatcher_start_due(worker->dispatcher);
	nexus_http_client_run(worker->http);
}

static void
commit_if_due(NexusWorker *worker, bool is_quiet)
{
	if (!nexus_group_is_due(worker->group, is_quiet))
		return;
	nexus_group_commit(worker->group);
	nexus_retention_note_closed(worker->retention, GetCurrentTimestamp());
}

static TimestampTz
next_deadline(const NexusWorker *worker)
{
	TimestampTz next = nexus_dispatcher_next_deadline(worker->dispatcher);

	/*
	 * an invalidation came with a transaction of this turn, and perhaps
	 * nothing else will
	 */
	if (catalog_changed || table_changed)
		return GetCurrentTimestamp();
	next = Min(next, nexus_cancellations_next(worker->cancellations));
	if (worker->read_retry_time != DT_NOBEGIN)
		next = worker->read_retry_time;
	next = Min(next, nexus_deadlines_next(worker->deadlines));
	next = Min(next, nexus_retention_next(worker->retention));
	next = Min(next, nexus_pausing_next(worker->pausing));
	next = Min(next, nexus_group_deadline(worker->group));
	next = Min(next, nexus_http_client_next_deadline(worker->http));
	return Min(next, next_look(worker));
}

static void
note_catalog_change(Datum arg, int cacheid, uint32 hashvalue)
{
	catalog_changed = true;
}

static void
note_relation_change(Datum arg, Oid relation)
{
	NexusWorker *worker = (NexusWorker *) DatumGetPointer(arg);

	if (relation == worker->operation_table || !OidIsValid(relation))
		table_changed = true;
}

/* Called since the turn began? The latch does not tell: any wait for a lock or a page resets it. */
static bool
is_called(uint32 wake)
{
	return wake != 0 || ConfigReloadPending || InterruptPending || catchupInterruptPending;
}

static void
run(NexusWorker *worker)
{
	bool		is_quiet = false;
	uint32		later = 0;

	for (;;)
	{
		uint32		wake = later | nexus_worker_registry_take_wake();

		heed_signals(worker, wake);
		/* a turn's garbage: what has to last says where it lives */
		MemoryContextSwitchTo(worker->scratch);
		heed_catalogs(worker, wake);
		take_arrivals(worker, wake);
		nexus_pausing_run(worker->pausing);
		if (nexus_pausing_begins_anew(worker->pausing))
			begin_anew(worker);
		nexus_deadlines_run(worker->deadlines);
		send_due(worker);
		commit_if_due(worker, is_quiet);
		nexus_local_socket_flush(worker->server);
		send_due(worker);
		/* while the handlers work on what has just gone out */
		nexus_retention_run(worker->retention);
		nexus_worker_registry_set_figures(nexus_dispatcher_in_flight(worker->dispatcher),
										  nexus_dispatcher_queued(worker->dispatcher));
		MemoryContextReset(worker->scratch);

		later = nexus_worker_registry_take_wake();
		nexus_io_loop_set_deadline(worker->loop, is_called(later) ? GetCurrentTimestamp() : next_deadline(worker));
		is_quiet = nexus_io_loop_wait(worker->loop, !nexus_group_is_collecting(worker->group)) == 0;
		nexus_http_client_run(worker->http);
	}
}

/* ---- start ---- */

static void
find_database_name(void *arg)
{
	NexusWorker *worker = arg;
	char	   *name = get_database_name(worker->database);

	if (name != NULL)
		strlcpy(worker->database_name, name, sizeof(worker->database_name));
}

typedef struct LastTimes
{
	TimestampTz closed;
	TimestampTz deleted;
} LastTimes;

static void
find_last_times(void *arg)
{
	LastTimes  *last = arg;

	last->closed = nexus_survey_last_close_time();
	last->deleted = nexus_stat_last_deleted();
}

static NexusWorker *
create(Oid database)
{
	NexusWorker *worker = MemoryContextAllocZero(TopMemoryContext, sizeof(NexusWorker));
	LastTimes	last = {DT_NOBEGIN, DT_NOBEGIN};

	worker->database = database;
	worker->look_time = DT_NOBEGIN;
	worker->read_retry_time = DT_NOBEGIN;
	worker->context = AllocSetContextCreate(TopMemoryContext, "nexus worker", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(worker->context);
	worker->scratch = AllocSetContextCreate(worker->context, "nexus turn", ALLOCSET_DEFAULT_SIZES);
	/* 0 would mean that there is no extension, and nobody would look again */
	if (!nexus_transaction_run("look at the catalogs", look_at_extension, worker, NULL))
		proc_exit(1);
	if (!OidIsValid(worker->operation_table))
		proc_exit(0);
	if (!nexus_worker_registry_attach(database))
		proc_exit(0);
	if (!nexus_transaction_run("read the database's name", find_database_name, worker, NULL))
		proc_exit(1);
	if (!nexus_transaction_run("read the last close time", find_last_times, &last, NULL))
		proc_exit(1);

	nexus_stats_clear(database);
	worker->loop = nexus_io_loop_create();
	worker->http = nexus_http_client_create(worker->loop);
	worker->group = nexus_group_create(last.closed);
	worker->dispatcher = nexus_dispatcher_create(worker);
	worker->cancellations = nexus_cancellations_create(worker);
	worker->deadlines = nexus_deadlines_create(worker);
	worker->retention = nexus_retention_create(worker, last.deleted);
	worker->pausing = nexus_pausing_create(worker);
	worker->server = nexus_local_socket_listen(worker->loop, database, max_frame(), nexus_reception_take, worker);
	return worker;
}

void
nexus_worker_main(Datum arg)
{
	Oid			database = DatumGetObjectId(arg);
	NexusWorker *worker;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGUSR1, procsignal_sigusr1_handler);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	nexus_transaction_fix_session();
	pgstat_report_appname("nexus worker");

	worker = create(database);
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, note_catalog_change, (Datum) 0);
	CacheRegisterSyscacheCallback(USERMAPPINGOID, note_catalog_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, note_catalog_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, note_catalog_change, (Datum) 0);
	CacheRegisterRelcacheCallback(note_relation_change, PointerGetDatum(worker));
	run(worker);
}
