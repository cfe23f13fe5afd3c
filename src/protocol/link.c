/*
 * link.c
 *	  Parse and format the Nexus-Link header (nexus-rpc SPEC, Nexus-Link).
 *
 * A comma separates links even within < and >, as it does for Temporal; who
 * writes a link escapes it.
 */
#include "protocol/link.h"
#include "protocol/json_text.h"

static bool
is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* What holds for a URL that came as well as for one that goes. */
static bool
check_url(NexusText url, NexusError *error)
{
	bool		in_query = false;

	if (url.len == 0)
		return nexus_error_set(error, "link has an empty URL");
	for (size_t i = 0; i < url.len; i++)
	{
		unsigned char c = (unsigned char) url.data[i];

		if (c < 0x20 || c == 0x7f)
			return nexus_error_set(error, "link URL contains a control character");
		if (c == '%' && (url.len - i < 3 || !is_hex(url.data[i + 1]) || !is_hex(url.data[i + 2])))
			return nexus_error_set(error, "link URL has an invalid percent-encoding");
		if (c == '?')
			in_query = true;
		else if (c == '#')
			break;
		else if (c == ';' && in_query)
			return nexus_error_set(error, "link URL has a semicolon in its query");
	}
	return true;
}

/* Take the quotes off a parameter's value, both or none. */
static bool
unquote(NexusText *value)
{
	bool		opens = value->len > 0 && value->data[0] == '"';
	bool		closes = value->len > 0 && value->data[value->len - 1] == '"';

	if (!opens && !closes)
		return true;
	if (!opens || !closes || value->len < 2)
		return false;
	value->data++;
	value->len -= 2;
	return true;
}

/* Parameters after ">", of which only type is of interest. */
static bool
parse_parameters(NexusText text, NexusLink *link, NexusError *error)
{
	link->type = nexus_text_make("", 0);
	text = nexus_text_trim(text);
	if (text.len == 0 || text.data[0] != ';')
		return nexus_error_set(error, "link has no parameters");
	text = nexus_text_make(text.data + 1, text.len - 1);
	while (text.data != NULL)
	{
		NexusText	parameter = nexus_text_cut(text, ';', &text);
		NexusText	value;
		NexusText	key = nexus_text_trim(nexus_text_cut(parameter, '=', &value));

		if (key.len == 0 || value.data == NULL)
			return nexus_error_set(error, "link has a malformed parameter");
		value = nexus_text_trim(value);
		if (!unquote(&value))
			return nexus_error_set(error, "link has a parameter with one quote");
		if (nexus_text_equal(key, nexus_text_of("type")))
			link->type = value;
	}
	if (link->type.len == 0)
		return nexus_error_set(error, "link has no type");
	return true;
}

static bool
parse_link(NexusText text, NexusLink *link, NexusError *error)
{
	NexusText	parameters;

	if (text.len == 0 || text.data[0] != '<')
		return nexus_error_set(error, "link does not begin with \"<\"");
	link->url = nexus_text_cut(nexus_text_make(text.data + 1, text.len - 1), '>', &parameters);
	if (parameters.data == NULL)
		return nexus_error_set(error, "link has no \">\"");
	link->url = nexus_text_trim(link->url);
	return check_url(link->url, error) && parse_parameters(parameters, link, error);
}

int
nexus_link_parse_next(NexusText *rest, NexusLink *link, NexusError *error)
{
	NexusText	text;

	if (rest->data == NULL)
		return 0;
	text = nexus_text_cut(*rest, ',', rest);
	return parse_link(nexus_text_trim(text), link, error) ? 1 : -1;
}

static bool
is_type(NexusText type)
{
	for (size_t i = 0; i < type.len; i++)
	{
		char		c = type.data[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			  c == '_' || c == '.' || c == '/'))
			return false;
	}
	return type.len > 0;
}

/* What the syntax of the header lets pass, but nobody may write. */
static bool
check_value(NexusLink link, NexusError *error)
{
	for (size_t i = 0; i < link.url.len; i++)
	{
		unsigned char c = (unsigned char) link.url.data[i];

		if (c == ' ' || c == ',' || c == '<' || c == '>' || c >= 0x80)
			return nexus_error_set(error, "link URL contains a character that must be percent-encoded");
	}
	if (!is_type(link.type))
		return nexus_error_set(error, "link has an invalid type");
	return true;
}

bool
nexus_link_format(NexusBuffer *out, NexusLink link, NexusError *error)
{
	if (!check_url(link.url, error) || !check_value(link, error))
		return false;
	nexus_buffer_append(out, "<", 1);
	nexus_buffer_append_text(out, link.url);
	nexus_buffer_append_string(out, ">; type=\"");
	nexus_buffer_append_text(out, link.type);
	if (!nexus_buffer_append(out, "\"", 1))
		return nexus_error_set(error, "link is too long");
	return true;
}

/* Append the links of one header value as elements of an array begun at "start". */
static bool
append_links(NexusText value, size_t start, NexusBuffer *out, NexusError *error)
{
	NexusLink	link;
	int			found;

	while ((found = nexus_link_parse_next(&value, &link, error)) > 0)
	{
		if (!check_value(link, NULL))
			continue;
		nexus_buffer_append_string(out, out->len == start ? "[{\"url\":" : ",{\"url\":");
		nexus_json_append_string(out, link.url);
		nexus_buffer_append_string(out, ",\"type\":");
		nexus_json_append_string(out, link.type);
		nexus_buffer_append(out, "}", 1);
	}
	return found == 0;
}

bool
nexus_link_headers_to_json(const NexusHeaders *headers, NexusBuffer *out, NexusError *error)
{
	size_t		start = out->len;
	size_t		position = 0;
	NexusText	value;

	while (nexus_headers_next(headers, NEXUS_LINK_HEADER, &position, &value))
	{
		if (!append_links(value, start, out, error))
		{
			out->len = start;
			return false;
		}
	}
	if (out->len > start)
		nexus_buffer_append(out, "]", 1);
	if (out->is_broken)
	{
		out->len = start;
		return nexus_error_set(error, "links are too long");
	}
	return true;
}
