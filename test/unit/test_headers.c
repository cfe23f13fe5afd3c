/*
 * test_headers.c
 *	  The header list, raw lines, and what may be sent.
 */
#include "protocol/headers.h"
#include "tap.h"

typedef struct Row
{
	const char *text;
	bool		expected;
} Row;

static const Row lines[] = {
	{"Name: value\r\n", true},
	{"Name:value\n", true},
	{"Name:\t value \t", true},
	{"Name:", true},
	{"HTTP/1.1 200 OK\r\n", false},
	{": value", false},
	{"Na me: value", false},
	{"Name : value", false},
	{"\r\n", false},
	{"", false}
};

static const Row caller_names[] = {
	{"test", true},
	{"Operation-Timeout", true},
	{"User-Agent", true},
	{"hostname", true},
	{"Host", false},
	{"Content-Type", false},
	{"content-length", false},
	{"Connection", false},
	{"Transfer-Encoding", false},
	{"TE", false},
	{"Authorization", false},
	{"request-timeout", false},
	{"Nexus-Request-Id", false},
	{"nexus-callback-source", false},
	{"xdc-redirection-api", false},
	{"Caller-Type", false},
	{"temporal-principal-name", false}
};

static void
test_list(void)
{
	NexusHeaders headers;
	NexusText	name;
	NexusText	value;
	size_t		position = 0;

	nexus_headers_init(&headers, 40);
	ok(!nexus_headers_get(&headers, "A", &value) && value.len == 0, "an empty list has nothing");
	ok(nexus_headers_add_string(&headers, "Nexus-Link", "one"), "add");
	ok(nexus_headers_add_string(&headers, "A", ""), "an empty value");
	ok(nexus_headers_add_string(&headers, "nexus-link", "two"), "a name twice");
	nexus_headers_at(&headers, 2, &name, &value);
	is_text(name, "nexus-link", "names are kept as they came");
	ok(nexus_headers_get(&headers, "NEXUS-LINK", &value), "look-up ignores case");
	is_text(value, "one", "the first value wins");
	nexus_headers_next(&headers, "nexus-link", &position, &value);
	ok(nexus_headers_next(&headers, "nexus-link", &position, &value), "the next value");
	is_text(value, "two", "in order of arrival");
	ok(!nexus_headers_next(&headers, "nexus-link", &position, &value), "no third one");
	ok(!nexus_headers_get(&headers, "nexus-lin", &value), "whole names are compared");
	ok(!nexus_headers_add_string(&headers, "", "x"), "no name, no header");
	ok(!nexus_headers_add_string(&headers, "Long", "does not fit any more"), "beyond the cap");
	is_int((int64_t) headers.count, 3, "nothing changed by it");
	ok(nexus_headers_add_string(&headers, "B", "fits"), "and a shorter one still fits");
	nexus_headers_reset(&headers);
	is_int((int64_t) headers.count, 0, "reset");
	nexus_headers_free(&headers);
}

static void
test_growth(void)
{
	NexusHeaders headers;
	NexusText	name;
	NexusText	value;

	nexus_headers_init(&headers, 100000);
	for (int i = 0; i < 1000; i++)
	{
		char		number[16];

		snprintf(number, sizeof(number), "%d", i);
		nexus_headers_add_string(&headers, "Number", number);
	}
	nexus_headers_at(&headers, 999, &name, &value);
	is_text(value, "999", "a thousand headers");
	nexus_headers_free(&headers);
}

/* The same head, whether it comes line by line or with a fold. */
static void
test_lines(void)
{
	NexusHeaders headers;
	NexusText	value;

	nexus_headers_init(&headers, 1000);
	ok(!nexus_headers_add_line(&headers, nexus_text_of(" folded under nothing")), "a fold needs a header before it");
	for (size_t i = 0; i < LENGTH_OF(lines); i++)
	{
		NexusText	line = exact_copy(lines[i].text, strlen(lines[i].text));

		nexus_headers_reset(&headers);
		ok(nexus_headers_add_line(&headers, line) == lines[i].expected, lines[i].text[0] > ' ' ? lines[i].text : "empty line");
		free((char *) line.data);
	}
	nexus_headers_reset(&headers);
	nexus_headers_add_line(&headers, nexus_text_of("A: one\r\n"));
	nexus_headers_add_line(&headers, nexus_text_of("\ttwo \r\n"));
	nexus_headers_add_line(&headers, nexus_text_of("B: a: b\r\n"));
	nexus_headers_get(&headers, "a", &value);
	is_text(value, "one two", "a folded line is joined by a space");
	nexus_headers_get(&headers, "b", &value);
	is_text(value, "a: b", "only the first colon cuts");
	nexus_headers_free(&headers);
}

static void
test_check(void)
{
	NexusError	error = {0};

	ok(nexus_headers_check(nexus_text_of("X-a_b.c"), nexus_text_of("caf\xc3\xa9\tok \"{}\""), NULL), "what may be sent");
	ok(!nexus_headers_check(nexus_text_of(""), nexus_text_of("v"), NULL), "empty name");
	ok(!nexus_headers_check(nexus_text_of("a b"), nexus_text_of("v"), NULL), "blank in a name");
	ok(!nexus_headers_check(nexus_text_of("a:"), nexus_text_of("v"), NULL), "colon in a name");
	ok(!nexus_headers_check(nexus_text_make("a\0b", 3), nexus_text_of("v"), NULL), "NUL in a name");
	ok(!nexus_headers_check(nexus_text_of("a"), nexus_text_of("b\r\nc: d"), &error), "a line break in a value");
	is_text(nexus_text_of(error.message), "value of header \"a\" contains a control character", "the error says so");
	ok(!nexus_headers_check(nexus_text_of("a"), nexus_text_make("b\0", 2), NULL), "NUL in a value");
	ok(!nexus_headers_check(nexus_text_of("a"), nexus_text_of("\x7f"), NULL), "DEL in a value");
	for (size_t i = 0; i < LENGTH_OF(caller_names); i++)
		ok(nexus_headers_is_allowed_for_caller(nexus_text_of(caller_names[i].text)) == caller_names[i].expected,
		   caller_names[i].text);
}

int
main(void)
{
	test_list();
	test_growth();
	test_lines();
	test_check();
	return done();
}
