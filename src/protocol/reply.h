/*
 * reply.h
 *	  What a handler's HTTP answer to a start or cancel request means.
 *
 * The Nexus specification, "Start Operation", "Cancel Operation" and
 * "Predefined Handler Errors"; doc/conformance.md, 14 to 43.
 */
#ifndef NEXUS_PROTOCOL_REPLY_H
#define NEXUS_PROTOCOL_REPLY_H

#include "protocol/failure.h"
#include "protocol/headers.h"
#include "protocol/payload.h"

typedef enum NexusReplyKind
{
	NEXUS_REPLY_SUCCEEDED,		/* 200: payload is the result */
	NEXUS_REPLY_STARTED,		/* 201: token */
	NEXUS_REPLY_FAILED,			/* 424 failed: failure */
	NEXUS_REPLY_CANCELED,		/* 424 canceled: failure */
	NEXUS_REPLY_CANCEL_ACCEPTED,	/* 202 to a cancel request */
	NEXUS_REPLY_ERROR			/* this attempt failed: failure, is_retryable */
} NexusReplyKind;

typedef struct NexusReply
{
	NexusReplyKind kind;
	bool		is_retryable;
	NexusPayload payload;		/* views into the body */
	NexusBuffer token;
	NexusBuffer failure;		/* JSON text */
	NexusBuffer links;			/* JSON array, empty where there were none */
} NexusReply;

typedef struct NexusReplyLimits
{
	size_t		max_token_length;
} NexusReplyLimits;

extern void nexus_reply_init(NexusReply *reply);
extern void nexus_reply_free(NexusReply *reply);

/*
 * Decide about a complete answer.  Always yields a kind; an answer that breaks
 * the protocol is a retryable NEXUS_REPLY_ERROR ("unexpected response"), an
 * over-long token a final one.  "reply" is reset first and can be used again.
 */
extern void nexus_reply_decode_start(int status, const NexusHeaders *headers, NexusText body,
									 const NexusReplyLimits *limits, NexusReply *reply);
extern void nexus_reply_decode_cancel(int status, const NexusHeaders *headers, NexusText body,
									  NexusReply *reply);

#endif							/* NEXUS_PROTOCOL_REPLY_H */
