/*
 * http_response.c
 *	  Collects the answer to a request from the pieces a library hands over.
 */
#include "net/http_response.h"

#define NEXUS_KEPT_BODY (64 * 1024) /* larger buffers are given back */
#define NEXUS_KEPT_HEAD (8 * 1024)

void
nexus_http_response_init(NexusHttpResponse *response)
{
	memset(response, 0, sizeof(*response));
	nexus_headers_init(&response->headers, NEXUS_RESPONSE_HEAD_MAX);
	nexus_buffer_init(&response->body, 0);
}

void
nexus_http_response_reset(NexusHttpResponse *response, size_t max_body)
{
	response->status = 0;
	response->is_head_whole = false;
	response->defect = NULL;
	response->is_body_too_large = false;
	response->head_bytes = 0;
	response->head_lines = 0;
	nexus_headers_reset(&response->headers);
	if (response->headers.bytes.capacity > NEXUS_KEPT_HEAD)
	{
		nexus_headers_free(&response->headers);
		nexus_headers_init(&response->headers, NEXUS_RESPONSE_HEAD_MAX);
	}
	nexus_buffer_reset(&response->body);
	if (response->body.capacity > NEXUS_KEPT_BODY)
		nexus_buffer_free(&response->body);
	response->body.max = max_body;
}

void
nexus_http_response_free(NexusHttpResponse *response)
{
	nexus_headers_free(&response->headers);
	nexus_buffer_free(&response->body);
}

/* The number in "HTTP/1.1 200 OK"; 0 where there is none. */
static int
status_of(NexusText line)
{
	NexusText	rest;
	int64_t		status;

	(void) nexus_text_cut(line, ' ', &rest);
	if (rest.data == NULL || rest.len < 3 ||
		!nexus_text_to_int64(nexus_text_make(rest.data, 3), &status))
		return 0;
	return (int) status;
}

static bool
is_line_end(NexusText line)
{
	return line.len == 0 || line.data[0] == '\r' || line.data[0] == '\n';
}

/*
 * libcurl takes the last of several lengths, and one that it cannot hold for
 * none.
 */
static bool
has_sound_length(const NexusHeaders *headers)
{
	size_t		position = 0;
	NexusText	text;
	int64_t		first = -1;
	int64_t		length;

	while (nexus_headers_next(headers, "Content-Length", &position, &text))
	{
		if (!nexus_text_to_int64(text, &length) || (first >= 0 && length != first))
			return false;
		first = length;
	}
	return true;
}

bool
nexus_http_response_take_line(NexusHttpResponse *response, NexusText line)
{
	response->head_bytes += line.len;
	response->head_lines++;
	if (response->head_bytes > NEXUS_RESPONSE_HEAD_MAX || response->head_lines > NEXUS_RESPONSE_LINES_MAX)
	{
		response->defect = "response headers are too large";
		return false;
	}

	/* A trailer. */
	if (response->is_head_whole)
		return true;

	if (response->status == 0)
	{
		response->status = status_of(line);
		return response->status != 0;
	}
	if (!is_line_end(line))
	{
		/* A line that is no header is passed over, as others do. */
		(void) nexus_headers_add_line(&response->headers, line);
		return true;
	}

	if (response->status < NEXUS_FIRST_FINAL_STATUS)
	{
		response->status = 0;
		nexus_headers_reset(&response->headers);
		return true;
	}
	response->is_head_whole = true;
	if (!has_sound_length(&response->headers))
		response->defect = "response has an invalid or contradictory Content-Length";
	return response->defect == NULL;
}

bool
nexus_http_response_take_body(NexusHttpResponse *response, NexusText piece)
{
	if (piece.len > response->body.max - response->body.len)
	{
		response->is_body_too_large = true;
		return false;
	}
	return nexus_buffer_append_text(&response->body, piece);
}
