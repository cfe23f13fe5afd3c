/*
 * http_response.h
 *	  Collects the answer to a request from the pieces a library hands over.
 *
 * Only the headers of the final head count: those of interim answers (1xx) are
 * forgotten, and trailers are ignored, since a trailer may be whatever the
 * handler was made to repeat.  A head that gives more than one length, or one
 * that is no number, is refused: what follows could be read in two ways.
 *
 * Never raises; memory comes from malloc.
 */
#ifndef NEXUS_NET_HTTP_RESPONSE_H
#define NEXUS_NET_HTTP_RESPONSE_H

#include "protocol/headers.h"

/* Interim heads, trailers and line ends are counted too. */
#define NEXUS_RESPONSE_HEAD_MAX (64 * 1024)
#define NEXUS_RESPONSE_LINES_MAX 500	/* libcurl, too, keeps something of
										 * each */

#define NEXUS_FIRST_FINAL_STATUS 200

typedef struct NexusHttpResponse
{
	int			status;			/* of the head being read, then the final one */
	bool		is_head_whole;
	const char *defect;			/* what is wrong with the head; NULL if
								 * nothing */
	bool		is_body_too_large;
	size_t		head_bytes;
	int			head_lines;
	NexusHeaders headers;
	NexusBuffer body;
} NexusHttpResponse;

extern void nexus_http_response_init(NexusHttpResponse *response);

/* Empty it for another answer; memory is kept unless it is much. */
extern void nexus_http_response_reset(NexusHttpResponse *response, size_t max_body);
extern void nexus_http_response_free(NexusHttpResponse *response);

/* One line, the status line and the empty one included; false: give up. */
extern bool nexus_http_response_take_line(NexusHttpResponse *response, NexusText line);

/* A piece of the body; false: give up. */
extern bool nexus_http_response_take_body(NexusHttpResponse *response, NexusText piece);

#endif							/* NEXUS_NET_HTTP_RESPONSE_H */
