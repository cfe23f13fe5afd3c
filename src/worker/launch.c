/*
 * launch.c
 *	  Start workers one by one, and again when they end by an error.
 *
 * Ends are learned from the registry, so that a launcher that was started again
 * keeps the workers it finds; the handle only tells of those that did not get
 * as far as the registry, and when the process slot is free again.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "shared/worker_registry_internal.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/database_list.h"
#include "worker/launch.h"

#define DELAY_MIN_MS 1000
#define DELAY_MAX_MS 60000

/* One that ran as long as this is tried again soon when it ends. */
#define STABLE_AFTER_MS 60000

/* Meanwhile no other is started; after that it is somebody's lock. */
#define START_TIMEOUT_MS 5000

#define NO_SLOT_DELAY_MS 10000
#define NO_SLOT_WARNING_MS (10 * 60 * 1000)

typedef enum LaunchPhase
{
	LAUNCH_WANTED,				/* to be started as soon as it may */
	LAUNCH_STARTING,			/* registered, not yet attached */
	LAUNCH_RUNNING,
	LAUNCH_DELAYED				/* tried again when "due" */
} LaunchPhase;

/* A database whose worker runs or is to be started. */
typedef struct Launch
{
	Oid			database;
	NameData	name;
	LaunchPhase phase;
	TimestampTz since;			/* when the phase began */
	TimestampTz due;			/* valid when delayed */
	int			delay_ms;		/* before the next try after an error */
	bool		has_no_slot;	/* delayed for want of a worker process */
	bool		looks_again;	/* asked for while a worker was there */
	bool		is_first_look;	/* the listener waits for what it finds */
	BackgroundWorkerHandle *handle; /* NULL where another launcher started it */
} Launch;

static List *launches = NIL;	/* of Launch */
static bool is_scanned = false;
static TimestampTz no_slot_warning = 0;

static Launch *
find_launch(Oid database)
{
	ListCell   *cell;

	foreach(cell, launches)
	{
		Launch	   *launch = lfirst(cell);

		if (launch->database == database)
			return launch;
	}
	return NULL;
}

static void
enter_phase(Launch *launch, LaunchPhase phase)
{
	launch->phase = phase;
	launch->since = GetCurrentTimestamp();
}

/* A worker is asked for; one that waits after an error goes on waiting. */
static void
want(const NexusDatabaseName *database)
{
	Launch	   *launch = find_launch(database->oid);
	MemoryContext old_context;

	if (launch != NULL)
	{
		launch->looks_again = launch->phase == LAUNCH_STARTING || launch->phase == LAUNCH_RUNNING;
		return;
	}
	old_context = MemoryContextSwitchTo(TopMemoryContext);
	launch = palloc0(sizeof(Launch));
	launch->database = database->oid;
	launch->name = database->name;
	launch->is_first_look = !is_scanned;
	enter_phase(launch, LAUNCH_WANTED);
	launches = lappend(launches, launch);
	MemoryContextSwitchTo(old_context);
}

static void
forget(Launch *launch)
{
	nexus_worker_registry_forget(launch->database);
	launches = list_delete_ptr(launches, launch);
	if (launch->handle != NULL)
		pfree(launch->handle);
	pfree(launch);
}

void
nexus_launch_want_all(void)
{
	List	   *databases = nexus_database_list_read();
	ListCell   *cell;

	foreach(cell, databases)
	{
		const NexusDatabaseName *database = lfirst(cell);

		if (database->is_usable)
			want(database);
	}
	list_free_deep(databases);
}

static void
take_requests(void)
{
	Oid			requests[NEXUS_REQUESTS_MAX];
	int			count;
	List	   *databases;

	if (nexus_worker_registry_take_requests(requests, &count))
		nexus_launch_want_all();
	if (count == 0)
		return;
	databases = nexus_database_list_read();
	for (int i = 0; i < count; i++)
	{
		const NexusDatabaseName *database = nexus_database_list_find(databases, requests[i]);
		Launch	   *launch = find_launch(requests[i]);

		if (database != NULL && database->is_usable)
			want(database);
		else if (launch != NULL && launch->phase == LAUNCH_WANTED)
			forget(launch);
	}
	list_free_deep(databases);
}

/* ---- starting workers ---- */

static bool
register_worker(Launch *launch)
{
	BackgroundWorker worker = {0};
	MemoryContext old_context = MemoryContextSwitchTo(TopMemoryContext);
	bool		ok;

	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "nexus worker for database %s", NameStr(launch->name));
	strlcpy(worker.bgw_type, "nexus worker", sizeof(worker.bgw_type));
	strlcpy(worker.bgw_library_name, "nexus_pg", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "nexus_launcher_worker_main", sizeof(worker.bgw_function_name));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = ObjectIdGetDatum(launch->database);
	worker.bgw_notify_pid = MyProcPid;
	if (launch->handle != NULL)
		pfree(launch->handle);
	launch->handle = NULL;
	ok = RegisterDynamicBackgroundWorker(&worker, &launch->handle);
	MemoryContextSwitchTo(old_context);
	return ok;
}

static void
delay(Launch *launch, int delay_ms)
{
	enter_phase(launch, LAUNCH_DELAYED);
	launch->due = TimestampTzPlusMilliseconds(launch->since, delay_ms);
}

static void
take_no_slot(Launch *launch)
{
	nexus_worker_registry_fail(launch->database, NEXUS_PROCESS_NO_SLOT,
							   "max_worker_processes is exhausted");
	launch->has_no_slot = true;
	delay(launch, NO_SLOT_DELAY_MS);
	if (no_slot_warning != 0 &&
		!TimestampDifferenceExceeds(no_slot_warning, launch->since, NO_SLOT_WARNING_MS))
		return;
	no_slot_warning = launch->since;
	ereport(WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("could not start the nexus worker for database \"%s\": no background worker slot is free",
					NameStr(launch->name)),
			 errhint("Increase max_worker_processes, by one for each database with nexus_pg and one more.")));
}

static void
start_worker(Launch *launch)
{
	launch->looks_again = false;
	launch->has_no_slot = false;
	nexus_worker_registry_prepare(launch->database);
	if (register_worker(launch))
		enter_phase(launch, LAUNCH_STARTING);
	else
		take_no_slot(launch);
}

/* One at a time, so that hundreds of databases make no burst. */
static bool
is_another_starting(void)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *cell;

	foreach(cell, launches)
	{
		const Launch *launch = lfirst(cell);

		if (launch->phase == LAUNCH_STARTING &&
			!TimestampDifferenceExceeds(launch->since, now, START_TIMEOUT_MS))
			return true;
	}
	return false;
}

static void
start_wanted(void)
{
	ListCell   *cell;

	if (is_another_starting())
		return;
	foreach(cell, launches)
	{
		Launch	   *launch = lfirst(cell);

		if (launch->phase != LAUNCH_WANTED || nexus_worker_registry_is_being_left(launch->database))
			continue;
		start_worker(launch);
		if (launch->phase == LAUNCH_STARTING)
			return;
	}
}

/* ---- ends of workers ---- */

static bool
is_stopped(const Launch *launch)
{
	pid_t		pid;

	return launch->handle != NULL && GetBackgroundWorkerPid(launch->handle, &pid) == BGWH_STOPPED;
}

static void
retry_after_error(Launch *launch)
{
	if (TimestampDifferenceExceeds(launch->since, GetCurrentTimestamp(), STABLE_AFTER_MS))
		launch->delay_ms = 0;
	launch->delay_ms = Min(Max(launch->delay_ms * 2, DELAY_MIN_MS), DELAY_MAX_MS);
	nexus_worker_registry_fail(launch->database, NEXUS_PROCESS_FAILED, NULL);
	delay(launch, launch->delay_ms);
}

/* A process has ended, so there may be a slot for others; whether one waits for it. */
static bool
retry_without_slot(void)
{
	bool		is_any = false;
	ListCell   *cell;

	foreach(cell, launches)
	{
		Launch	   *launch = lfirst(cell);

		if (launch->phase == LAUNCH_DELAYED && launch->has_no_slot)
			enter_phase(launch, LAUNCH_WANTED);
		is_any |= launch->phase == LAUNCH_WANTED && launch->has_no_slot;
	}
	return is_any;
}

/*
 * It was sent away, told to end, or its extension has gone: another one finds
 * out.  Not at once after a short life, lest they chase each other, nor before
 * those that waited for its process slot.
 */
static void
look_once_more(Launch *launch, bool do_others_wait)
{
	bool		was_short = !TimestampDifferenceExceeds(launch->since, GetCurrentTimestamp(), DELAY_MIN_MS);

	nexus_worker_registry_prepare(launch->database);
	if ((was_short || do_others_wait) && !nexus_worker_registry_is_being_left(launch->database))
		delay(launch, DELAY_MIN_MS);
	else
		enter_phase(launch, LAUNCH_WANTED);
}

/*
 * Exit code 0 before it attached: there is no extension, or somebody wants the
 * database without us.  Until that is over a first look remains to be done.
 */
static void
take_end(Launch *launch, bool is_clean)
{
	bool		do_others_wait = retry_without_slot();

	if (!is_clean)
		retry_after_error(launch);
	else if (launch->phase == LAUNCH_RUNNING && do_others_wait)
		look_once_more(launch, true);
	else if (launch->looks_again ||
			 (launch->is_first_look && nexus_worker_registry_is_being_left(launch->database)))
		enter_phase(launch, LAUNCH_WANTED);
	else if (launch->phase == LAUNCH_RUNNING)
		look_once_more(launch, false);
	else
		forget(launch);
}

static void
look_at_running(Launch *launch)
{
	/*
	 * In this order: a worker that is stopped has told of its end before. Its
	 * process slot is free only then.
	 */
	bool		stopped = is_stopped(launch);
	NexusWorkerLook look = nexus_worker_registry_look(launch->database);

	if (look.is_attached)
	{
		if (launch->phase == LAUNCH_STARTING)
			enter_phase(launch, LAUNCH_RUNNING);
		if (look.state == NEXUS_PROCESS_RUNNING || look.state == NEXUS_PROCESS_PAUSED)
			launch->is_first_look = false;
	}
	else if (look.has_ended && (stopped || launch->handle == NULL))
		take_end(launch, look.exit_code == 0);
	else if (!look.has_ended && (stopped || launch->phase == LAUNCH_RUNNING))
		take_end(launch, false);
}

/* The database may have gone meanwhile. */
static void
look_at_delayed(Launch *launch)
{
	List	   *databases;
	const NexusDatabaseName *database;

	if (launch->due > GetCurrentTimestamp())
		return;
	databases = nexus_database_list_read();
	database = nexus_database_list_find(databases, launch->database);
	if (database != NULL && database->is_usable)
	{
		launch->name = database->name;
		enter_phase(launch, LAUNCH_WANTED);
	}
	else
		forget(launch);
	list_free_deep(databases);
}

static void
look_at_launches(void)
{
	List	   *copy = list_copy(launches); /* what we call may remove some */
	ListCell   *cell;

	foreach(cell, copy)
	{
		Launch	   *launch = lfirst(cell);

		switch (launch->phase)
		{
			case LAUNCH_STARTING:
			case LAUNCH_RUNNING:
				look_at_running(launch);
				break;
			case LAUNCH_DELAYED:
				look_at_delayed(launch);
				break;
			case LAUNCH_WANTED:
				/* One that an earlier launcher has started. */
				if (nexus_worker_registry_look(launch->database).is_attached)
					enter_phase(launch, LAUNCH_RUNNING);
				break;
		}
	}
	list_free(copy);
}

/* ---- for the launcher ---- */

bool
nexus_launch_is_scanned(void)
{
	return is_scanned;
}

static void
check_scanned(void)
{
	ListCell   *cell;

	foreach(cell, launches)
	{
		if (((Launch *) lfirst(cell))->is_first_look)
			return;
	}
	is_scanned = true;
}

void
nexus_launch_turn(void)
{
	take_requests();
	look_at_launches();
	start_wanted();
	check_scanned();
}

TimestampTz
nexus_launch_next_due(void)
{
	TimestampTz due = DT_NOEND;
	bool		is_waiting = false;
	ListCell   *cell;

	foreach(cell, launches)
	{
		const Launch *launch = lfirst(cell);

		if (launch->phase == LAUNCH_DELAYED)
			due = Min(due, launch->due);
		if (launch->phase == LAUNCH_WANTED && !nexus_worker_registry_is_being_left(launch->database))
			is_waiting = true;
	}
	if (is_waiting)
		due = Min(due, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), START_TIMEOUT_MS));
	return due;
}
