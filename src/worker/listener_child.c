/*
 * listener_child.c
 *	  Start the program nexus_listener and clean up after it.
 *
 * Between fork and exec only system calls are made: the child shares nothing
 * with the server but what it is given, least of all its shared memory, which
 * exec takes away.  PostgreSQL 15 does not mark its descriptors close-on-exec,
 * so all are marked here.
 */
#include "postgres.h"

#include "worker/listener_child.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/fd.h"

#define PROGRAM_NAME "nexus_listener"

/* linux/close_range.h is newer than some systems we build on. */
#define CLOSE_RANGE_MARK_CLOEXEC (1U << 2)

/* Name, a pair for each socket, NULL. */
#define ARGUMENTS_MAX (1 + 2 * NEXUS_LISTENER_SOCKETS_MAX + 1)

typedef struct ProgramCall
{
	char		path[MAXPGPATH];
	char	   *arguments[ARGUMENTS_MAX];
	char		numbers[NEXUS_LISTENER_SOCKETS_MAX][12];
} ProgramCall;

static char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};

/* The program lies beside this module. */
static bool
find_program(char *path, size_t size)
{
	Dl_info		info;
	const char *slash;

	if (dladdr((const void *) environment, &info) == 0)
		return false;
	slash = strrchr(info.dli_fname, '/');
	if (slash == NULL)
		return false;
	return (size_t) snprintf(path, size, "%.*s/" PROGRAM_NAME, (int) (slash - info.dli_fname),
							 info.dli_fname) < size;
}

static void
build_call(const NexusListenerSockets *sockets, ProgramCall *call)
{
	int			count = 0;

	call->arguments[count++] = PROGRAM_NAME;
	for (int i = 0; i < sockets->count; i++)
	{
		snprintf(call->numbers[i], sizeof(call->numbers[i]), "%d", sockets->fds[i]);
		call->arguments[count++] = "--socket-fd";
		call->arguments[count++] = call->numbers[i];
	}
	call->arguments[count] = NULL;
}

static void
mark_all_close_on_exec(void)
{
	if (syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, CLOSE_RANGE_MARK_CLOEXEC) == 0)
		return;
	for (int fd = (int) sysconf(_SC_OPEN_MAX) - 1; fd > STDERR_FILENO; fd--)
		(void) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static void
reset_signals(void)
{
	sigset_t	none;

	for (int number = 1; number < NSIG; number++)
		(void) signal(number, SIG_DFL);
	sigemptyset(&none);
	(void) sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child, with all signals blocked. */
static void
become_program(const ProgramCall *call, const NexusListenerSockets *sockets, pid_t parent, int input, int output)
{
	(void) setsid();
	(void) prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(0);
	if (dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0)
		_exit(NEXUS_LISTENER_EXEC_FAILED);
	mark_all_close_on_exec();
	for (int i = 0; i < sockets->count; i++)
		(void) fcntl(sockets->fds[i], F_SETFD, 0);
	reset_signals();
	(void) execve(call->path, call->arguments, environment);
	_exit(NEXUS_LISTENER_EXEC_FAILED);
}

/* No handler of the server may run in the child. */
static pid_t
fork_program(const ProgramCall *call, const NexusListenerSockets *sockets, int input, int output)
{
	pid_t		parent = getpid();
	sigset_t	all;
	sigset_t	before;
	pid_t		pid;

	sigfillset(&all);
	(void) sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		become_program(call, sockets, parent, input, output);
	(void) sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

static void
close_pair(const int *pair)
{
	close(pair[0]);
	close(pair[1]);
}

static bool
open_pipes(int *down, int *up)
{
	if (pipe2(down, O_CLOEXEC) != 0)
		return false;
	if (pipe2(up, O_CLOEXEC) == 0)
		return true;
	close_pair(down);
	return false;
}

static bool
start_with_pipes(const ProgramCall *call, const NexusListenerSockets *sockets, NexusListenerChild *child)
{
	int			down[2];
	int			up[2];
	pid_t		pid;

	if (!open_pipes(down, up))
		return false;
	(void) fcntl(down[1], F_SETFL, O_NONBLOCK);
	(void) fcntl(up[0], F_SETFL, O_NONBLOCK);
	pid = fork_program(call, sockets, down[0], up[1]);
	if (pid < 0)
	{
		close_pair(down);
		close_pair(up);
		return false;
	}
	close(down[0]);
	close(up[1]);
	ReserveExternalFD();
	ReserveExternalFD();
	child->pid = pid;
	child->input = down[1];
	child->output = up[0];
	return true;
}

bool
nexus_listener_child_start(const NexusListenerSockets *sockets, NexusListenerChild *child, NexusError *error)
{
	ProgramCall call;

	if (!find_program(call.path, sizeof(call.path)))
		return nexus_error_set(error, "could not find the directory of the program " PROGRAM_NAME);
	if (access(call.path, X_OK) != 0)
		return nexus_error_set(error, "could not execute \"%s\": %s", call.path, strerror(errno));
	build_call(sockets, &call);
	if (!start_with_pipes(&call, sockets, child))
		return nexus_error_set(error, "could not start \"%s\": %s", call.path, strerror(errno));
	return true;
}

void
nexus_listener_child_hang_up(NexusListenerChild *child)
{
	if (child->input < 0)
		return;
	close(child->input);
	ReleaseExternalFD();
	child->input = -1;
}

int
nexus_listener_child_reap(NexusListenerChild *child)
{
	int			status = 0;

	/* One that is ending already keeps the status it ends with. */
	(void) kill(child->pid, SIGKILL);
	while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	nexus_listener_child_hang_up(child);
	close(child->output);
	ReleaseExternalFD();
	child->pid = 0;
	return status;
}
