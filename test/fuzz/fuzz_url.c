/*
 * fuzz_url.c
 *	  URLs: what is checked is what libcurl will use, what is escaped is what
 *	  the other side reads.
 *
 * Input: base, service, operation and callback, a line each.
 */
#include "fuzz.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#include "protocol/url.h"

#define MAX_URL 65536

/* Whether two spellings are of one IPv6 address. */
static bool
is_same_address(const char *a, const char *b)
{
	struct in6_addr left;
	struct in6_addr right;

	return inet_pton(AF_INET6, a, &left) == 1 && inet_pton(AF_INET6, b, &right) == 1 &&
		memcmp(&left, &right, sizeof(left)) == 0;
}

/* The host that libcurl connects to is the one that was checked. */
static void
check_against_curl(NexusText base, NexusText host)
{
	char	   *url = copy_string(base);
	char	   *expected = copy_string(host);
	char	   *found = NULL;
	CURLU	   *parsed = curl_url();
	struct in_addr address;

	if (curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK)
	{
		REQUIRE(curl_url_get(parsed, CURLUPART_HOST, &found, 0) == CURLUE_OK);
		if (found[0] == '[')
		{
			found[strlen(found) - 1] = '\0';
			REQUIRE(is_same_address(found + 1, expected));
		}
		else if (!nexus_text_equal_fold(nexus_text_of(found), host))
		{
			/* "127.1" and "0x7f000001" are written out by libcurl */
			REQUIRE(inet_pton(AF_INET, found, &address) == 1);
			REQUIRE(strspn(expected, "0123456789abcdefxABCDEFX.") == host.len);
		}
		curl_free(found);
		REQUIRE(curl_url_get(parsed, CURLUPART_USER, &found, 0) == CURLUE_NO_USER);
	}
	curl_url_cleanup(parsed);
	free(url);
	free(expected);
}

static void
check_base(NexusText base)
{
	NexusError	error = {0};
	bool		done = nexus_url_check_base(base, &error);
	NexusText	host = nexus_url_host(base);

	require_outcome(done, &error);
	REQUIRE(is_within(host, base));
	nexus_url_host_is_loopback(host);
	if (!done)
		return;
	REQUIRE(host.len > 0);
	for (size_t i = 0; i < host.len; i++)
		REQUIRE((unsigned char) host.data[i] > 0x20 && strchr("/?#@[]\\%", host.data[i]) == NULL);
	check_against_curl(base, host);
}

static int
hex_value(char c)
{
	const char *digits = "0123456789ABCDEF";
	const char *found = c != '\0' ? strchr(digits, c) : NULL;

	REQUIRE(found != NULL);
	return (int) (found - digits);
}

/* Whether an escaped text stands for another one, and holds nothing that needs an escape. */
static bool
is_escaped(NexusText escaped, NexusText expected, const char *plain)
{
	size_t		len = 0;

	for (size_t i = 0; i < escaped.len; i++, len++)
	{
		char		c = escaped.data[i];

		if (c == '%')
		{
			REQUIRE(escaped.len - i >= 3);
			c = (char) (hex_value(escaped.data[i + 1]) << 4 | hex_value(escaped.data[i + 2]));
			i += 2;
		}
		else if (c == '+' && strchr(plain, '+') == NULL)
			c = ' ';
		else
			REQUIRE(c != '\0' && (strchr(plain, c) != NULL || (c >= '0' && c <= '9') ||
								  ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')));
		if (len >= expected.len || c != expected.data[len])
			return false;
	}
	return len == expected.len;
}

static NexusText
behind(const NexusBuffer *out, size_t len)
{
	REQUIRE(out->len >= len);
	return nexus_text_make(out->data + len, out->len - len);
}

/* Path and query that begin a URL of ours. */
static NexusText
path_of(NexusText base, NexusText *query)
{
	NexusText	path = nexus_text_cut(base, '?', query);

	while (path.len > 0 && path.data[path.len - 1] == '/')
		path.len--;
	return path;
}

static void
check_start(NexusText base, NexusText service, NexusText operation, NexusText callback)
{
	const char *in_segment = "-_.~$&+:=@";
	NexusError	error = {0};
	NexusBuffer out;
	NexusText	query;
	NexusText	rest;
	bool		done;

	nexus_buffer_init(&out, MAX_URL);
	done = nexus_url_start(&out, base, service, operation, callback, &error);
	require_outcome(done, &error);
	if (done)
	{
		rest = behind(&out, path_of(base, &query).len);
		REQUIRE(nexus_text_cut(rest, '/', &rest).len == 0);
		REQUIRE(is_escaped(nexus_text_cut(rest, '/', &rest), service, in_segment));
		REQUIRE(is_escaped(nexus_text_cut(rest, '?', &rest), operation, in_segment));
		if (query.len > 0)
		{
			REQUIRE(rest.len >= query.len && memcmp(rest.data, query.data, query.len) == 0);
			rest = nexus_text_make(rest.data + query.len, rest.len - query.len);
			if (callback.len > 0)
				REQUIRE(nexus_text_cut(rest, '&', &rest).len == 0);
		}
		if (callback.len > 0)
		{
			REQUIRE(nexus_text_equal(nexus_text_cut(rest, '=', &rest), nexus_text_of("callback")));
			REQUIRE(is_escaped(rest, callback, "-_.~"));
		}
		else
			REQUIRE(rest.len == 0);
		if (nexus_url_check_base(base, NULL))
			REQUIRE(nexus_url_check_base(nexus_buffer_view(&out), NULL));
	}
	nexus_buffer_free(&out);
}

/* Cancel requests go to the same place, and over-long URLs to none. */
static void
check_cancel(NexusText base, NexusText service, NexusText operation)
{
	NexusError	error = {0};
	NexusBuffer out;
	NexusBuffer small;
	bool		done;

	nexus_buffer_init(&out, MAX_URL);
	done = nexus_url_cancel(&out, base, service, operation, &error);
	require_outcome(done, &error);
	if (done)
	{
		nexus_buffer_init(&small, out.len - 1);
		REQUIRE(!nexus_url_cancel(&small, base, service, operation, NULL));
		nexus_buffer_free(&small);
	}
	nexus_buffer_free(&out);
}

/* A callback URL that is not too long leads back to the ids in it. */
static void
check_callback(NexusText base)
{
	NexusUuid	ids[2] = {{{0}}};
	NexusUuid	found[2];
	NexusText	query;
	NexusText	path = path_of(base, &query);
	size_t		len = path.len + strlen(NEXUS_CALLBACK_PREFIX) + 2 * NEXUS_UUID_TEXT_LEN + 1 +
	(query.len > 0 ? query.len + 1 : 0);
	NexusBuffer out;

	memcpy(ids, base.data, base.len < sizeof(ids) ? base.len : sizeof(ids));
	nexus_buffer_init(&out, MAX_URL);
	REQUIRE(nexus_url_callback(&out, base, &ids[0], &ids[1]) == (len <= NEXUS_CALLBACK_URL_MAX));
	REQUIRE(out.len == len);
	REQUIRE(nexus_url_parse_callback(behind(&out, path.len), &found[0], &found[1]));
	REQUIRE(memcmp(ids, found, sizeof(ids)) == 0);
	nexus_buffer_free(&out);
}

/* The limit comes near only where the base is long. */
static void
check_long_callback(NexusText base)
{
	NexusBuffer padded;

	nexus_buffer_init(&padded, MAX_URL);
	nexus_buffer_append_format(&padded, "%0*d", NEXUS_CALLBACK_URL_MAX - 120, 0);
	nexus_buffer_append_text(&padded, base);
	check_callback(nexus_buffer_view(&padded));
	nexus_buffer_free(&padded);
}

static void
check_callback_path(NexusText path)
{
	NexusUuid	ids[2];
	NexusText	query;
	NexusBuffer out;

	if (!nexus_url_parse_callback(path, &ids[0], &ids[1]))
		return;
	nexus_buffer_init(&out, MAX_URL);
	REQUIRE(nexus_url_callback(&out, nexus_text_make("", 0), &ids[0], &ids[1]));
	REQUIRE(nexus_text_equal_fold(nexus_buffer_view(&out), nexus_text_cut(path, '?', &query)));
	nexus_buffer_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	NexusText	rest = input_text(data, size);
	NexusBuffer out;
	NexusText	base;
	NexusText	service;
	NexusText	operation;

	nexus_buffer_init(&out, MAX_URL);
	REQUIRE(nexus_url_append_segment(&out, rest));
	REQUIRE(is_escaped(nexus_buffer_view(&out), rest, "-_.~$&+:=@"));
	nexus_buffer_free(&out);
	base = take_line(&rest);
	service = take_line(&rest);
	operation = take_line(&rest);
	check_base(base);
	check_callback(base);
	check_long_callback(base);
	check_callback_path(base);
	check_start(base, service, operation, rest);
	check_cancel(base, service, operation);
	return 0;
}
