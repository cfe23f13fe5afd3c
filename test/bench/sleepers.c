/*
 * sleepers.c
 *	  What sessions that sleep in await cost.
 *
 * sleepers CONNINFO OTHER_CONNINFO COUNT SECONDS
 *
 * Each of COUNT sessions awaits an operation that does not end.  Once all of
 * them sleep, their processor time and how often they woke are read from the
 * kernel, with those of the worker, before and after SECONDS; the statements
 * run in their database are counted from another one, by pg_stat_statements.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define MAX_SESSIONS 1000
#define SQL_MAX 512
#define PATH_LEN 64
#define LINE_MAX_LEN 256
#define POLL_US 20000
#define SETTLE_SECONDS 1		/* the start has its aftermath: statistics,
								 * autovacuum */
#define GIVE_UP_SECONDS 60

/* What the kernel has counted for some processes. */
typedef struct Usage
{
	double		cpu_ms;
	long		wakes;			/* voluntary context switches */
	long		statements;
} Usage;

static PGconn *sessions[MAX_SESSIONS];
static int	pids[MAX_SESSIONS + 1]; /* the worker's is the last */
static int	session_count;

static FILE *
open_proc(int pid, const char *name)
{
	char		path[PATH_LEN];
	FILE	   *file;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	file = fopen(path, "r");
	if (file == NULL)
		bench_die("could not read %s", path);
	return file;
}

static double
cpu_ms(int pid)
{
	FILE	   *file = open_proc(pid, "schedstat");
	double		ns = 0;

	if (fscanf(file, "%lf", &ns) != 1)
		bench_die("could not read the processor time of %d", pid);
	fclose(file);
	return ns / 1e6;
}

static long
wakes(int pid)
{
	static const char label[] = "voluntary_ctxt_switches:";
	char		line[LINE_MAX_LEN];
	long		count = -1;
	FILE	   *file = open_proc(pid, "status");

	while (fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, label, strlen(label)) == 0)
			count = atol(line + strlen(label));
	fclose(file);
	return count;
}

static Usage
read_usage(PGconn *other, int first, int count)
{
	Usage		usage = {0, 0, 0};

	for (int i = first; i < first + count; i++)
	{
		usage.cpu_ms += cpu_ms(pids[i]);
		usage.wakes += wakes(pids[i]);
	}
	usage.statements = bench_query_long(other, "SELECT coalesce(sum(s.calls), 0) FROM pg_stat_statements s "
										"JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = 'postgres'");
	return usage;
}

static void
send_await(int i, const char *id)
{
	char		sql[SQL_MAX];

	snprintf(sql, sizeof(sql), "SELECT nexus.await('%s', '10 min')", id);
	if (!PQsendQuery(sessions[i], sql))
		bench_die("%s", PQerrorMessage(sessions[i]));
}

static void
wait_for(PGconn *conn, const char *sql, long wanted)
{
	double		give_up = bench_now() + GIVE_UP_SECONDS;

	while (bench_query_long(conn, sql) < wanted)
	{
		if (bench_now() > give_up)
			bench_die("this never became %ld: %s", wanted, sql);
		usleep(POLL_US);
	}
}

static void
put_to_sleep(const char *conninfo, PGconn *other)
{
	PGconn	   *conn = bench_connect(conninfo);
	char		sql[SQL_MAX];
	PGresult   *ids;

	snprintf(sql, sizeof(sql), "SELECT nexus.schedule('bench', 'bench.service', 'start', '{}') "
			 "FROM generate_series(1, %d)", session_count);
	ids = bench_query(conn, sql);
	wait_for(conn, "SELECT count(*) FROM nexus.pending_operations WHERE endpoint = 'bench' AND state = 'started'",
			 session_count);
	pids[session_count] = (int) bench_query_long(conn, "SELECT pid FROM nexus.workers WHERE kind = 'worker' "
												 "AND database = current_database()");
	PQfinish(conn);
	for (int i = 0; i < session_count; i++)
	{
		sessions[i] = bench_connect(conninfo);
		pids[i] = PQbackendPID(sessions[i]);
		send_await(i, PQgetvalue(ids, i, 0));
	}
	PQclear(ids);
	wait_for(other, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT nexus.await(%' "
			 "AND state = 'active' AND wait_event_type = 'Extension'", session_count);
}

int
main(int argc, char **argv)
{
	PGconn	   *other;
	Usage		before;
	Usage		after;
	Usage		worker_before;
	Usage		worker_after;
	int			seconds;

	if (argc != 5)
		bench_die("usage: sleepers CONNINFO OTHER_CONNINFO COUNT SECONDS");
	session_count = atoi(argv[3]);
	seconds = atoi(argv[4]);
	if (session_count < 1 || session_count > MAX_SESSIONS)
		bench_die("COUNT is out of range");
	other = bench_connect(argv[2]);
	put_to_sleep(argv[1], other);
	sleep(SETTLE_SECONDS);

	before = read_usage(other, 0, session_count);
	worker_before = read_usage(other, session_count, 1);
	sleep((unsigned) seconds);
	after = read_usage(other, 0, session_count);
	worker_after = read_usage(other, session_count, 1);
	printf("{\"sessions\": %d, \"seconds\": %d, \"statements\": %ld, \"session_wakes\": %ld, \"session_cpu_ms\": %.3f, "
		   "\"worker_wakes\": %ld, \"worker_cpu_ms\": %.3f}\n", session_count, seconds,
		   after.statements - before.statements, after.wakes - before.wakes, after.cpu_ms - before.cpu_ms,
		   worker_after.wakes - worker_before.wakes, worker_after.cpu_ms - worker_before.cpu_ms);
	for (int i = 0; i < session_count; i++)
		PQfinish(sessions[i]);
	PQfinish(other);
	return 0;
}
