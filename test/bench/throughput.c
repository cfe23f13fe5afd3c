/*
 * throughput.c
 *	  Schedule many operations and time them until all are closed.
 *
 * throughput CONNINFO bulk COUNT               in one statement
 * throughput CONNINFO sessions COUNT SESSIONS  one commit each
 * throughput CONNINFO file COUNT FILE          by the statement in a file
 *
 * Whether all are closed is read from the counters of endpoints, a row each,
 * which the worker commits together with the outcomes.  They are read from
 * their table: the view counts what is open, too.  How many commits wrote the
 * outcomes is exact: the transaction ids that closed rows carry.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define POLL_US 5000			/* between two looks at the counter */
#define GIVE_UP_SECONDS 120
#define MAX_SESSIONS 64
#define SQL_MAX 512

#define CALL "nexus.schedule('bench', 'bench.service', 'say-hello', '{\"name\": \"Ada Lovelace\", \"greeting\": \"hello\"}')"

static const char *const commits_sql =
"SELECT count(DISTINCT xmin::text) FROM nexus.operation WHERE close_time >= to_timestamp(%.6f)";

static long
closed(PGconn *conn)
{
	return bench_query_long(conn, "SELECT sum(succeeded) FROM nexus.endpoint_stat");
}

static double
server_clock(PGconn *conn)
{
	PGresult   *result = bench_query(conn, "SELECT extract(epoch FROM clock_timestamp())");
	double		value = atof(PQgetvalue(result, 0, 0));

	PQclear(result);
	return value;
}

static void
wait_until_closed(PGconn *conn, long target)
{
	double		give_up = bench_now() + GIVE_UP_SECONDS;

	while (closed(conn) < target)
	{
		if (bench_now() > give_up)
			bench_die("only %ld of %ld operations have succeeded", closed(conn), target);
		usleep(POLL_US);
	}
}

static void
print_result(PGconn *conn, int count, double from_select, double from_commit, double since)
{
	char		sql[SQL_MAX];
	long		commits;

	snprintf(sql, sizeof(sql), commits_sql, since);
	commits = bench_query_long(conn, sql);
	printf("{\"count\": %d, \"per_second\": %.1f, \"per_second_from_commit\": %.1f, \"commits\": %ld, "
		   "\"commits_per_operation\": %.5f, \"mean_group\": %.1f}\n",
		   count, count / from_select, count / from_commit, commits, (double) commits / count,
		   (double) count / (double) commits);
}

static void
run_bulk(PGconn *conn, int count, const char *statement)
{
	long		target = closed(conn) + count;
	double		since = server_clock(conn);
	double		select_start = bench_now();
	double		commit_end;
	double		end;

	bench_do(conn, "BEGIN");
	bench_do(conn, statement);
	bench_do(conn, "COMMIT");
	commit_end = bench_now();
	wait_until_closed(conn, target);
	end = bench_now();
	print_result(conn, count, end - select_start, end - commit_end, since);
}

static void
send_one(PGconn *conn)
{
	if (!PQsendQueryPrepared(conn, "one", 0, NULL, NULL, NULL, 0))
		bench_die("%s", PQerrorMessage(conn));
}

/* Take the answer of a session, if it is there. */
static int
take_answer(PGconn *conn)
{
	PGresult   *result;

	if (!PQconsumeInput(conn))
		bench_die("%s", PQerrorMessage(conn));
	if (PQisBusy(conn))
		return 0;
	while ((result = PQgetResult(conn)) != NULL)
	{
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			bench_die("%s", PQerrorMessage(conn));
		PQclear(result);
	}
	return 1;
}

static void
schedule_from_sessions(PGconn **sessions, int session_count, int count)
{
	struct pollfd fds[MAX_SESSIONS];
	int			to_send = count;

	for (int i = 0; i < session_count; i++, to_send--)
	{
		fds[i] = (struct pollfd)
		{
			.fd = PQsocket(sessions[i]),.events = POLLIN
		};
		send_one(sessions[i]);
	}
	for (int done = 0; done < count;)
	{
		poll(fds, (nfds_t) session_count, -1);
		for (int i = 0; i < session_count; i++)
		{
			if (fds[i].revents == 0 || !take_answer(sessions[i]))
				continue;
			done++;
			if (to_send-- > 0)
				send_one(sessions[i]);
		}
	}
}

static void
run_sessions(PGconn *conn, const char *conninfo, int count, int session_count)
{
	PGconn	   *sessions[MAX_SESSIONS];
	long		target = closed(conn) + count;
	double		since = server_clock(conn);
	double		start;
	double		scheduled;
	double		end;

	for (int i = 0; i < session_count; i++)
	{
		sessions[i] = bench_connect(conninfo);
		bench_prepare(sessions[i], "one", "SELECT " CALL);
	}
	start = bench_now();
	schedule_from_sessions(sessions, session_count, count);
	scheduled = bench_now();
	wait_until_closed(conn, target);
	end = bench_now();
	print_result(conn, count, end - start, end - scheduled, since);
	for (int i = 0; i < session_count; i++)
		PQfinish(sessions[i]);
}

int
main(int argc, char **argv)
{
	PGconn	   *conn;
	char		sql[SQL_MAX];

	if (argc < 4)
		bench_die("usage: throughput CONNINFO bulk|sessions|file COUNT [SESSIONS|FILE]");
	conn = bench_connect(argv[1]);
	snprintf(sql, sizeof(sql), "SELECT count(%s) FROM generate_series(1, %d)", CALL, atoi(argv[3]));
	if (strcmp(argv[2], "bulk") == 0)
		run_bulk(conn, atoi(argv[3]), sql);
	else if (strcmp(argv[2], "file") == 0 && argc > 4)
		run_bulk(conn, atoi(argv[3]), bench_read_file(argv[4]));
	else if (argc > 4 && atoi(argv[4]) > 0 && atoi(argv[4]) <= MAX_SESSIONS)
		run_sessions(conn, argv[1], atoi(argv[3]), atoi(argv[4]));
	else
		bench_die("SESSIONS is out of range");
	PQfinish(conn);
	return 0;
}
