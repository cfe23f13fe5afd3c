/*
 * fuzz_link.c
 *	  The Nexus-Link header.
 *
 * Input: values of the header, a line each.
 */
#include "fuzz.h"

#include "protocol/link.h"

/* A link that may be sent is read as it was meant; whether it is such a one. */
static bool
check_format(NexusLink link)
{
	NexusError	error = {0};
	NexusBuffer out;
	NexusText	rest;
	NexusLink	again;
	bool		done;

	nexus_buffer_init(&out, SIZE_MAX);
	done = nexus_link_format(&out, link, &error);
	require_outcome(done, &error);
	if (done)
	{
		REQUIRE(is_ascii(nexus_buffer_view(&out)));
		rest = nexus_buffer_view(&out);
		REQUIRE(nexus_link_parse_next(&rest, &again, NULL) == 1);
		REQUIRE(nexus_text_equal(again.url, link.url) && nexus_text_equal(again.type, link.type));
		REQUIRE(nexus_link_parse_next(&rest, &again, NULL) == 0);
	}
	else
		REQUIRE(out.len == 0);
	nexus_buffer_free(&out);
	return done;
}

/* How many links of a value are kept; -1 where it is malformed. */
static int
count_links(NexusText value)
{
	NexusText	rest = value;
	NexusError	error = {0};
	NexusLink	link;
	int			count = 0;
	int			found;

	while ((found = nexus_link_parse_next(&rest, &link, &error)) == 1)
	{
		REQUIRE(link.url.len > 0 && is_within(link.url, value));
		REQUIRE(link.type.len > 0 && is_within(link.type, value));
		count += check_format(link);
	}
	require_outcome(found == 0, &error);
	return found == 0 ? count : -1;
}

/* Links in several headers are those of one header with commas. */
static void
check_json(NexusText lines, int expected)
{
	NexusHeaders many;
	NexusHeaders one;
	NexusBuffer joined;
	NexusBuffer out;
	NexusBuffer out_of_one;
	NexusError	error = {0};
	bool		done;

	nexus_headers_init(&many, SIZE_MAX);
	nexus_headers_init(&one, SIZE_MAX);
	nexus_buffer_init(&joined, SIZE_MAX);
	nexus_buffer_init(&out, SIZE_MAX);
	nexus_buffer_init(&out_of_one, SIZE_MAX);
	while (lines.len > 0)
	{
		NexusText	value = take_line(&lines);

		nexus_buffer_append_string(&joined, many.count > 0 ? "," : "");
		/* a header of another name does not count */
		nexus_headers_add(&many, nexus_text_of("nexus-LINK"), value);
		nexus_headers_add(&many, nexus_text_of("Nexus-Links"), value);
		nexus_buffer_append_text(&joined, value);
	}
	nexus_headers_add(&one, nexus_text_of("Nexus-Link"), nexus_buffer_view(&joined));
	done = nexus_link_headers_to_json(&many, &out, &error);
	require_outcome(done, &error);
	REQUIRE(done == (expected >= 0));
	if (many.count > 0)
	{
		REQUIRE(nexus_link_headers_to_json(&one, &out_of_one, NULL) == done);
		REQUIRE(nexus_text_equal(nexus_buffer_view(&out), nexus_buffer_view(&out_of_one)));
	}
	if (done && expected > 0)
	{
		json_t	   *json = require_json(&out);

		REQUIRE((int) json_array_size(json) == expected);
		json_decref(json);
	}
	else
		REQUIRE(out.len == 0);
	nexus_headers_free(&many);
	nexus_headers_free(&one);
	nexus_buffer_free(&joined);
	nexus_buffer_free(&out);
	nexus_buffer_free(&out_of_one);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	NexusText	text = input_text(data, size);
	NexusText	rest = text;
	NexusLink	link;
	int			total = 0;

	while (rest.len > 0)
	{
		int			count = count_links(take_line(&rest));

		total = count < 0 || total < 0 ? -1 : total + count;
	}
	check_json(text, total);
	rest = text;
	link.url = take_line(&rest);
	link.type = rest;
	check_format(link);
	return 0;
}
