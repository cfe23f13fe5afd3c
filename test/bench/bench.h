/*
 * bench.h
 *	  What the programs of the benchmark share.  Each prints one JSON object.
 */
#ifndef NEXUS_BENCH_H
#define NEXUS_BENCH_H

#include <libpq-fe.h>
#include <curl/curl.h>

/* Seconds of a clock that never goes back. */
extern double bench_now(void);

extern void bench_die(const char *format,...) __attribute__((format(printf, 1, 2), noreturn));

/* The whole of a file, with a NUL behind it. */
extern char *bench_read_file(const char *path);

/* A header list of the lines of a file. */
extern struct curl_slist *bench_read_headers(const char *path);

/* libcurl asks for a function that takes the body; it is thrown away. */
extern size_t bench_discard(char *data, size_t size, size_t count, void *arg);

/* An easy handle that POSTs, ready to be used any number of times. */
extern CURL *bench_request(const char *url, struct curl_slist *headers, const char *body);

extern PGconn *bench_connect(const char *conninfo);

/* Run a statement that must succeed; the caller clears the result. */
extern PGresult *bench_query(PGconn *conn, const char *sql);

/* The same, for nothing or for the first column of the first row. */
extern void bench_do(PGconn *conn, const char *sql);
extern long bench_query_long(PGconn *conn, const char *sql);

/* A statement without parameters, or with parameters whose types are clear. */
extern void bench_prepare(PGconn *conn, const char *name, const char *sql);

/* Print "name": {"p50": ..., "p99": ...} in milliseconds; sorts the seconds. */
extern void bench_print_quantiles(const char *name, double *seconds, int count);

#endif							/* NEXUS_BENCH_H */
