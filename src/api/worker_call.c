/*
 * worker_call.c
 *	  One connection per backend to this database's worker, kept between calls.
 *
 * A call that is interrupted closes the connection, so that an answer that
 * comes too late is never taken for that of another call.
 */
#include "postgres.h"

#include "api/waiting.h"
#include "api/worker_call.h"
#include "config.h"
#include "errcodes.h"
#include "miscadmin.h"
#include "net/local_socket.h"
#include "shared/waiters.h"
#include "shared/worker_registry.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Between two looks for a worker that is starting. */
#define START_PAUSE_MS 20

static NexusLocalClient *connection = NULL;

static void
free_buffer(void *arg)
{
	nexus_buffer_free(arg);
}

NexusBuffer *
nexus_worker_call_buffer(void)
{
	NexusBuffer *buffer = palloc(sizeof(NexusBuffer));
	MemoryContextCallback *at_end = palloc0(sizeof(MemoryContextCallback));

	nexus_buffer_init(buffer, (size_t) nexus_max_payload_size + NEXUS_FRAME_OVERHEAD);
	at_end->func = free_buffer;
	at_end->arg = buffer;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, at_end);
	return buffer;
}

uint64
nexus_worker_call_next(void)
{
	static uint64 last = 0;

	return ++last;
}

static void
disconnect(void)
{
	if (connection != NULL)
		nexus_local_socket_disconnect(connection);
	connection = NULL;
}

static void
take_worker_error(const NexusProcessInfo *info, void *arg)
{
	char	   *message = arg;

	if (info->database == MyDatabaseId && strcmp(info->kind, "worker") == 0)
		strlcpy(message, info->last_error, NEXUS_LAST_ERROR_MAX);
}

/* Raise where the worker cannot run, as against one that will in a moment. */
static void
refuse_failed_worker(void)
{
	char		message[NEXUS_LAST_ERROR_MAX] = "";
	NexusProcessState state;

	if (!nexus_worker_registry_worker_state(MyDatabaseId, &state))
	{
		nexus_worker_registry_request(MyDatabaseId);
		return;
	}
	if (state != NEXUS_PROCESS_FAILED && state != NEXUS_PROCESS_NO_SLOT)
		return;
	nexus_worker_registry_each(take_worker_error, message);
	ereport(ERROR,
			(errcode(NEXUS_ERRCODE_NO_WORKER),
			 errmsg("the worker of this database does not run"),
			 message[0] != '\0' ? errdetail("%s", message) : 0,
			 state == NEXUS_PROCESS_NO_SLOT ?
			 errhint("Raise \"max_worker_processes\" and restart the server.") :
			 errhint("It is tried again; nexus.workers and the server log show why it failed.")));
}

/* False at the deadline. */
static bool
connect_until(TimestampTz deadline)
{
	while (connection == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);

		connection = nexus_local_socket_connect(MyDatabaseId);
		MemoryContextSwitchTo(caller);
		if (connection != NULL)
			break;
		if (GetCurrentTimestamp() >= deadline)
			return false;
		refuse_failed_worker();
		(void) nexus_waiters_sleep(START_PAUSE_MS);
	}
	return true;
}

static long
milliseconds_until(TimestampTz deadline)
{
	return deadline == DT_NOEND ? -1 : TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
}

/* Say in an interrupting error that the worker may have heard us. */
static void
rethrow_in_doubt(MemoryContext context, const char *doubt, const char *remedy)
{
	ErrorData  *error;

	if (doubt == NULL)
		PG_RE_THROW();
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	error->detail = pstrdup(doubt);
	error->hint = remedy != NULL ? pstrdup(remedy) : error->hint;
	ReThrowError(error);
}

NexusCallResult
nexus_worker_call(const NexusBuffer *frame, uint64 correlation, NexusFrameKind answer_kind, TimestampTz deadline,
				  const char *doubt, const char *remedy, NexusFrame *answer)
{
	MemoryContext context = CurrentMemoryContext;
	bool		is_answered = false;

	nexus_waiting_require_preload();
	if (!connect_until(deadline))
		return NEXUS_CALL_TIMED_OUT;
	PG_TRY();
	{
		is_answered = nexus_local_socket_call(connection, nexus_buffer_view(frame), milliseconds_until(deadline),
											  answer);
	}
	PG_CATCH();
	{
		disconnect();
		rethrow_in_doubt(context, doubt, remedy);
	}
	PG_END_TRY();

	if (is_answered && answer->kind == answer_kind && answer->correlation == correlation)
		return NEXUS_CALL_ANSWERED;
	disconnect();
	return GetCurrentTimestamp() >= deadline ? NEXUS_CALL_TIMED_OUT : NEXUS_CALL_LOST;
}
