/*
 * bench.c
 *	  Clock, files, connections and quantiles of the benchmark's programs.
 */
#include "bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define USER_AGENT "nexus_pg/0.1"
#define REQUEST_SECONDS 60L

double
bench_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

void
bench_die(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

char *
bench_read_file(const char *path)
{
	FILE	   *file = fopen(path, "rb");
	char	   *text;
	long		size;

	if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0)
		bench_die("could not read %s", path);
	rewind(file);
	text = calloc(1, (size_t) size + 1);
	if (text == NULL || fread(text, 1, (size_t) size, file) != (size_t) size)
		bench_die("could not read %s", path);
	fclose(file);
	return text;
}

struct curl_slist *
bench_read_headers(const char *path)
{
	struct curl_slist *headers = NULL;
	char	   *text = bench_read_file(path);

	for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
		headers = curl_slist_append(headers, line);
	free(text);
	return headers;
}

size_t
bench_discard(char *data, size_t size, size_t count, void *arg)
{
	(void) data;
	(void) arg;
	return size * count;
}

CURL *
bench_request(const char *url, struct curl_slist *headers, const char *body)
{
	CURL	   *easy = curl_easy_init();

	if (easy == NULL)
		bench_die("out of memory");
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_POST, 1L);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long) strlen(body));
	curl_easy_setopt(easy, CURLOPT_USERAGENT, USER_AGENT);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT, REQUEST_SECONDS);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, bench_discard);
	return easy;
}

PGconn *
bench_connect(const char *conninfo)
{
	PGconn	   *conn = PQconnectdb(conninfo);

	if (PQstatus(conn) != CONNECTION_OK)
		bench_die("%s", PQerrorMessage(conn));
	return conn;
}

PGresult *
bench_query(PGconn *conn, const char *sql)
{
	PGresult   *result = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
		bench_die("%s%s", PQerrorMessage(conn), sql);
	return result;
}

void
bench_do(PGconn *conn, const char *sql)
{
	PQclear(bench_query(conn, sql));
}

void
bench_prepare(PGconn *conn, const char *name, const char *sql)
{
	PGresult   *result = PQprepare(conn, name, sql, 0, NULL);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		bench_die("%s%s", PQerrorMessage(conn), sql);
	PQclear(result);
}

long
bench_query_long(PGconn *conn, const char *sql)
{
	PGresult   *result = bench_query(conn, sql);
	long		value = PQntuples(result) > 0 ? atol(PQgetvalue(result, 0, 0)) : 0;

	PQclear(result);
	return value;
}

static int
compare_doubles(const void *a, const void *b)
{
	double		left = *(const double *) a;
	double		right = *(const double *) b;

	return (left > right) - (left < right);
}

void
bench_print_quantiles(const char *name, double *seconds, int count)
{
	qsort(seconds, (size_t) count, sizeof(double), compare_doubles);
	printf("\"%s\": {\"p50\": %.4f, \"p99\": %.4f}", name, seconds[count / 2] * 1e3, seconds[count * 99 / 100] * 1e3);
}
