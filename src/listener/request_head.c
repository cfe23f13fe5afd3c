/*
 * request_head.c
 *	  What the head of a callback request says: refuse it, or where it goes.
 */
#include "listener/request_head.h"

#include "protocol/token.h"
#include "protocol/url.h"

static const char *const hop_by_hop[] = {
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade"
};

void
nexus_request_head_init(NexusRequestHead *head, NexusCompletionFrame *frame, const char *path,
						const char *method)
{
	memset(head, 0, sizeof(*head));
	head->frame = frame;
	head->path = path;
	head->method = method;
}

static bool
is_hop_by_hop(NexusText name)
{
	for (size_t i = 0; i < sizeof(hop_by_hop) / sizeof(hop_by_hop[0]); i++)
	{
		if (nexus_text_equal_fold(name, nexus_text_of(hop_by_hop[i])))
			return true;
	}
	return false;
}

bool
nexus_request_head_add(NexusRequestHead *head, NexusText name, NexusText value)
{
	head->len += name.len + value.len;
	if (nexus_text_equal_fold(name, nexus_text_of("Content-Length")) ||
		nexus_text_equal_fold(name, nexus_text_of("Transfer-Encoding")))
		head->framings++;
	if (head->len > NEXUS_REQUEST_HEAD_MAX ||
		(!is_hop_by_hop(name) && !nexus_headers_add(&head->frame->headers, name, value)))
		head->is_too_long = true;
	return !head->is_too_long;
}

static bool
has_token(const NexusHeaders *headers)
{
	NexusText	token;

	return nexus_token_find(headers, &token) && nexus_token_is_well_formed(token);
}

/*
 * More than one framing is how a request hides another one from a proxy.  A
 * length that is no number is refused before we are asked.
 */
static bool
read_length(const NexusRequestHead *head, int64_t *length)
{
	NexusText	text;

	*length = 0;
	return head->framings <= 1 &&
		(!nexus_headers_get(&head->frame->headers, "Content-Length", &text) ||
		 nexus_text_to_int64(text, length));
}

static int
refuse(NexusError *reason, int status, const char *why)
{
	nexus_error_set(reason, "%s", why);
	return status;
}

/*
 * The token comes first, so that a stranger learns nothing but that one is
 * needed.
 */
int
nexus_request_head_check(NexusRequestHead *head, int64_t max_body, NexusError *reason)
{
	NexusCompletionFrame *frame = head->frame;
	int64_t		length;

	if (head->is_too_long)
		return refuse(reason, 431, "request headers exceed the limit of 16 KiB");
	if (!has_token(&frame->headers))
		return refuse(reason, 401, "missing or malformed callback token");
	if (!nexus_url_parse_callback(nexus_text_of(head->path), &frame->incarnation, &frame->operation_id))
		return refuse(reason, 404, "not found");
	if (strcmp(head->method, "POST") != 0)
	{
		nexus_error_set(reason, "invalid request method: expected POST, got %.32s", head->method);
		return 400;
	}
	if (!read_length(head, &length))
		return refuse(reason, 400, "contradictory length of the request body");
	if (length > max_body)
		return refuse(reason, 413, "request body exceeds the limit");
	return 0;
}
