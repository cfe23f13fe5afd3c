/*
 * url.c
 *	  Build and check the URLs of start, cancel and callback requests.
 *
 * nexus-rpc SPEC and what Go does with a URL agree on the escapes; a base URL
 * is never decoded and encoded again, so what an administrator wrote is what
 * is sent.
 */
#include "protocol/url.h"

#include <arpa/inet.h>

#define MAX_PORT 65535

static bool
is_alnum(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool
is_hex(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* What stands after "http://" or "https://"; data is NULL for any other URL. */
static NexusText
after_scheme(NexusText url)
{
	static const char *const schemes[] = {"http://", "https://"};

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
	{
		NexusText	scheme = nexus_text_of(schemes[i]);

		if (nexus_text_starts_fold(url, scheme))
			return nexus_text_make(url.data + scheme.len, url.len - scheme.len);
	}
	return nexus_text_make(NULL, 0);
}

/* Host and port of what stands after the scheme. */
static NexusText
authority_of(NexusText rest)
{
	size_t		len = 0;

	while (len < rest.len && rest.data[len] != '/' && rest.data[len] != '?' && rest.data[len] != '#')
		len++;
	return nexus_text_make(rest.data, len);
}

/* Cut an authority into host and port; port.data is NULL where there is none. */
static bool
split_authority(NexusText authority, NexusText *host, NexusText *port)
{
	*port = nexus_text_make(NULL, 0);
	if (authority.len == 0 || authority.data[0] != '[')
	{
		*host = nexus_text_cut(authority, ':', port);
		return true;
	}
	authority.data++;
	authority.len--;
	*host = nexus_text_cut(authority, ']', port);
	if (port->data == NULL)
		return false;
	if (port->len == 0)
	{
		port->data = NULL;
		return true;
	}
	if (port->data[0] != ':')
		return false;
	port->data++;
	port->len--;
	return true;
}

static bool
is_ipv6(NexusText host)
{
	char		string[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (host.len >= sizeof(string))
		return false;
	memcpy(string, host.data, host.len);
	string[host.len] = '\0';
	return inet_pton(AF_INET6, string, &address) == 1;
}

static bool
is_host_name(NexusText host)
{
	for (size_t i = 0; i < host.len; i++)
	{
		unsigned char c = (unsigned char) host.data[i];

		if (!is_alnum(c) && c != '-' && c != '.' && c != '_')
			return false;
	}
	return host.len > 0;
}

static bool
check_authority(NexusText authority, NexusError *error)
{
	NexusText	host;
	NexusText	port;
	int64_t		number;

	if (memchr(authority.data, '@', authority.len) != NULL)
		return nexus_error_set(error, "URL must not contain a user name or password");
	if (!split_authority(authority, &host, &port))
		return nexus_error_set(error, "URL has an invalid host");
	if (host.len == 0)
		return nexus_error_set(error, "URL must have a host");
	if (authority.data[0] == '[' ? !is_ipv6(host) : !is_host_name(host))
		return nexus_error_set(error, "URL has an invalid host");
	if (port.data != NULL &&
		(!nexus_text_to_int64(port, &number) || number < 1 || number > MAX_PORT))
		return nexus_error_set(error, "URL has an invalid port");
	return true;
}

bool
nexus_url_check_base(NexusText url, NexusError *error)
{
	NexusText	rest;

	if (url.len == 0)
		return nexus_error_set(error, "URL must not be empty");
	for (size_t i = 0; i < url.len; i++)
	{
		unsigned char c = (unsigned char) url.data[i];

		if (c <= 0x20 || c == 0x7f)
			return nexus_error_set(error, "URL must not contain blanks or control characters");
		if (c > 0x7f || c == '"' || c == '<' || c == '>' || c == '\\')
			return nexus_error_set(error, "URL contains a character that must be percent-encoded");
		if (c == '#')
			return nexus_error_set(error, "URL must not have a fragment");
		if (c == '%' && (url.len - i < 3 || !is_hex((unsigned char) url.data[i + 1]) ||
						 !is_hex((unsigned char) url.data[i + 2])))
			return nexus_error_set(error, "URL has an invalid percent-encoding");
	}
	rest = after_scheme(url);
	if (rest.data == NULL)
		return nexus_error_set(error, "URL must begin with http:// or https://");
	return check_authority(authority_of(rest), error);
}

NexusText
nexus_url_host(NexusText url)
{
	NexusText	rest = after_scheme(url);
	NexusText	host;
	NexusText	port;

	if (rest.data == NULL || !split_authority(authority_of(rest), &host, &port))
		return nexus_text_make("", 0);
	return host;
}

bool
nexus_url_host_is_loopback(NexusText host)
{
	char		string[INET6_ADDRSTRLEN];
	struct in_addr v4;
	struct in6_addr v6;

	if (nexus_text_equal_fold(host, nexus_text_of("localhost")))
		return true;
	if (host.len >= sizeof(string))
		return false;
	memcpy(string, host.data, host.len);
	string[host.len] = '\0';
	if (inet_pton(AF_INET, string, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, string, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* What stays as it is besides letters and digits: Go's url.PathEscape, url.QueryEscape. */
static const char plain_in_segment[] = "-_.~$&+:=@";
static const char plain_in_query[] = "-_.~";

/* Append a text, %XX for every byte that is not plain. */
static bool
append_escaped(NexusBuffer *out, NexusText text, const char *plain)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t		run = 0;

	if (text.len == 0)
		return !out->is_broken;
	for (size_t i = 0; i < text.len; i++)
	{
		unsigned char c = (unsigned char) text.data[i];
		char		escape[3];

		if (is_alnum(c) || (c != '\0' && strchr(plain, c) != NULL))
			continue;
		escape[0] = '%';
		escape[1] = digits[c >> 4];
		escape[2] = digits[c & 0x0f];
		nexus_buffer_append(out, text.data + run, i - run);
		if (plain == plain_in_query && c == ' ')
			nexus_buffer_append(out, "+", 1);
		else
			nexus_buffer_append(out, escape, sizeof(escape));
		run = i + 1;
	}
	return nexus_buffer_append(out, text.data + run, text.len - run);
}

bool
nexus_url_append_segment(NexusBuffer *out, NexusText segment)
{
	return append_escaped(out, segment, plain_in_segment);
}

/* The base without its query and the slashes at its end; "query" is data NULL where there is none. */
static NexusText
split_base(NexusText base, NexusText *query)
{
	NexusText	path = nexus_text_cut(base, '?', query);

	while (path.len > 0 && path.data[path.len - 1] == '/')
		path.len--;
	return path;
}

static bool
check_name(const char *what, NexusText name, NexusError *error)
{
	if (name.len == 0)
		return nexus_error_set(error, "%s name must not be empty", what);
	if (nexus_text_equal(name, nexus_text_of(".")) || nexus_text_equal(name, nexus_text_of("..")))
		return nexus_error_set(error, "%s name must not be \"%.*s\"", what, (int) name.len, name.data);
	return true;
}

/* {base}/{service}/{operation}, without the base's query. */
static bool
append_operation(NexusBuffer *out, NexusText base, NexusText service, NexusText operation,
				 NexusText *query, NexusError *error)
{
	if (base.len == 0)
		return nexus_error_set(error, "URL must not be empty");
	if (!check_name("service", service, error) || !check_name("operation", operation, error))
		return false;
	nexus_buffer_append_text(out, split_base(base, query));
	nexus_buffer_append(out, "/", 1);
	nexus_url_append_segment(out, service);
	nexus_buffer_append(out, "/", 1);
	nexus_url_append_segment(out, operation);
	return true;
}

static void
append_query(NexusBuffer *out, NexusText query)
{
	if (query.len == 0)
		return;
	nexus_buffer_append(out, "?", 1);
	nexus_buffer_append_text(out, query);
}

static bool
is_whole(const NexusBuffer *out, NexusError *error)
{
	if (out->is_broken)
		return nexus_error_set(error, "URL is too long");
	return true;
}

bool
nexus_url_start(NexusBuffer *out, NexusText base, NexusText service, NexusText operation,
				NexusText callback, NexusError *error)
{
	NexusText	query;

	if (!append_operation(out, base, service, operation, &query, error))
		return false;
	append_query(out, query);
	if (callback.len > 0)
	{
		nexus_buffer_append_string(out, query.len > 0 ? "&callback=" : "?callback=");
		append_escaped(out, callback, plain_in_query);
	}
	return is_whole(out, error);
}

bool
nexus_url_cancel(NexusBuffer *out, NexusText base, NexusText service, NexusText operation,
				 NexusError *error)
{
	NexusText	query;

	if (!append_operation(out, base, service, operation, &query, error))
		return false;
	nexus_buffer_append_string(out, "/cancel");
	append_query(out, query);
	return is_whole(out, error);
}

bool
nexus_url_callback(NexusBuffer *out, NexusText base, const NexusUuid *incarnation,
				   const NexusUuid *operation_id)
{
	size_t		start = out->len;
	NexusText	query;
	char		uuid[NEXUS_UUID_TEXT_LEN + 1];

	nexus_buffer_append_text(out, split_base(base, &query));
	nexus_buffer_append_string(out, NEXUS_CALLBACK_PREFIX);
	nexus_uuid_format(incarnation, uuid);
	nexus_buffer_append_string(out, uuid);
	nexus_buffer_append(out, "/", 1);
	nexus_uuid_format(operation_id, uuid);
	nexus_buffer_append_string(out, uuid);
	append_query(out, query);
	return !out->is_broken && out->len - start <= NEXUS_CALLBACK_URL_MAX;
}

bool
nexus_url_parse_callback(NexusText path, NexusUuid *incarnation, NexusUuid *operation_id)
{
	NexusText	prefix = nexus_text_of(NEXUS_CALLBACK_PREFIX);
	NexusText	first;
	NexusText	second;
	NexusText	query;

	path = nexus_text_cut(path, '?', &query);
	if (path.len < prefix.len || memcmp(path.data, prefix.data, prefix.len) != 0)
		return false;
	path.data += prefix.len;
	path.len -= prefix.len;
	first = nexus_text_cut(path, '/', &second);
	return nexus_uuid_parse(first, incarnation) && nexus_uuid_parse(second, operation_id);
}
