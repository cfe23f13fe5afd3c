/*
 * load.c
 *	  Offer statements at steady rates, whether or not the server keeps up.
 *
 * load CONNINFO SECONDS REPORT_SECONDS {NAME RATE SESSIONS FIRST DELAY_MS SECOND}...
 *
 * Each stream sends its FIRST statement RATE times a second, by the first of
 * its SESSIONS that is free.  The times to send are fixed beforehand: what waits
 * for a session is late, and latencies count from the time that was meant.  All
 * that was meant within SECONDS is sent, however long that takes.
 *
 * A statement that has a parameter gets that time, in seconds of the epoch.
 * SECOND, unless empty, follows DELAY_MS after FIRST was answered, by any
 * session of the stream, and gets the first column of that answer.
 *
 * Prints an object every REPORT_SECONDS (0: never) and one at the end.  Counts
 * are from the beginning, latencies of a report from the one before, those at
 * the end of all; "late" is by how much statements were sent too late, "latency"
 * is until the last answer, without the delay.
 */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "bench.h"

#define STREAM_ARGUMENTS 6
#define MAX_STREAMS 32
#define MAX_SESSIONS 256		/* of all streams */
#define MAX_FOLLOWING 65536		/* second statements that are to come */
#define VALUE_LEN 64
#define MAX_ERRORS_SHOWN 5
#define GIVE_UP_SECONDS 120		/* without any answer */

/* Each bucket is 1 % wider than the one before, from 1 us to 17 minutes. */
#define BUCKETS 2084
#define BUCKET_FIRST 1e-6
#define BUCKET_GROWTH 1.01

typedef struct Histogram
{
	long		buckets[BUCKETS];
	long		count;
	double		max;
} Histogram;

/* A second statement that is to come. */
typedef struct Following
{
	double		due;
	double		meant;			/* when the first was to be sent */
	char		value[VALUE_LEN];
} Following;

typedef struct Session
{
	PGconn	   *conn;
	int			is_busy;
	int			is_second;
	double		meant;
} Session;

typedef struct Stream
{
	const char *name;
	double		rate;
	double		phase;			/* of a period, so that streams take turns */
	double		delay;
	int			has_second;
	int			first_parameters;
	Session    *sessions;
	int			session_count;
	long		to_send;
	long		sent;			/* first statements */
	long		done;			/* their answers, the last one's where there
								 * are two */
	long		failed;
	Following  *following;		/* a ring; they are due in the order they came */
	long		following_head;
	long		following_tail;
	Histogram	late;			/* since the last report */
	Histogram	latency;
	Histogram	all_late;
	Histogram	all_latency;
} Stream;

static Stream streams[MAX_STREAMS];
static int	stream_count;
static struct pollfd fds[MAX_SESSIONS];
static Session *sessions_of_fds[MAX_SESSIONS];
static Stream *streams_of_fds[MAX_SESSIONS];
static int	fd_count;
static int	busy_count;
static double last_answer;
static double start;
static double epoch_offset;		/* of bench_now */

/* ---- histograms ---- */

static void
histogram_add(Histogram *histogram, double seconds)
{
	int			at = seconds <= BUCKET_FIRST ? 0 : (int) (log(seconds / BUCKET_FIRST) / log(BUCKET_GROWTH));

	histogram->buckets[at < BUCKETS ? at : BUCKETS - 1]++;
	histogram->count++;
	if (seconds > histogram->max)
		histogram->max = seconds;
}

/* Move what one has into another. */
static void
histogram_drain(Histogram *from, Histogram *to)
{
	for (int i = 0; i < BUCKETS; i++)
		to->buckets[i] += from->buckets[i];
	to->count += from->count;
	if (from->max > to->max)
		to->max = from->max;
	memset(from, 0, sizeof(*from));
}

static double
histogram_quantile(const Histogram *histogram, double share)
{
	long		wanted = (long) ceil(share * (double) histogram->count);
	long		seen = 0;

	for (int i = 0; i < BUCKETS; i++)
		if ((seen += histogram->buckets[i]) >= wanted)
			return fmin(BUCKET_FIRST * pow(BUCKET_GROWTH, i + 0.5), histogram->max);
	return histogram->max;
}

static void
print_histogram(const char *name, const Histogram *histogram)
{
	printf("\"%s\": {\"count\": %ld, \"p50\": %.4f, \"p90\": %.4f, \"p99\": %.4f, \"max\": %.4f}", name,
		   histogram->count, histogram_quantile(histogram, 0.5) * 1e3, histogram_quantile(histogram, 0.9) * 1e3,
		   histogram_quantile(histogram, 0.99) * 1e3, histogram->max * 1e3);
}

/* ---- reports ---- */

static void
print_report(int is_end)
{
	double		now = bench_now();

	printf("{\"start\": %.6f, \"seconds\": %.6f, \"streams\": {", start + epoch_offset, now - start);
	for (int i = 0; i < stream_count; i++)
	{
		Stream	   *stream = &streams[i];

		printf("%s\"%s\": {\"sent\": %ld, \"done\": %ld, \"failed\": %ld, ", i > 0 ? ", " : "", stream->name,
			   stream->sent, stream->done, stream->failed);
		if (is_end)
		{
			histogram_drain(&stream->late, &stream->all_late);
			histogram_drain(&stream->latency, &stream->all_latency);
		}
		print_histogram("late", is_end ? &stream->all_late : &stream->late);
		printf(", ");
		print_histogram("latency", is_end ? &stream->all_latency : &stream->latency);
		printf("}");
		histogram_drain(&stream->late, &stream->all_late);
		histogram_drain(&stream->latency, &stream->all_latency);
	}
	printf("}}\n");
	fflush(stdout);
}

/* ---- what is sent when ---- */

/* When the next first statement is to be sent. */
static double
next_meant(const Stream *stream)
{
	return start + ((double) stream->sent + stream->phase) / stream->rate;
}

/* When the stream has something to send; infinity where it has nothing. */
static double
next_due(const Stream *stream)
{
	double		due = stream->sent < stream->to_send ? next_meant(stream) : INFINITY;

	if (stream->following_head < stream->following_tail)
		due = fmin(due, stream->following[stream->following_head % MAX_FOLLOWING].due);
	return due;
}

static void
send_statement(Session *session, const char *name, int parameters, const char *value)
{
	if (!PQsendQueryPrepared(session->conn, name, parameters, &value, NULL, NULL, 0))
		bench_die("%s", PQerrorMessage(session->conn));
	session->is_busy = 1;
	busy_count++;
}

static void
send_first(Stream *stream, Session *session, double now)
{
	char		value[VALUE_LEN];

	session->meant = next_meant(stream);
	session->is_second = 0;
	snprintf(value, sizeof(value), "%.6f", session->meant + epoch_offset);
	send_statement(session, "first", stream->first_parameters, value);
	histogram_add(&stream->late, now - session->meant);
	stream->sent++;
}

/* What is to follow goes before what is new, or that would never end. */
static void
send_what_is_due(Stream *stream, Session *session, double now)
{
	Following  *following = &stream->following[stream->following_head % MAX_FOLLOWING];

	if (stream->following_head == stream->following_tail || following->due > now)
	{
		send_first(stream, session, now);
		return;
	}
	session->meant = following->meant;
	session->is_second = 1;
	send_statement(session, "second", 1, following->value);
	histogram_add(&stream->late, now - following->due);
	stream->following_head++;
}

/* Give free sessions what is due; when the next thing will be, where one is free then. */
static double
dispatch(Stream *stream, double now)
{
	for (int i = 0; i < stream->session_count; i++)
	{
		Session    *session = &stream->sessions[i];

		if (session->is_busy)
			continue;
		if (next_due(stream) > now)
			return next_due(stream);
		send_what_is_due(stream, session, now);
	}
	return INFINITY;
}

/* ---- answers ---- */

static void
note_failure(Stream *stream, PGconn *conn)
{
	if (PQstatus(conn) != CONNECTION_OK)
		bench_die("%s: %s", stream->name, PQerrorMessage(conn));
	if (stream->failed++ < MAX_ERRORS_SHOWN)
		fprintf(stderr, "%s: %s", stream->name, PQerrorMessage(conn));
}

static void
note_following(Stream *stream, const Session *session, const char *value, double now)
{
	Following  *following = &stream->following[stream->following_tail % MAX_FOLLOWING];

	if (stream->following_tail - stream->following_head == MAX_FOLLOWING)
		bench_die("%s: too many second statements are to come", stream->name);
	stream->following_tail++;
	following->due = now + stream->delay;
	following->meant = session->meant;
	snprintf(following->value, VALUE_LEN, "%s", value);
}

static void
take_result(Stream *stream, const Session *session, PGresult *result)
{
	double		now = bench_now();
	int			is_good = PQresultStatus(result) == PGRES_TUPLES_OK;

	if (!is_good)
		note_failure(stream, session->conn);
	else if (stream->has_second && !session->is_second)
	{
		if (PQntuples(result) == 0)
			bench_die("%s: the first statement has to return a row", stream->name);
		note_following(stream, session, PQgetvalue(result, 0, 0), now);
		return;
	}
	else
		histogram_add(&stream->latency, now - session->meant - stream->delay);
	stream->done++;
}

/* Take the answer of a session, if it is there. */
static void
take_answer(Stream *stream, Session *session)
{
	PGresult   *result;

	if (!PQconsumeInput(session->conn))
		bench_die("%s: %s", stream->name, PQerrorMessage(session->conn));
	if (PQisBusy(session->conn))
		return;
	while ((result = PQgetResult(session->conn)) != NULL)
	{
		take_result(stream, session, result);
		PQclear(result);
	}
	session->is_busy = 0;
	busy_count--;
	last_answer = bench_now();
}

/* Sleep until there are answers, or until some time, and take them. */
static void
take_answers(double until)
{
	double		seconds = fmax(until - bench_now(), 0);
	struct timespec timeout = {.tv_sec = (time_t) seconds,.tv_nsec = (long) (fmod(seconds, 1) * 1e9)};

	if (ppoll(fds, (nfds_t) fd_count, &timeout, NULL) < 0 && errno != EINTR)
		bench_die("could not wait for answers");
	for (int i = 0; i < fd_count; i++)
		if (fds[i].revents != 0)
			take_answer(streams_of_fds[i], sessions_of_fds[i]);
}

/* ---- the run ---- */

static int
is_done(void)
{
	for (int i = 0; i < stream_count; i++)
		if (streams[i].done < streams[i].to_send)
			return 0;
	return 1;
}

static void
run(double report_seconds)
{
	double		next_report = report_seconds > 0 ? start + report_seconds : INFINITY;

	while (!is_done())
	{
		double		now = bench_now();
		double		next = fmin(next_report, now + 1);

		if (busy_count == 0)
			last_answer = now;
		if (now > last_answer + GIVE_UP_SECONDS)
			bench_die("no statement was answered for %d s", GIVE_UP_SECONDS);
		for (int i = 0; i < stream_count; i++)
			next = fmin(next, dispatch(&streams[i], now));
		take_answers(next);
		if (now >= next_report)
		{
			print_report(0);
			next_report += report_seconds;
		}
	}
}

/* ---- the start ---- */

static int
count_parameters(PGconn *conn, const char *name)
{
	PGresult   *result = PQdescribePrepared(conn, name);
	int			count = PQnparams(result);

	PQclear(result);
	return count;
}

static void
open_session(Stream *stream, Session *session, const char *conninfo, const char *first, const char *second)
{
	session->conn = bench_connect(conninfo);
	bench_prepare(session->conn, "first", first);
	stream->first_parameters = count_parameters(session->conn, "first");
	if (stream->first_parameters > 1)
		bench_die("%s: only one parameter can be given", stream->name);
	if (stream->has_second)
		bench_prepare(session->conn, "second", second);
	fds[fd_count] = (struct pollfd)
	{
		.fd = PQsocket(session->conn),.events = POLLIN
	};
	sessions_of_fds[fd_count] = session;
	streams_of_fds[fd_count++] = stream;
}

static void
open_stream(char **arguments, const char *conninfo, double seconds)
{
	Stream	   *stream = &streams[stream_count++];

	stream->name = arguments[0];
	stream->rate = atof(arguments[1]);
	stream->session_count = atoi(arguments[2]);
	stream->delay = atof(arguments[4]) / 1e3;
	stream->has_second = arguments[5][0] != '\0';
	if (stream->rate <= 0 || stream->session_count < 1 || fd_count + stream->session_count > MAX_SESSIONS)
		bench_die("%s: RATE or SESSIONS is out of range", stream->name);
	stream->to_send = (long) ceil(stream->rate * seconds);
	stream->sessions = calloc((size_t) stream->session_count, sizeof(Session));
	stream->following = calloc(MAX_FOLLOWING, sizeof(Following));
	if (stream->sessions == NULL || stream->following == NULL)
		bench_die("out of memory");
	for (int i = 0; i < stream->session_count; i++)
		open_session(stream, &stream->sessions[i], conninfo, arguments[3], arguments[5]);
}

static double
epoch_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
	int			count = (argc - 4) / STREAM_ARGUMENTS;

	if (count < 1 || count > MAX_STREAMS || argc != 4 + count * STREAM_ARGUMENTS)
		bench_die("usage: load CONNINFO SECONDS REPORT_SECONDS {NAME RATE SESSIONS FIRST DELAY_MS SECOND}...");
	for (int i = 0; i < count; i++)
		open_stream(&argv[4 + i * STREAM_ARGUMENTS], argv[1], atof(argv[2]));
	for (int i = 0; i < count; i++)
		streams[i].phase = (double) i / count;
	prctl(PR_SET_TIMERSLACK, 1UL);	/* ns: wake up when it was said */
	start = bench_now();
	epoch_offset = epoch_now() - start;
	run(atof(argv[3]));
	print_report(1);
	for (int i = 0; i < fd_count; i++)
		PQfinish(sessions_of_fds[i]->conn);
	return 0;
}
