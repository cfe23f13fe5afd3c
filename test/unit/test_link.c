/*
 * test_link.c
 *	  The Nexus-Link header.
 */
#include "protocol/link.h"
#include "tap.h"

typedef struct Row
{
	const char *value;
	const char *json;			/* NULL where it is invalid */
} Row;

#define EXAMPLE(type) "[{\"url\":\"https://example.com/p?a=b\",\"type\":\"" type "\"}]"

static const Row rows[] = {
	{"<https://example.com/p?a=b>; type=\"text/plain\"", EXAMPLE("text/plain")},
	{"<https://example.com/p?a=b>; type=text/plain", EXAMPLE("text/plain")},
	{"<https://example.com/p?a=b>;type=x", EXAMPLE("x")},
	{"  < https://example.com/p?a=b >  ;  type = \"x\"  ", EXAMPLE("x")},
	{"<https://example.com/p?a=b>; type=\"x\"; Param=\"v\"", EXAMPLE("x")},
	{"<https://example.com/p?a=b>; Param=\"v\"; type=\"x\"", EXAMPLE("x")},
	{"<nexus:///path?param=value>; type=\"nexus.data_type\"",
	"[{\"url\":\"nexus:///path?param=value\",\"type\":\"nexus.data_type\"}]"},
	{"<a:///b?c=%2C#d;e>; type=x", "[{\"url\":\"a:///b?c=%2C#d;e\",\"type\":\"x\"}]"},
	{"<a:b>; type=x, <c:d>; type=y", "[{\"url\":\"a:b\",\"type\":\"x\"},{\"url\":\"c:d\",\"type\":\"y\"}]"},
	{"<a:\">; type=x", "[{\"url\":\"a:\\\"\",\"type\":\"x\"}]"},
	{"<a:\xc3\xa9>; type=x, <c:d>; type=y", "[{\"url\":\"c:d\",\"type\":\"y\"}]"},
	{"<a:b>; type=x, <a: b>; type=y", "[{\"url\":\"a:b\",\"type\":\"x\"}]"},
	{"<a:b>; type=\"no type\", <a:b>; type=y", "[{\"url\":\"a:b\",\"type\":\"y\"}]"},
	{"<a:b>; type=\"x-y\"", ""},
	{"https://example.com/p>; type=x", NULL},
	{"<https://example.com/p; type=x", NULL},
	{"<>; type=x", NULL},
	{"<  >; type=x", NULL},
	{"<https://example.com/p>", NULL},
	{"<https://example.com/p>;", NULL},
	{"<https://example.com/p>; Param=v", NULL},
	{"<https://example.com/p>; Type=x", NULL},
	{"<https://example.com/p>; type=", NULL},
	{"<https://example.com/p>; type=\"\"", NULL},
	{"<https://example.com/p>; type", NULL},
	{"<https://example.com/p>; type=\"x\";", NULL},
	{"<https://example.com/p>; ; type=\"x\"", NULL},
	{"<https://example.com/p> type=\"x\"", NULL},
	{"<https://example.com/p>; type=\"x", NULL},
	{"<https://example.com/p>; type=x\"", NULL},
	{"<https://example.com/p>; type=\"", NULL},
	{"<https://example.com/p?param=value%>; type=x", NULL},
	{"<https://example.com/p?a=b;c=d>; type=x", NULL},
	{"<https://example.com/p?a=b,c>; type=x", NULL},
	{"<a:b>; type=x,", NULL},
	{",<a:b>; type=x", NULL},
	{"", NULL}
};

typedef struct FormatRow
{
	const char *name;
	const char *url;
	const char *type;
	const char *expected;		/* NULL where it is refused */
} FormatRow;

static const FormatRow formats[] = {
	{"a link", "temporal:///n/x?a=b%2C", "temporal.api.common.v1.Link.Workflow_1/2",
	"<temporal:///n/x?a=b%2C>; type=\"temporal.api.common.v1.Link.Workflow_1/2\""},
	{"item 12: dangling percent", "https://h/p?param=value%", "x", NULL},
	{"item 12: semicolon", "https://h/p?param=value;", "x", NULL},
	{"item 13: type with a semicolon", "https://h/p", "text/plain;", NULL},
	{"item 13: empty type", "https://h/p", "", NULL},
	{"empty URL", "", "x", NULL},
	{"comma", "https://h/a,b", "x", NULL},
	{"bracket", "https://h/a>b", "x", NULL},
	{"line break", "https://h/\r\n", "x", NULL}
};

static void
test_parse(void)
{
	NexusHeaders headers;
	NexusBuffer out;

	nexus_headers_init(&headers, 10000);
	nexus_buffer_init(&out, 10000);
	for (size_t i = 0; i < LENGTH_OF(rows); i++)
	{
		NexusError	error = {0};
		char		name[100];

		snprintf(name, sizeof(name), "item 94: %s", rows[i].value);
		nexus_headers_reset(&headers);
		nexus_buffer_reset(&out);
		nexus_headers_add_string(&headers, "nexus-link", rows[i].value);
		ok(nexus_link_headers_to_json(&headers, &out, &error) == (rows[i].json != NULL), name);
		is_text(nexus_buffer_view(&out), rows[i].json != NULL ? rows[i].json : "", name);
		ok(error.is_set == (rows[i].json == NULL), name);
	}
	nexus_headers_reset(&headers);
	nexus_buffer_reset(&out);
	ok(nexus_link_headers_to_json(&headers, &out, NULL) && out.len == 0, "no links, no text");
	nexus_headers_add_string(&headers, "Nexus-Link", "<a:1>; type=x");
	nexus_headers_add_string(&headers, "Other", "<a:2>; type=x");
	nexus_headers_add_string(&headers, "Nexus-Link", "<a:3>; type=x, <a:4>; type=x");
	ok(nexus_link_headers_to_json(&headers, &out, NULL), "item 22: two lines");
	is_text(nexus_buffer_view(&out),
			"[{\"url\":\"a:1\",\"type\":\"x\"},{\"url\":\"a:3\",\"type\":\"x\"},{\"url\":\"a:4\",\"type\":\"x\"}]",
			"item 22: in order");
	nexus_headers_free(&headers);
	nexus_buffer_free(&out);
}

/* A value cut off anywhere: valid or not, no byte beyond it is read. */
static void
test_cut(void)
{
	static const char value[] = "<https://example.com/p?a=%20>; type=\"text/plain\", <c:d>; type=y";

	for (size_t len = 0; len < sizeof(value); len++)
	{
		NexusText	cut = exact_copy(value, len);
		NexusText	rest = cut;
		NexusLink	link;

		while (nexus_link_parse_next(&rest, &link, NULL) > 0)
			continue;
		free((char *) cut.data);
	}
	ok(true, "cut off anywhere");
}

int
main(void)
{
	NexusBuffer out;

	test_parse();
	test_cut();
	nexus_buffer_init(&out, 1000);
	for (size_t i = 0; i < LENGTH_OF(formats); i++)
	{
		NexusLink	link = {nexus_text_of(formats[i].url), nexus_text_of(formats[i].type)};

		nexus_buffer_reset(&out);
		ok(nexus_link_format(&out, link, NULL) == (formats[i].expected != NULL), formats[i].name);
		is_text(nexus_buffer_view(&out), formats[i].expected != NULL ? formats[i].expected : "", formats[i].name);
	}
	nexus_buffer_free(&out);
	return done();
}
