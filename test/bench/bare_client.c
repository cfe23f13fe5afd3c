/*
 * bare_client.c
 *	  What libcurl alone gets from the handler: the reference of throughput.
 *
 * bare_client URL HEADERS BODY COUNT CONCURRENCY
 *
 * The socket interface on epoll, handles that are used again with all options
 * set once: as little as a client on libcurl can do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "bench.h"

#define EVENTS 64
#define MAX_CONCURRENCY 1024

static CURLM *multi;
static int	epoll_fd;
static long timeout_ms = -1;	/* as libcurl wants it; -1 = none */

static int
on_interest(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct epoll_event event = {.data.fd = fd};

	(void) easy;
	(void) arg;
	if (what == CURL_POLL_REMOVE)
	{
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		curl_multi_assign(multi, fd, NULL);
		return 0;
	}
	event.events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
	epoll_ctl(epoll_fd, known == NULL ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
	curl_multi_assign(multi, fd, multi);
	return 0;
}

static int
on_timer(CURLM *handle, long ms, void *arg)
{
	(void) handle;
	(void) arg;
	timeout_ms = ms;
	return 0;
}

/* Take what has finished and send its handle again; how many were good. */
static int
collect(int *to_send)
{
	CURLMsg    *message;
	int			left;
	int			good = 0;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		CURL	   *easy = message->easy_handle;
		long		status = 0;

		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
		if (message->data.result != CURLE_OK || (status != 200 && status != 201))
			bench_die("a request failed: %s, status %ld", curl_easy_strerror(message->data.result), status);
		good++;
		curl_multi_remove_handle(multi, easy);
		if ((*to_send)-- > 0)
			curl_multi_add_handle(multi, easy);
	}
	return good;
}

static void
turn(void)
{
	struct epoll_event events[EVENTS];
	int			count = epoll_wait(epoll_fd, events, EVENTS, (int) timeout_ms);
	int			running;

	for (int i = 0; i < count; i++)
		curl_multi_socket_action(multi, events[i].data.fd,
								 (events[i].events & ~EPOLLOUT ? CURL_CSELECT_IN : 0) |
								 (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0), &running);
	if (count == 0 || timeout_ms == 0)
	{
		timeout_ms = -1;
		curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
}

int
main(int argc, char **argv)
{
	struct curl_slist *headers;
	char	   *body;
	int			count;
	int			concurrency;
	int			to_send;
	double		start;
	double		seconds;

	if (argc != 6)
		bench_die("usage: bare_client URL HEADERS BODY COUNT CONCURRENCY");
	headers = bench_read_headers(argv[2]);
	body = bench_read_file(argv[3]);
	count = atoi(argv[4]);
	concurrency = atoi(argv[5]);
	if (concurrency < 1 || concurrency > MAX_CONCURRENCY || count < concurrency)
		bench_die("COUNT or CONCURRENCY is out of range");

	curl_global_init(CURL_GLOBAL_DEFAULT);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	multi = curl_multi_init();
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_interest);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) concurrency);

	start = bench_now();
	for (int i = 0; i < concurrency; i++)
		curl_multi_add_handle(multi, bench_request(argv[1], headers, body));
	to_send = count - concurrency;
	for (int done = 0; done < count; done += collect(&to_send))
		turn();
	seconds = bench_now() - start;
	printf("{\"count\": %d, \"seconds\": %.6f, \"per_second\": %.1f}\n", count, seconds, count / seconds);
	return 0;
}
