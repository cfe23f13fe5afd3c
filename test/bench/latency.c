/*
 * latency.c
 *	  How long one session waits, beside what it would wait for the parts.
 *
 * latency CONNINFO execute COUNT URL HEADERS BODY
 *	  execute(), in turn with its reference: an INSERT of one row, a bare HTTP
 *	  round trip and another INSERT, each committed
 * latency CONNINFO await COUNT URL HEADERS BODY
 *	  from sending a completion to the return of the await that sleeps on it,
 *	  in turn with one committed INSERT and one bare HTTP round trip, of which
 *	  it has one way; both requests go over connections that are kept
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define SQL_MAX 1024
#define URL_MAX 1024
#define ASLEEP_US 3000			/* enough to fall asleep in await */
#define POLL_US 1000
#define START_SECONDS 60		/* until an operation must have started */

#define INSERT_SQL "INSERT INTO bench_commit (note) VALUES ('a short row')"
#define INPUT "'{\"name\": \"Ada Lovelace\", \"greeting\": \"hello\"}'"

typedef struct Session
{
	PGconn	   *conn;
	double		returned;
} Session;

static double *
samples(int count)
{
	double	   *values = calloc((size_t) count, sizeof(double));

	if (values == NULL)
		bench_die("out of memory");
	return values;
}

static void
perform(CURL *easy, long expected)
{
	CURLcode	code = curl_easy_perform(easy);
	long		status = 0;

	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK || status != expected)
		bench_die("a request failed: %s, status %ld", curl_easy_strerror(code), status);
}

static void
execute_prepared(PGconn *conn, const char *name)
{
	PGresult   *result = PQexecPrepared(conn, name, 0, NULL, NULL, NULL, 0);

	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		bench_die("%s", PQerrorMessage(conn));
	PQclear(result);
}

static void
run_execute(PGconn *conn, int count, CURL *bare)
{
	double	   *execute = samples(count);
	double	   *reference = samples(count);
	double	   *http = samples(count);
	double	   *commit = samples(count);

	bench_prepare(conn, "insert", INSERT_SQL);
	bench_prepare(conn, "execute", "SELECT nexus.execute('bench', 'bench.service', 'say-hello', " INPUT ")");
	for (int i = -1; i < count; i++)
	{
		double		times[5];
		int			slot = i < 0 ? 0 : i;	/* the first makes the connections */

		times[0] = bench_now();
		execute_prepared(conn, "execute");
		times[1] = bench_now();
		execute_prepared(conn, "insert");
		times[2] = bench_now();
		perform(bare, 200);
		times[3] = bench_now();
		execute_prepared(conn, "insert");
		times[4] = bench_now();
		execute[slot] = times[1] - times[0];
		commit[slot] = times[2] - times[1];
		http[slot] = times[3] - times[2];
		reference[slot] = times[4] - times[1];
	}
	printf("{\"count\": %d, ", count);
	bench_print_quantiles("execute", execute, count);
	printf(", ");
	bench_print_quantiles("reference", reference, count);
	printf(", ");
	bench_print_quantiles("http", http, count);
	printf(", ");
	bench_print_quantiles("commit", commit, count);
	printf("}\n");
}

/* ---- await ---- */

static void *
wait_for_await(void *arg)
{
	Session    *session = arg;
	PGresult   *result = PQgetResult(session->conn);

	session->returned = bench_now();
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		bench_die("%s", PQerrorMessage(session->conn));
	PQclear(result);
	while ((result = PQgetResult(session->conn)) != NULL)
		PQclear(result);
	return NULL;
}

/*
 * An operation that has started.  The handler hands the callback's token back
 * as the operation's, so that we can complete it.
 */
static void
start_operation(PGconn *conn, char *id, char *url, char *token)
{
	PGresult   *result = bench_query(conn, "SELECT nexus.schedule('bench', 'bench.service', 'start', " INPUT ")");
	char		sql[SQL_MAX];
	double		give_up = bench_now() + START_SECONDS;

	snprintf(id, SQL_MAX, "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	snprintf(sql, sizeof(sql), "SELECT callback_base || '/nexus/callback/' || incarnation || '/' || id, operation_token "
			 "FROM nexus.operation WHERE id = '%.40s' AND state = 'started'", id);
	while (PQntuples(result = bench_query(conn, sql)) == 0)
	{
		PQclear(result);
		if (bench_now() > give_up)
			bench_die("operation %s has not started", id);
		usleep(POLL_US);
	}
	snprintf(url, URL_MAX, "%s", PQgetvalue(result, 0, 0));
	snprintf(token, SQL_MAX, "Nexus-Pg-Token: %s", PQgetvalue(result, 0, 1));
	PQclear(result);
}

/* Seconds from sending the completion to the return of await. */
static double
complete_one(PGconn *conn, Session *session, CURL *easy)
{
	struct curl_slist *headers = NULL;
	pthread_t	thread;
	char		id[SQL_MAX];
	char		url[URL_MAX];
	char		token[SQL_MAX];
	char		sql[SQL_MAX * 2];
	double		sent;

	start_operation(conn, id, url, token);
	snprintf(sql, sizeof(sql), "SELECT nexus.await('%s', '60 s')", id);
	if (!PQsendQuery(session->conn, sql) || pthread_create(&thread, NULL, wait_for_await, session) != 0)
		bench_die("could not start to wait");
	usleep(ASLEEP_US);

	headers = curl_slist_append(headers, token);
	headers = curl_slist_append(headers, "Nexus-Operation-State: succeeded");
	headers = curl_slist_append(headers, "Content-Type: application/json");
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	sent = bench_now();
	perform(easy, 200);
	pthread_join(thread, NULL);
	curl_slist_free_all(headers);
	return session->returned - sent;
}

static void
run_await(PGconn *conn, const char *conninfo, int count, CURL *bare)
{
	Session		session = {.conn = bench_connect(conninfo)};
	CURL	   *easy = bench_request("", NULL, "\"done\"");
	double	   *await = samples(count);
	double	   *commit = samples(count);
	double	   *http = samples(count);

	for (int i = -1; i < count; i++)
	{
		int			slot = i < 0 ? 0 : i;
		double		start;

		await[slot] = complete_one(conn, &session, easy);
		start = bench_now();
		bench_do(conn, INSERT_SQL);
		commit[slot] = bench_now() - start;
		start = bench_now();
		perform(bare, 200);
		http[slot] = bench_now() - start;
	}
	printf("{\"count\": %d, ", count);
	bench_print_quantiles("await", await, count);
	printf(", ");
	bench_print_quantiles("commit", commit, count);
	printf(", ");
	bench_print_quantiles("http", http, count);
	printf("}\n");
	curl_easy_cleanup(easy);
	PQfinish(session.conn);
}

int
main(int argc, char **argv)
{
	PGconn	   *conn;
	CURL	   *bare;

	if (argc != 7)
		bench_die("usage: latency CONNINFO execute|await COUNT URL HEADERS BODY");
	curl_global_init(CURL_GLOBAL_DEFAULT);
	conn = bench_connect(argv[1]);
	bare = bench_request(argv[4], bench_read_headers(argv[5]), bench_read_file(argv[6]));
	bench_do(conn, "CREATE TABLE IF NOT EXISTS bench_commit (id bigserial PRIMARY KEY, note text)");
	if (strcmp(argv[2], "execute") == 0)
		run_execute(conn, atoi(argv[3]), bare);
	else
		run_await(conn, argv[1], atoi(argv[3]), bare);
	curl_easy_cleanup(bare);
	PQfinish(conn);
	return 0;
}
