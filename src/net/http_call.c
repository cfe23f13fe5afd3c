/*
 * http_call.c
 *	  One request with its easy handle: options in, result out.
 *
 * The nodes of the header list are an array of ours, made from two header
 * lists without asking malloc for each; libcurl only walks along it.
 */
#include "postgres.h"

#include "net/http_call.h"

#define NEXUS_USER_AGENT "nexus_pg/0.1"
#define NEXUS_RECEIVE_BUFFER (16L * 1024)	/* most answers come in one piece */
#define NEXUS_FIXED_NODES 2		/* Expect and Content-Type */
#define NEXUS_NAME_OVERHEAD 4	/* ": " and a NUL, or ";" and a NUL */

/* libcurl must not forget a name before the gate does. */
#define NEXUS_DNS_CACHE_SECONDS (NEXUS_RESOLVED_SECONDS + 15L)

/* A changed file of certificates is noticed after this long. */
#define NEXUS_CA_CACHE_SECONDS 60L

NexusHttpCall *
nexus_http_call_create(NexusHttpClient *client)
{
	NexusHttpCall *call = calloc(1, sizeof(NexusHttpCall));

	if (call == NULL)
		return NULL;
	call->client = client;
	nexus_http_response_init(&call->response);
	call->easy = curl_easy_init();
	if (call->easy == NULL)
	{
		free(call);
		return NULL;
	}
	return call;
}

void
nexus_http_call_free(NexusHttpCall *call)
{
	curl_easy_cleanup(call->easy);
	nexus_http_response_free(&call->response);
	free(call->block);
	free(call->nodes);
	free(call);
}

/* ---- request ---- */

/* A growing array whose content need not be kept. */
static bool
reserve(void *array, size_t *capacity, size_t count, size_t size)
{
	void	  **place = array;

	if (count <= *capacity)
		return true;
	free(*place);
	*place = malloc(count * 2 * size);
	*capacity = *place != NULL ? count * 2 : 0;
	return *place != NULL;
}

static size_t
string_size(const char *string)
{
	return string != NULL ? strlen(string) + 1 : 0;
}

static char *
put_string(char **end, const char *string)
{
	size_t		size = string_size(string);
	char	   *start = *end;

	if (string == NULL)
		return NULL;
	memcpy(start, string, size);
	*end += size;
	return start;
}

static void
put_node(NexusHttpCall *call, size_t *count, char *line)
{
	call->nodes[*count].data = line;
	call->nodes[*count].next = NULL;
	if (*count > 0)
		call->nodes[*count - 1].next = &call->nodes[*count];
	(*count)++;
}

/* One "Name: value" node for each header; whether one was Content-Type. */
static bool
put_headers(NexusHttpCall *call, char **end, size_t *count, const NexusHeaders *headers)
{
	const NexusText content_type = nexus_text_of("Content-Type");
	bool		is_found = false;

	for (size_t i = 0; headers != NULL && i < headers->count; i++)
	{
		NexusText	name;
		NexusText	value;
		char	   *line = *end;

		nexus_headers_at(headers, i, &name, &value);
		is_found = is_found || nexus_text_equal_fold(name, content_type);
		memcpy(*end, name.data, name.len);
		*end += name.len;

		/* This is how libcurl spells a header that is there but empty. */
		*(*end)++ = value.len > 0 ? ':' : ';';
		if (value.len > 0)
		{
			*(*end)++ = ' ';
			memcpy(*end, value.data, value.len);
			*end += value.len;
		}
		*(*end)++ = '\0';
		put_node(call, count, line);
	}
	return is_found;
}

static size_t
headers_size(const NexusHeaders *headers)
{
	return headers != NULL ? headers->bytes.len + headers->count * NEXUS_NAME_OVERHEAD : 0;
}

static size_t
headers_count(const NexusHeaders *headers)
{
	return headers != NULL ? headers->count : 0;
}

static void
put_tls(NexusHttpCall *call, char **end, const NexusHttpTls *tls)
{
	call->tls.ca_file = put_string(end, tls->ca_file);
	call->tls.cert_file = put_string(end, tls->cert_file);
	call->tls.key_file = put_string(end, tls->key_file);
	call->tls.key_password = put_string(end, tls->key_password);
	call->tls.min_protocol_version = put_string(end, tls->min_protocol_version);
	call->tls_identity = put_string(end, tls->key_file);
	if (tls->key_file == NULL || tls->key_password == NULL)
		return;
	(*end)[-1] = '\n';
	(void) put_string(end, tls->key_password);
}

static void
forget_outcome(NexusHttpCall *call, size_t max_response_body)
{
	call->code = CURLE_OK;
	call->is_refused = false;
	call->has_socket = false;
	call->is_connected = false;
	call->curl_error[0] = '\0';
	nexus_http_response_reset(&call->response, max_response_body);
}

bool
nexus_http_call_copy(NexusHttpCall *call, const NexusHttpRequest *request)
{
	static const NexusHttpTls no_tls = {NULL};
	const NexusHttpTls *tls = request->tls != NULL ? request->tls : &no_tls;
	size_t		count = NEXUS_FIXED_NODES + headers_count(request->shared_headers) +
	headers_count(request->headers);
	size_t		size = string_size(request->url) + string_size(request->username) +
	string_size(request->password) + string_size(tls->ca_file) +
	string_size(tls->cert_file) + string_size(tls->key_file) +
	string_size(tls->key_password) + string_size(tls->min_protocol_version) +
	string_size(tls->key_file) + string_size(tls->key_password) +
	headers_size(request->shared_headers) + headers_size(request->headers);
	bool		has_content_type;
	char	   *end;

	if (!reserve(&call->nodes, &call->node_capacity, count, sizeof(*call->nodes)) ||
		!reserve(&call->block, &call->block_size, size, 1))
		return false;

	end = call->block;
	call->url = put_string(&end, request->url);
	call->username = put_string(&end, request->username);
	call->password = put_string(&end, request->password);
	put_tls(call, &end, tls);
	count = 0;
	has_content_type = put_headers(call, &end, &count, request->shared_headers);
	has_content_type |= put_headers(call, &end, &count, request->headers);

	/* Nothing after the name: libcurl is not to send it of its own. */
	put_node(call, &count, (char *) "Expect:");
	if (!has_content_type)
		put_node(call, &count, (char *) "Content-Type:");

	call->body = request->body;
	call->allow_link_local = request->allow_link_local;
	forget_outcome(call, request->max_response_body);
	return true;
}

/* ---- options ---- */

/* CURLOPT_HEADERFUNCTION */
static size_t
on_header(char *data, size_t size, size_t count, void *arg)
{
	NexusHttpCall *call = arg;
	NexusText	line = nexus_text_make(data, size * count);

	return nexus_http_response_take_line(&call->response, line) ? line.len : 0;
}

/* CURLOPT_WRITEFUNCTION */
static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
	NexusHttpCall *call = arg;
	NexusText	piece = nexus_text_make(data, size * count);

	return nexus_http_response_take_body(&call->response, piece) ? piece.len : 0;
}

/*
 * Whether libcurl knows a file of the system's certificates.  Then it need not
 * look at the directory of the same, which would keep it from caching them:
 * reading them takes more than 20 ms, for each new connection.
 */
static bool
has_system_ca_file(void)
{
	static const curl_version_info_data *info = NULL;

	if (info == NULL)
		info = curl_version_info(CURLVERSION_NOW);
	return info->cainfo != NULL;
}

bool
nexus_http_call_set_constant(NexusHttpCall *call)
{
	static const struct
	{
		CURLoption	option;
		long		value;
	}			numbers[] =
	{
		{CURLOPT_NOSIGNAL, 1},
		{CURLOPT_QUICK_EXIT, 1},
		{CURLOPT_FOLLOWLOCATION, 0},
		{CURLOPT_NETRC, CURL_NETRC_IGNORED},
		{CURLOPT_HTTPAUTH, CURLAUTH_BASIC},
		{CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
		{CURLOPT_HTTP09_ALLOWED, 0},
		{CURLOPT_POST, 1},
		{CURLOPT_TCP_NODELAY, 1},
		{CURLOPT_BUFFERSIZE, NEXUS_RECEIVE_BUFFER},
		{CURLOPT_DNS_CACHE_TIMEOUT, NEXUS_DNS_CACHE_SECONDS},
		{CURLOPT_CA_CACHE_TIMEOUT, NEXUS_CA_CACHE_SECONDS},
		{CURLOPT_SSL_VERIFYPEER, 1},
		{CURLOPT_SSL_VERIFYHOST, 2},
		{CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2},
	};
	CURL	   *easy = call->easy;
	bool		ok = true;

	for (size_t i = 0; i < lengthof(numbers); i++)
		NEXUS_SET_OPTION(ok, easy, numbers[i].option, numbers[i].value);
	if (has_system_ca_file())
		NEXUS_SET_OPTION(ok, easy, CURLOPT_CAPATH, NULL);
	NEXUS_SET_OPTION(ok, easy, CURLOPT_PROTOCOLS_STR, "http,https");
	NEXUS_SET_OPTION(ok, easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	NEXUS_SET_OPTION(ok, easy, CURLOPT_PROXY, "");
	NEXUS_SET_OPTION(ok, easy, CURLOPT_NOPROXY, "*");
	NEXUS_SET_OPTION(ok, easy, CURLOPT_USERAGENT, NEXUS_USER_AGENT);
	NEXUS_SET_OPTION(ok, easy, CURLOPT_PRIVATE, call);
	NEXUS_SET_OPTION(ok, easy, CURLOPT_ERRORBUFFER, call->curl_error);
	NEXUS_SET_OPTION(ok, easy, CURLOPT_HEADERFUNCTION, on_header);
	NEXUS_SET_OPTION(ok, easy, CURLOPT_HEADERDATA, call);
	NEXUS_SET_OPTION(ok, easy, CURLOPT_WRITEFUNCTION, on_body);
	NEXUS_SET_OPTION(ok, easy, CURLOPT_WRITEDATA, call);
	return ok;
}

/* Credentials and TLS: most requests have none. */
static bool
set_rare(NexusHttpCall *call)
{
	const NexusHttpTls *tls = &call->tls;

	/* without one OpenSSL would ask for it at a terminal, and wait */
	const char *key_password = tls->key_password == NULL && tls->cert_file != NULL ? "" : tls->key_password;
	const struct
	{
		CURLoption	option;
		const char *value;
	}			strings[] =
	{
		{CURLOPT_USERNAME, call->username},
		{CURLOPT_PASSWORD, call->password},
		{CURLOPT_CAINFO, tls->ca_file},
		{CURLOPT_SSLCERT, tls->cert_file},
		{CURLOPT_SSLKEY, tls->key_file},
		{CURLOPT_KEYPASSWD, key_password},
	};
	bool		ok = true;

	for (size_t i = 0; i < lengthof(strings); i++)
	{
		if (strings[i].value == NULL)
			continue;
		call->has_own_options = true;
		NEXUS_SET_OPTION(ok, call->easy, strings[i].option, strings[i].value);
	}

	/*
	 * libcurl tells kept connections apart by the certificate, not by its
	 * key. It compares this, too, and does nothing else with it; one without
	 * the option has to do without.
	 */
	if (call->tls_identity != NULL)
		(void) curl_easy_setopt(call->easy, CURLOPT_TLSAUTH_PASSWORD, call->tls_identity);

	/* Own certificates are trusted instead of the system's, not beside them. */
	if (tls->ca_file != NULL)
		NEXUS_SET_OPTION(ok, call->easy, CURLOPT_CAPATH, NULL);
	if (tls->min_protocol_version != NULL && strcmp(tls->min_protocol_version, "TLSv1.3") == 0)
	{
		call->has_own_options = true;
		NEXUS_SET_OPTION(ok, call->easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_3);
	}
	return ok;
}

bool
nexus_http_call_set_own(NexusHttpCall *call, int64 timeout_us)
{
	CURL	   *easy = call->easy;
	long		timeout_ms = (long) Min((timeout_us + 999) / 1000, INT_MAX);
	bool		ok = set_rare(call);

	NEXUS_SET_OPTION(ok, easy, CURLOPT_URL, call->url);
	NEXUS_SET_OPTION(ok, easy, CURLOPT_HTTPHEADER, call->nodes);
	NEXUS_SET_OPTION(ok, easy, CURLOPT_POSTFIELDS, call->body.len > 0 ? call->body.data : "");
	NEXUS_SET_OPTION(ok, easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) call->body.len);
	NEXUS_SET_OPTION(ok, easy, CURLOPT_TIMEOUT_MS, timeout_ms);
	NEXUS_SET_OPTION(ok, easy, CURLOPT_CONNECTTIMEOUT_MS, timeout_ms);
	return ok;
}

/* ---- result ---- */

static NexusHttpOutcome
outcome_of(const NexusHttpCall *call)
{
	const NexusHttpResponse *response = &call->response;

	/* libcurl does not mind where the connection is closed within the head. */
	if (call->code == CURLE_OK)
		return response->is_head_whole ? NEXUS_HTTP_ANSWERED : NEXUS_HTTP_FAILED;
	if (response->is_body_too_large)
		return NEXUS_HTTP_TOO_LARGE;
	if (call->code == CURLE_OPERATION_TIMEDOUT)
		return NEXUS_HTTP_TIMED_OUT;

	/* Of several addresses, those allowed were tried; then it failed there. */
	if (call->is_refused && !call->has_socket)
		return NEXUS_HTTP_REFUSED;
	return NEXUS_HTTP_FAILED;
}

static void
describe_timeout(const NexusHttpCall *call, char *error)
{
	const char *phase = "";

	if (!call->is_connected)
		phase = call->has_socket ? " while connecting" : " while resolving the host name";
	snprintf(error, NEXUS_HTTP_ERROR_MAX, "request timed out%s", phase);
}

/* What we know better than libcurl; NULL if nothing. */
static const char *
defect_of(const NexusHttpCall *call)
{
	if (call->response.defect != NULL)
		return call->response.defect;
	if (call->response.is_head_whole)
		return NULL;
	if (call->code == CURLE_OK)
		return "connection was closed within the response headers";

	/* A single line that is too long for libcurl, most likely. */
	if (call->code == CURLE_OUT_OF_MEMORY && call->is_connected)
		return "response headers are too large, or out of memory";
	return NULL;
}

/* libcurl 7.88 keeps the reason to itself: ask for the system's. */
static bool
describe_connect(const NexusHttpCall *call, char *error)
{
	NexusText	host = nexus_resolve_gate_authority(nexus_text_of(call->url));
	size_t		colon = host.len;
	NexusText	port;
	long		reason = 0;

	if (curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &reason) != CURLE_OK || reason == 0)
		return false;
	while (colon > 0 && isdigit((unsigned char) host.data[colon - 1]))
		colon--;
	port = nexus_text_make(host.data + colon, host.len - colon);
	if (colon > 0 && host.data[colon - 1] == ':')
		host.len = colon - 1;
	else
		port = nexus_text_of(pg_strncasecmp(call->url, "https:", 6) == 0 ? "443" : "80");
	snprintf(error, NEXUS_HTTP_ERROR_MAX, "could not connect to %.*s port %.*s: %s",
			 (int) host.len, host.data, (int) port.len, port.data, strerror((int) reason));
	return true;
}

/* Whether there is a capital letter before the first blank. */
static bool
has_capital(const char *text)
{
	while (*text != '\0' && *text != ' ' && !isupper((unsigned char) *text))
		text++;
	return isupper((unsigned char) *text);
}

/* libcurl's words as part of a sentence: no capital, no full stop. */
static void
describe_failure(const NexusHttpCall *call, char *error)
{
	const char *text = call->curl_error;
	const char *defect = defect_of(call);
	size_t		len;

	if (call->code == CURLE_COULDNT_CONNECT && describe_connect(call, error))
		return;
	if (defect != NULL)
	{
		strlcpy(error, defect, NEXUS_HTTP_ERROR_MAX);
		return;
	}
	strlcpy(error, text[0] != '\0' ? text : curl_easy_strerror(call->code), NEXUS_HTTP_ERROR_MAX);
	for (len = strlen(error); len > 0 && strchr(".\r\n ", error[len - 1]) != NULL; len--)
		error[len - 1] = '\0';
	if (isupper((unsigned char) error[0]) && !has_capital(error + 1))
		error[0] = pg_ascii_tolower((unsigned char) error[0]);
}

static void
describe(const NexusHttpCall *call, NexusHttpOutcome outcome, char *error)
{
	error[0] = '\0';
	switch (outcome)
	{
		case NEXUS_HTTP_ANSWERED:
			break;
		case NEXUS_HTTP_TIMED_OUT:
			describe_timeout(call, error);
			break;
		case NEXUS_HTTP_TOO_LARGE:
			snprintf(error, NEXUS_HTTP_ERROR_MAX, "response body is larger than %zu bytes",
					 call->response.body.max);
			break;
		case NEXUS_HTTP_REFUSED:
			snprintf(error, NEXUS_HTTP_ERROR_MAX, "address %s is link-local, which is not allowed",
					 call->refused_address);
			break;
		case NEXUS_HTTP_FAILED:
			describe_failure(call, error);
			break;
	}
}

void
nexus_http_call_result(NexusHttpCall *call, NexusHttpResult *result, char *error)
{
	result->outcome = outcome_of(call);
	result->status = call->response.status >= NEXUS_FIRST_FINAL_STATUS ? call->response.status : 0;
	result->headers = &call->response.headers;
	result->body = nexus_buffer_view(&call->response.body);
	result->elapsed_us = call->elapsed_us;
	result->error = error;
	describe(call, result->outcome, error);
}
