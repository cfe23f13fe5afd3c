/*
 * fuzz_headers.c
 *	  Lists of headers: they stay within their cap, and a line that is refused
 *	  changes nothing.
 *
 * Input: a character that stands for the cap, then header lines.
 */
#include "fuzz.h"

#define BYTES_A_STEP 16			/* of the cap */

static void
check_views(const NexusHeaders *headers)
{
	size_t		total = 0;

	for (size_t i = 0; i < headers->count; i++)
	{
		NexusText	name;
		NexusText	value;

		nexus_headers_at(headers, i, &name, &value);
		REQUIRE(name.len > 0);
		REQUIRE(is_within(name, nexus_buffer_view(&headers->bytes)));
		REQUIRE(is_within(value, nexus_buffer_view(&headers->bytes)));
		total += name.len + value.len;
	}
	REQUIRE(total == headers->bytes.len);
	REQUIRE(total <= headers->bytes.max);
	REQUIRE(!headers->bytes.is_broken);
}

/* The same line with its end must have the same effect. */
static void
add_with_end(NexusHeaders *headers, NexusText line, const char *end, bool expected)
{
	char	   *copy = malloc(line.len + strlen(end));

	if (line.len > 0)
		memcpy(copy, line.data, line.len);
	memcpy(copy + line.len, end, strlen(end));
	REQUIRE(nexus_headers_add_line(headers, nexus_text_make(copy, line.len + strlen(end))) == expected);
	free(copy);
}

static void
check_equal(const NexusHeaders *a, const NexusHeaders *b)
{
	REQUIRE(a->count == b->count);
	REQUIRE(nexus_text_equal(nexus_buffer_view(&a->bytes), nexus_buffer_view(&b->bytes)));
}

static void
add_lines(NexusText rest, NexusHeaders *headers, NexusHeaders *twin)
{
	while (rest.len > 0)
	{
		NexusText	line = take_line(&rest);
		size_t		count = headers->count;
		size_t		len = headers->bytes.len;
		bool		done = nexus_headers_add_line(headers, line);
		bool		ends_in_cr = line.len > 0 && line.data[line.len - 1] == '\r';

		if (done)
			REQUIRE(headers->count == count + 1 || (headers->count == count && headers->bytes.len > len));
		else
			REQUIRE(headers->count == count && headers->bytes.len == len);
		add_with_end(twin, line, ends_in_cr || line.len % 2 == 0 ? "\n" : "\r\n", done);
	}
}

/* Look-up finds the first of a name, whatever its case, and then each other one. */
static void
check_look_up(const NexusHeaders *headers, size_t i)
{
	NexusText	name;
	NexusText	value;
	NexusText	found;
	size_t		position = 0;
	size_t		last = 0;
	char	   *upper;

	nexus_headers_at(headers, i, &name, &value);
	upper = copy_string(name);
	for (char *p = upper; *p != '\0'; p++)
	{
		if (*p >= 'a' && *p <= 'z')
			*p = (char) (*p - 'a' + 'A');
	}
	REQUIRE(strlen(upper) == name.len);
	REQUIRE(nexus_headers_get(headers, upper, &found));
	while (last != i + 1)
	{
		REQUIRE(nexus_headers_next(headers, upper, &position, &found));
		REQUIRE(position > last && position <= i + 1);
		last = position;
	}
	REQUIRE(found.data == value.data && found.len == value.len);
	REQUIRE(nexus_headers_is_allowed_for_caller(name) == nexus_headers_is_allowed_for_caller(nexus_text_of(upper)));
	free(upper);
}

/* A header that passes the check is still the same after it was a line. */
static void
check_line(NexusText name, NexusText value)
{
	NexusError	error = {0};
	NexusHeaders headers;
	NexusBuffer line;
	NexusText	found_name;
	NexusText	found;
	bool		done = nexus_headers_check(name, value, &error);

	require_outcome(done, &error);
	if (!done)
		return;
	nexus_buffer_init(&line, SIZE_MAX);
	nexus_headers_init(&headers, SIZE_MAX);
	nexus_buffer_append_text(&line, name);
	nexus_buffer_append_string(&line, ": ");
	nexus_buffer_append_text(&line, value);
	nexus_buffer_append_string(&line, "\r\n");
	REQUIRE(nexus_headers_add_line(&headers, nexus_buffer_view(&line)));
	nexus_headers_at(&headers, 0, &found_name, &found);
	REQUIRE(nexus_text_equal(found_name, name));
	REQUIRE(nexus_text_equal(found, nexus_text_trim(value)));
	nexus_headers_free(&headers);
	nexus_buffer_free(&line);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	NexusHeaders headers;
	NexusHeaders twin;
	size_t		max = size > 0 ? data[0] * BYTES_A_STEP : 0;

	nexus_headers_init(&headers, max);
	nexus_headers_init(&twin, max);
	add_lines(input_text(data + (size > 0), size - (size > 0)), &headers, &twin);
	check_views(&headers);
	check_equal(&headers, &twin);
	for (size_t i = 0; i < headers.count; i++)
	{
		NexusText	name;
		NexusText	value;

		nexus_headers_at(&headers, i, &name, &value);
		check_look_up(&headers, i);
		check_line(name, value);
	}
	nexus_headers_free(&headers);
	nexus_headers_free(&twin);
	return 0;
}
