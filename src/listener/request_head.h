/*
 * request_head.h
 *	  What the head of a callback request says: refuse it, or where it goes.
 */
#ifndef NEXUS_LISTENER_REQUEST_HEAD_H
#define NEXUS_LISTENER_REQUEST_HEAD_H

#include "protocol/frame.h"

#define NEXUS_REQUEST_HEAD_MAX (16 * 1024)	/* names and values together */

typedef struct NexusRequestHead
{
	NexusCompletionFrame *frame;	/* gets headers and ids */
	const char *path;			/* as it came, escapes and all */
	const char *method;
	size_t		len;			/* of all headers so far */
	int			framings;		/* headers that tell how long the body is */
	bool		is_too_long;
} NexusRequestHead;

/* frame->headers must be initialised with room for NEXUS_REQUEST_HEAD_MAX. */
extern void nexus_request_head_init(NexusRequestHead *head, NexusCompletionFrame *frame,
									const char *path, const char *method);

/* Take one header; hop-by-hop ones do not go on.  False once it is too much. */
extern bool nexus_request_head_add(NexusRequestHead *head, NexusText name, NexusText value);

/* The HTTP status to refuse it with, and why; 0 where it may go on. */
extern int	nexus_request_head_check(NexusRequestHead *head, int64_t max_body, NexusError *reason);

#endif							/* NEXUS_LISTENER_REQUEST_HEAD_H */
