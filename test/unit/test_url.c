/*
 * test_url.c
 *	  URLs of start, cancel and callback requests.
 */
#include "protocol/url.h"
#include "tap.h"

typedef struct BaseRow
{
	const char *name;
	const char *url;
	const char *error;			/* NULL where it is fine */
} BaseRow;

static const BaseRow bases[] = {
	{"plain", "http://example.com", NULL},
	{"upper case", "HTTPS://Example.COM/", NULL},
	{"port, path, query", "https://h:8443/a%20b/c?k=v", NULL},
	{"IPv6", "http://[::1]:80/", NULL},
	{"item 10: empty", "", "URL must not be empty"},
	{"item 11: smtp", "smtp://h", "URL must begin with http:// or https://"},
	{"no scheme", "h:80/x", "URL must begin with http:// or https://"},
	{"no host", "http:///x", "URL must have a host"},
	{"only a port", "http://:80", "URL must have a host"},
	{"user", "http://u@h/", "URL must not contain a user name or password"},
	{"password", "http://u:p@h/", "URL must not contain a user name or password"},
	{"fragment", "http://h/#f", "URL must not have a fragment"},
	{"blank", "http://h/ x", "URL must not contain blanks or control characters"},
	{"line break", "http://h/\r\nX: y", "URL must not contain blanks or control characters"},
	{"backslash", "http://h\\@evil/", "URL contains a character that must be percent-encoded"},
	{"not ASCII", "http://h/\xc3\xa9", "URL contains a character that must be percent-encoded"},
	{"dangling percent", "http://h/%2", "URL has an invalid percent-encoding"},
	{"port 0", "http://h:0", "URL has an invalid port"},
	{"port too big", "http://h:65536", "URL has an invalid port"},
	{"empty port", "http://h:/", "URL has an invalid port"},
	{"no port at all", "http://h:x", "URL has an invalid port"},
	{"odd host", "http://a$b", "URL has an invalid host"},
	{"open bracket", "http://[::1", "URL has an invalid host"},
	{"no IPv6", "http://[zz]", "URL has an invalid host"},
	{"behind the bracket", "http://[::1]x", "URL has an invalid host"}
};

typedef struct UrlRow
{
	const char *name;
	const char *base;
	const char *service;
	const char *operation;
	const char *callback;
	const char *start;			/* NULL where it is refused */
	const char *cancel;
} UrlRow;

static const UrlRow urls[] = {
	{"item 1: escapes", "http://h", "Ser/vic e", "i need to/be escaped", "",
	"http://h/Ser%2Fvic%20e/i%20need%20to%2Fbe%20escaped", "http://h/Ser%2Fvic%20e/i%20need%20to%2Fbe%20escaped/cancel"},
	{"item 2: no slash at the end", "http://h/prefix", "s", "o", "", "http://h/prefix/s/o", "http://h/prefix/s/o/cancel"},
	{"item 2: a slash at the end", "http://h/prefix/", "s", "o", "", "http://h/prefix/s/o", "http://h/prefix/s/o/cancel"},
	{"item 2: a slash and nothing else", "http://h/", "s", "o", "", "http://h/s/o", "http://h/s/o/cancel"},
	{"item 3: query and callback", "http://h/p/?k=v", "s", "o", "http://c/x?a=b c",
	"http://h/p/s/o?k=v&callback=http%3A%2F%2Fc%2Fx%3Fa%3Db+c", "http://h/p/s/o/cancel?k=v"},
	{"item 4: callback alone", "http://h", "s", "o", "http://test/callback",
	"http://h/s/o?callback=http%3A%2F%2Ftest%2Fcallback", "http://h/s/o/cancel"},
	{"empty query", "http://h/?", "s", "o", "http://c", "http://h/s/o?callback=http%3A%2F%2Fc", "http://h/s/o/cancel"},
	{"what stays as it is", "http://h", "aZ09-_.~$&+:=@", "...", "",
	"http://h/aZ09-_.~$&+:=@/...", "http://h/aZ09-_.~$&+:=@/.../cancel"},
	{"what does not", "http://h", "!'()*#,;?%", "\xc3\xa9\x01", "",
	"http://h/%21%27%28%29%2A%23%2C%3B%3F%25/%C3%A9%01", "http://h/%21%27%28%29%2A%23%2C%3B%3F%25/%C3%A9%01/cancel"},
	{"item 40: slashes in the name", "http://h", "s", "f/o/o", "", "http://h/s/f%2Fo%2Fo", "http://h/s/f%2Fo%2Fo/cancel"},
	{"item 10: no base", "", "s", "o", "", NULL, NULL},
	{"item 10: no service", "http://h", "", "o", "", NULL, NULL},
	{"item 10: no operation", "http://h", "s", "", "", NULL, NULL},
	{"service .", "http://h", ".", "o", "", NULL, NULL},
	{"operation ..", "http://h", "s", "..", "", NULL, NULL}
};

static void
test_bases(void)
{
	for (size_t i = 0; i < LENGTH_OF(bases); i++)
	{
		NexusError	error = {0};
		NexusText	url = exact_copy(bases[i].url, strlen(bases[i].url));

		ok(nexus_url_check_base(url, &error) == (bases[i].error == NULL), bases[i].name);
		is_text(nexus_text_of(error.message), bases[i].error != NULL ? bases[i].error : "", bases[i].name);
		free((char *) url.data);
	}
	is_text(nexus_url_host(nexus_text_of("https://Example.com:1/x@y")), "Example.com", "host");
	is_text(nexus_url_host(nexus_text_of("http://[::1]:80/")), "::1", "host without its brackets");
	is_text(nexus_url_host(nexus_text_of("http://h?x")), "h", "host before a query");
	ok(nexus_url_host_is_loopback(nexus_text_of("LocalHost")), "localhost");
	ok(nexus_url_host_is_loopback(nexus_text_of("127.255.0.1")), "127.0.0.0/8");
	ok(nexus_url_host_is_loopback(nexus_text_of("0:0::1")), "::1, spelled out");
	ok(!nexus_url_host_is_loopback(nexus_text_of("127.0.0.1.example.com")), "a name that begins like one");
	ok(!nexus_url_host_is_loopback(nexus_text_of("10.0.0.1")), "another address");
	ok(!nexus_url_host_is_loopback(nexus_text_of("::2")), "another IPv6 address");
}

static void
test_urls(void)
{
	NexusBuffer out;

	nexus_buffer_init(&out, 1000);
	for (size_t i = 0; i < LENGTH_OF(urls); i++)
	{
		const UrlRow *row = &urls[i];
		NexusError	error = {0};
		bool		made;

		nexus_buffer_reset(&out);
		made = nexus_url_start(&out, nexus_text_of(row->base), nexus_text_of(row->service),
							   nexus_text_of(row->operation), nexus_text_of(row->callback), &error);
		ok(made == (row->start != NULL) && made != error.is_set, row->name);
		is_text(nexus_buffer_view(&out), made ? row->start : "", row->name);
		nexus_buffer_reset(&out);
		made = nexus_url_cancel(&out, nexus_text_of(row->base), nexus_text_of(row->service),
								nexus_text_of(row->operation), NULL);
		is_text(nexus_buffer_view(&out), made ? row->cancel : "", row->name);
	}
	nexus_buffer_free(&out);
	nexus_buffer_init(&out, 10);
	ok(!nexus_url_start(&out, nexus_text_of("http://h"), nexus_text_of("s"), nexus_text_of("ooo"), nexus_text_of(""), NULL),
	   "longer than the buffer");
	nexus_buffer_free(&out);
}

static void
test_callback(void)
{
	static const char path[] = "/nexus/callback/01010101-0101-0101-0101-010101010101/02020202-0202-0202-0202-020202020202";
	NexusBuffer out;
	NexusUuid	incarnation;
	NexusUuid	operation_id;
	char		base[1000] = "http://h/";

	ok(nexus_url_parse_callback(nexus_text_of(path), &incarnation, &operation_id), "callback path parses");
	is_int(incarnation.bytes[0], 1, "incarnation");
	is_int(operation_id.bytes[0], 2, "operation id");
	for (size_t len = 0; len < strlen(path); len++)
	{
		NexusText	cut = exact_copy(path, len);

		if (nexus_url_parse_callback(cut, &incarnation, &operation_id))
			ok(false, "a path cut off");
		free((char *) cut.data);
	}
	nexus_buffer_init(&out, 4096);
	nexus_buffer_append_string(&out, path);
	nexus_buffer_append_string(&out, "?a=b");
	ok(nexus_url_parse_callback(nexus_buffer_view(&out), &incarnation, &operation_id), "item 44: a query is ignored");
	out.data[strlen(path)] = '/';
	ok(!nexus_url_parse_callback(nexus_buffer_view(&out), &incarnation, &operation_id), "more segments");
	nexus_buffer_reset(&out);
	ok(nexus_url_callback(&out, nexus_text_of("https://h:1/p/"), &incarnation, &operation_id), "callback URL");
	ok(out.len == strlen("https://h:1/p") + strlen(path) && strstr(out.data, path) != NULL, "is base and path");
	memset(base + 9, 'x', 980);
	nexus_buffer_reset(&out);
	ok(!nexus_url_callback(&out, nexus_text_of(base), &incarnation, &operation_id), "longer than Temporal takes");
	nexus_buffer_free(&out);
}

int
main(void)
{
	test_bases();
	test_urls();
	test_callback();
	return done();
}
