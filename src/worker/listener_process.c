/*
 * listener_process.c
 *	  Keep the program nexus_listener running, pass settings to it and its log
 *	  lines and figures on.
 *
 * Two things are tried again independently: binding (slowly, since somebody
 * else has the port) and running the program (soon, since handlers wait).  The
 * sockets stay open when the program ends, so that the next one has the same
 * port and the connections that wait.
 */
#include "postgres.h"

#include <sys/wait.h>
#include <unistd.h>

#include "config.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "protocol/control.h"
#include "shared/worker_registry_internal.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/listener_child.h"
#include "worker/listener_process.h"

#define BIND_DELAY_MIN_MS 500
#define BIND_DELAY_MAX_MS 30000
#define RESTART_DELAY_MIN_MS 100
#define RESTART_DELAY_MAX_MS 5000

/* One that ran as long as this is started again at once when it ends. */
#define RESTART_AT_ONCE_AFTER_MS 10000

#define LEAVE_TIMEOUT_MS 3000
#define READ_SIZE 4096

/* Something to be tried again, each time after twice as long. */
typedef struct Retry
{
	TimestampTz due;			/* DT_NOEND: not wanted */
	int			delay_ms;		/* before the next try; 0 for none */
} Retry;

static struct
{
	char	   *addresses;		/* what "sockets" are or shall be bound to */
	int			port;
	NexusListenerSockets sockets;
	Retry		bind;
	NexusListenerChild child;
	Retry		start;
	TimestampTz started_time;
	bool		is_scanned;
	char		line[NEXUS_CONTROL_LINE_MAX];
	size_t		line_len;
	bool		skips_line;		/* the rest of an over-long one */
}			listener;

static void
try_now(Retry *retry)
{
	retry->due = GetCurrentTimestamp();
	retry->delay_ms = 0;
}

static void
try_later(Retry *retry, int min_ms, int max_ms)
{
	retry->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), retry->delay_ms);
	retry->delay_ms = Min(Max(retry->delay_ms * 2, min_ms), max_ms);
}

static bool
is_due(const Retry *retry)
{
	return retry->due != DT_NOEND && retry->due <= GetCurrentTimestamp();
}

static bool
is_wanted(void)
{
	return listener.addresses != NULL && listener.addresses[strspn(listener.addresses, " \t")] != '\0';
}

static void
publish(NexusProcessState state)
{
	nexus_worker_registry_set_listener(is_wanted(), listener.child.pid, state,
									   listener.sockets.count > 0 ? listener.sockets.port : 0);
}

static void
report_trouble(const char *message)
{
	nexus_worker_registry_set_listener_error(message);
	ereport(WARNING,
			(errcode(ERRCODE_SYSTEM_ERROR),
			 errmsg("%s", message)));
}

/* ---- down: settings ---- */

static void
send_settings(void)
{
	NexusListenerSettings settings = {0};
	NexusBuffer line;

	if (listener.child.pid == 0)
		return;
	settings.max_connections = nexus_max_connections;
	settings.request_deadline_ms = nexus_request_deadline;
	settings.max_body = nexus_max_payload_size;
	settings.is_scanned = listener.is_scanned;
	nexus_buffer_init(&line, NEXUS_CONTROL_LINE_MAX);
	if (!nexus_control_format_settings(&line, &settings) ||
		write(listener.child.input, line.data, line.len) != (ssize_t) line.len)
		ereport(WARNING,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("could not pass settings to nexus_listener: %m")));
	nexus_buffer_free(&line);
}

void
nexus_listener_process_set_scanned(void)
{
	if (listener.is_scanned)
		return;
	listener.is_scanned = true;
	send_settings();
}

/* ---- up: log lines and figures ---- */

/* Whatever the program sends must be harmless in the server's log. */
static void
log_line(bool is_warning, NexusText message)
{
	char		text[NEXUS_CONTROL_LINE_MAX];
	size_t		len = Min(message.len, sizeof(text) - 1);

	for (size_t i = 0; i < len; i++)
		text[i] = message.data[i] >= ' ' && message.data[i] <= '~' ? message.data[i] : '?';
	text[len] = '\0';
	ereport(is_warning ? WARNING : DEBUG1,
			(errmsg("nexus_listener: %s", text)));
}

static void
take_line(void)
{
	NexusText	line = nexus_text_make(listener.line, listener.line_len);
	NexusListenerFigures figures;
	NexusText	message;
	bool		is_warning;

	if (listener.skips_line)
		ereport(WARNING,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("nexus_listener sent a line that is too long")));
	else if (nexus_control_parse_figures(line, &figures))
		nexus_worker_registry_set_listener_figures(&figures);
	else if (nexus_control_parse_log(line, &is_warning, &message))
		log_line(is_warning, message);
	else
		ereport(WARNING,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("nexus_listener sent a line that is not understood")));
	listener.line_len = 0;
	listener.skips_line = false;
}

static void
take_bytes(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		if (bytes[i] == '\n')
			take_line();
		else if (listener.line_len < sizeof(listener.line))
			listener.line[listener.line_len++] = bytes[i];
		else
			listener.skips_line = true;
	}
}

/* False at the end of file: the program has ended. */
static bool
read_output(void)
{
	char		bytes[READ_SIZE];
	ssize_t		len = read(listener.child.output, bytes, sizeof(bytes));

	if (len > 0)
		take_bytes(bytes, (size_t) len);
	return len > 0 || (len < 0 && (errno == EAGAIN || errno == EINTR));
}

/* ---- the program ---- */

static void
describe_end(int status, char *text, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(text, size, "nexus_listener was terminated by signal %d: %s",
				 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(text, size, "nexus_listener ended with exit code %d", WEXITSTATUS(status));
}

static void
take_end(void)
{
	int			status = nexus_listener_child_reap(&listener.child);
	char		text[NEXUS_LAST_ERROR_MAX];

	describe_end(status, text, sizeof(text));
	report_trouble(text);
	if (TimestampDifferenceExceeds(listener.started_time, GetCurrentTimestamp(), RESTART_AT_ONCE_AFTER_MS))
		listener.start.delay_ms = 0;
	try_later(&listener.start, RESTART_DELAY_MIN_MS, RESTART_DELAY_MAX_MS);
	publish(NEXUS_PROCESS_FAILED);
}

static void
start(void)
{
	NexusError	error = {0};

	if (!nexus_listener_child_start(&listener.sockets, &listener.child, &error))
	{
		report_trouble(error.message);
		try_later(&listener.start, RESTART_DELAY_MIN_MS, RESTART_DELAY_MAX_MS);
		publish(NEXUS_PROCESS_FAILED);
		return;
	}
	if (listener.start.delay_ms > 0)
		ereport(LOG,
				(errmsg("nexus_listener was started again, process ID %d", (int) listener.child.pid)));
	listener.started_time = GetCurrentTimestamp();
	listener.start.due = DT_NOEND;
	listener.line_len = 0;
	listener.skips_line = false;
	publish(NEXUS_PROCESS_RUNNING);
	send_settings();
}

/* Wait until the program has closed its output, interruptibly. */
static void
wait_for_end(void)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LEAVE_TIMEOUT_MS);
	long		left;

	while ((left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end)) > 0)
	{
		int			events = WaitLatchOrSocket(MyLatch,
											   WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
											   listener.child.output, left, PG_WAIT_EXTENSION);

		if (events & WL_LATCH_SET)
			ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if ((events & WL_SOCKET_READABLE) && !read_output())
			return;
	}
}

void
nexus_listener_process_stop(void)
{
	if (listener.child.pid == 0)
		return;
	nexus_listener_child_hang_up(&listener.child);
	wait_for_end();
	(void) nexus_listener_child_reap(&listener.child);
	publish(NEXUS_PROCESS_STARTING);
	/* Latch sets during the wait were for others too. */
	SetLatch(MyLatch);
}

/* ---- the sockets ---- */

static void
open_sockets(void)
{
	NexusError	error = {0};

	if (nexus_listener_socket_open(listener.addresses, listener.port, &listener.sockets, &error))
	{
		listener.bind.due = DT_NOEND;
		ereport(LOG,
				(errmsg("nexus_listener listens on \"%s\", port %d", listener.addresses, listener.sockets.port)));
		try_now(&listener.start);
		return;
	}
	report_trouble(error.message);
	listener.bind.delay_ms = Max(listener.bind.delay_ms, BIND_DELAY_MIN_MS);
	try_later(&listener.bind, BIND_DELAY_MIN_MS, BIND_DELAY_MAX_MS);
	publish(NEXUS_PROCESS_FAILED);
}

void
nexus_listener_process_configure(void)
{
	if (listener.addresses != NULL && strcmp(listener.addresses, nexus_listen_addresses) == 0 &&
		listener.port == nexus_port)
	{
		send_settings();
		return;
	}
	nexus_listener_process_stop();
	nexus_listener_socket_close(&listener.sockets);
	if (listener.addresses != NULL)
		pfree(listener.addresses);
	listener.addresses = MemoryContextStrdup(TopMemoryContext, nexus_listen_addresses);
	listener.port = nexus_port;
	listener.start.due = listener.bind.due = DT_NOEND;
	if (is_wanted())
		try_now(&listener.bind);
	publish(NEXUS_PROCESS_STARTING);
}

int
nexus_listener_process_fd(void)
{
	return listener.child.pid != 0 ? listener.child.output : PGINVALID_SOCKET;
}

TimestampTz
nexus_listener_process_turn(void)
{
	if (listener.child.pid != 0 && !read_output())
		take_end();
	if (is_due(&listener.bind))
		open_sockets();
	if (is_due(&listener.start))
		start();
	return Min(listener.bind.due, listener.start.due);
}
