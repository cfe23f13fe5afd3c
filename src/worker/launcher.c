/*
 * launcher.c
 *	  The launcher's life, and how the life of its workers begins.
 *
 * It sees no database from inside: whether one has the extension only a worker
 * can tell (launch.h).  At SIGTERM, which the workers get too, it goes on until
 * they have left, so that callbacks are answered as long as somebody can.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "net/local_socket.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "shared/worker_registry_internal.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/database_list.h"
#include "worker/launch.h"
#include "worker/launcher.h"
#include "worker/listener_process.h"
#include "worker/worker.h"

#define RESTART_SECONDS 1
#define DRAIN_TIMEOUT_MS 4000

void
nexus_launcher_worker_main(Datum arg)
{
	nexus_worker_registry_begin(DatumGetObjectId(arg));
	PG_TRY();
	{
		nexus_worker_main(arg);
	}
	PG_CATCH();
	{
		MemoryContext error_context = MemoryContextSwitchTo(TopMemoryContext);
		ErrorData  *error = CopyErrorData();

		MemoryContextSwitchTo(error_context);
		nexus_worker_registry_set_error(error->message);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* What a crash in the middle of DROP DATABASE may have left. */
static void
remove_stale_sockets(void)
{
	List	   *databases = nexus_database_list_read();
	List	   *sockets = nexus_local_socket_databases();
	ListCell   *cell;

	foreach(cell, sockets)
	{
		if (nexus_database_list_find(databases, lfirst_oid(cell)) == NULL)
			nexus_local_socket_remove(lfirst_oid(cell));
	}
	list_free(sockets);
	list_free_deep(databases);
}

static void
sleep_until(TimestampTz due)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	int			fd = nexus_listener_process_fd();
	long		timeout = -1;

	if (due != DT_NOEND)
	{
		timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), due);
		events |= WL_TIMEOUT;
	}
	if (fd != PGINVALID_SOCKET)
		events |= WL_SOCKET_READABLE;
	if (WaitLatchOrSocket(MyLatch, events, fd, timeout, PG_WAIT_EXTENSION) & WL_LATCH_SET)
		ResetLatch(MyLatch);
}

static void
run_turn(void)
{
	TimestampTz listener_due;

	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		nexus_listener_process_configure();
	}
	nexus_launch_turn();
	if (nexus_launch_is_scanned())
		nexus_listener_process_set_scanned();
	listener_due = nexus_listener_process_turn();
	sleep_until(Min(listener_due, nexus_launch_next_due()));
}

/* The workers leave with us; callbacks are taken until they have gone. */
static void
drain(void)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), DRAIN_TIMEOUT_MS);

	while (nexus_worker_registry_has_workers() && GetCurrentTimestamp() < end)
	{
		CHECK_FOR_INTERRUPTS();
		(void) nexus_listener_process_turn();
		sleep_until(end);
	}
	nexus_listener_process_stop();
}

void
nexus_launcher_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGINT, SIG_IGN);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	if (!nexus_worker_registry_attach_launcher())
		ereport(FATAL,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("another nexus launcher is running")));

	remove_stale_sockets();
	nexus_launch_want_all();
	nexus_listener_process_configure();
	while (!ShutdownRequestPending)
		run_turn();
	drain();
	/* With 0 the postmaster would not start us again. */
	proc_exit(1);
}

void
nexus_launcher_register(void)
{
	BackgroundWorker worker = {0};

	strlcpy(worker.bgw_name, "nexus launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "nexus launcher", sizeof(worker.bgw_type));
	strlcpy(worker.bgw_library_name, "nexus_pg", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "nexus_launcher_main", sizeof(worker.bgw_function_name));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_SECONDS;
	RegisterBackgroundWorker(&worker);
}
