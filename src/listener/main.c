/*
 * main.c
 *	  nexus_listener: takes callback requests and passes them to the workers.
 *
 * Started by the launcher with listening sockets as descriptors, the data
 * directory as working directory, and pipes as standard input and output
 * (protocol/control.h).  It knows nothing of PostgreSQL, so that the process
 * that parses what strangers send can harm no server, whatever happens to it.
 *
 * It accepts connections once the first settings have come.  It leaves when its
 * standard input ends or at SIGTERM, after the requests in flight were answered.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "listener/control_pipe.h"
#include "listener/http_server.h"
#include "listener/linger.h"
#include "listener/loop.h"
#include "listener/worker_link.h"

#define LEAVE_MS 2000			/* for the requests in flight */
#define EXIT_USAGE 2

static int	sockets[NEXUS_HTTP_SERVER_MAX_SOCKETS];
static int	socket_count = 0;
static bool is_accepting = false;
static bool is_leaving = false;
static int64_t leave_ms = NEXUS_LOOP_NEVER;
static NexusWatch signal_watch;

static void
usage(const char *reason)
{
	fprintf(stderr, "nexus_listener: %s\n"
			"usage: nexus_listener --socket-fd N [--socket-fd N]..., N being a socket that listens\n", reason);
	exit(EXIT_USAGE);
}

static void
fail(const char *what)
{
	nexus_control_pipe_log(true, "listener ends: could not %s: %s", what, strerror(errno));
	exit(1);
}

static void
add_socket(const char *argument)
{
	int64_t		fd;
	int			listens = 0;
	socklen_t	len = sizeof(listens);

	if (!nexus_text_to_int64(nexus_text_of(argument), &fd) || fd > INT32_MAX)
		usage("a descriptor is a number");
	if (getsockopt((int) fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 || !listens)
		usage("the descriptor is no socket that listens");
	if (socket_count == NEXUS_HTTP_SERVER_MAX_SOCKETS)
		usage("too many sockets");
	sockets[socket_count++] = (int) fd;
}

static void
read_options(int argc, char **argv)
{
	static const struct option options[] = {
		{"socket-fd", required_argument, NULL, 's'},
		{NULL, 0, NULL, 0}
	};
	int			option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
	{
		if (option != 's')
			usage("unknown option or missing argument");
		add_socket(optarg);
	}
	if (optind < argc)
		usage("too many arguments");
	if (socket_count == 0)
		usage("no socket given");
}

static void
start_accepting(void)
{
	for (int i = 0; i < socket_count; i++)
	{
		if (!nexus_http_server_start(sockets[i], nexus_worker_link_take))
			fail("start the HTTP server");
	}
	is_accepting = true;
}

static void
on_settings(const NexusListenerSettings *settings)
{
	nexus_http_server_set_limits(settings);
	nexus_worker_link_set_scanned(settings->is_scanned);
	if (!is_accepting)
		start_accepting();
}

static void
leave(void)
{
	if (is_leaving)
		return;
	is_leaving = true;
	leave_ms = nexus_loop_now() + LEAVE_MS;
	if (is_accepting)
		nexus_http_server_stop_accepting();
}

static void
on_signal(void *arg, uint32_t events)
{
	struct signalfd_siginfo info;

	if (read(signal_watch.fd, &info, sizeof(info)) == (ssize_t) sizeof(info))
		leave();
}

static void
set_up_signals(void)
{
	sigset_t	set;

	(void) signal(SIGINT, SIG_IGN);
	(void) signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_SETMASK, &set, NULL) != 0)
		fail("block signals");
	signal_watch.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	signal_watch.on_ready = on_signal;
	if (signal_watch.fd < 0 || !nexus_loop_watch(&signal_watch, EPOLLIN))
		fail("wait for signals");
}

static int64_t
min_deadline(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
report_figures(void)
{
	NexusListenerFigures figures;

	nexus_http_server_read_figures(&figures);
	figures.waiting = nexus_worker_link_waiting();
	return nexus_control_pipe_report(&figures);
}

static bool
may_leave(void)
{
	return is_leaving && (nexus_http_server_requests() == 0 || nexus_loop_now() >= leave_ms);
}

/*
 * One turn after another: answers of the workers were taken in by the wait, so
 * the server sends all of them at once, and what it takes in goes to the
 * workers at once.
 */
static void
run(void)
{
	while (!may_leave())
	{
		int64_t		deadline = leave_ms;

		deadline = min_deadline(deadline, nexus_http_server_run());
		deadline = min_deadline(deadline, nexus_worker_link_run());
		deadline = min_deadline(deadline, nexus_linger_run());
		deadline = min_deadline(deadline, report_figures());
		if (nexus_http_server_has_answers() || may_leave())
			deadline = nexus_loop_now();
		nexus_loop_wait(deadline);
	}
}

int
main(int argc, char **argv)
{
	read_options(argc, argv);
	if (!nexus_loop_init())
		fail("create an epoll descriptor");
	set_up_signals();
	nexus_worker_link_init(nexus_http_server_answer, NULL);
	if (!nexus_control_pipe_open(on_settings, leave))
		fail("wait for standard input");
	run();
	nexus_worker_link_close_all();
	nexus_http_server_close();
	nexus_linger_close_all();
	return 0;
}
