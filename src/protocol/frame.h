/*
 * frame.h
 *	  Messages on the local socket between a worker and those who talk to it.
 *
 * A frame is: u32 length of what follows, u8 kind, u64 correlation, body; all
 * numbers big endian.  The side that connects sends NEXUS_FRAME_HELLO first;
 * an answer carries the correlation of its question.
 */
#ifndef NEXUS_PROTOCOL_FRAME_H
#define NEXUS_PROTOCOL_FRAME_H

#include "protocol/headers.h"
#include "protocol/uuid.h"

#define NEXUS_FRAME_VERSION 1
#define NEXUS_FRAME_HEADER_LEN 13	/* length, kind, correlation */
#define NEXUS_FRAME_OVERHEAD (64 * 1024)	/* allowed beyond the largest
											 * payload */

typedef enum NexusFrameKind
{
	NEXUS_FRAME_HELLO = 1,		/* body: u32 version */
	NEXUS_FRAME_EXECUTE,		/* body: NexusExecuteFrame */
	NEXUS_FRAME_EXECUTE_ANSWER, /* body: NexusExecuteAnswerFrame */
	NEXUS_FRAME_COMPLETION,		/* body: NexusCompletionFrame */
	NEXUS_FRAME_COMPLETION_ANSWER	/* body: NexusCompletionAnswerFrame */
} NexusFrameKind;

typedef struct NexusFrame
{
	NexusFrameKind kind;
	uint64_t	correlation;
	NexusText	body;
} NexusFrame;

/*
 * Look for a whole frame at the start of "bytes".  Returns its total length, 0
 * where more bytes are needed, -1 where it is malformed or longer than "max".
 */
extern int64_t nexus_frame_decode(NexusText bytes, size_t max, NexusFrame *frame);

/* Append a frame whose body is at hand. */
extern bool nexus_frame_encode(NexusBuffer *out, NexusFrameKind kind, uint64_t correlation, NexusText body);

extern bool nexus_frame_encode_hello(NexusBuffer *out);
extern bool nexus_frame_decode_hello(NexusText body, uint32_t *version);

/* A callback request, as the listener (or complete()) took it in. */
typedef struct NexusCompletionFrame
{
	NexusUuid	incarnation;
	NexusUuid	operation_id;
	NexusHeaders headers;		/* owned: free with nexus_headers_free */
	NexusText	body;			/* view */
} NexusCompletionFrame;

extern bool nexus_frame_encode_completion(NexusBuffer *out, uint64_t correlation,
										  const NexusCompletionFrame *completion);

/* headers must be initialised; body is a view into "body". */
extern bool nexus_frame_decode_completion(NexusText body, NexusCompletionFrame *completion);

/* What to answer to the callback request. */
typedef struct NexusCompletionAnswerFrame
{
	uint16_t	status;			/* HTTP */
	bool		is_duplicate;	/* 200 that changed nothing */
	NexusText	message;		/* why not 200; else len 0 */
} NexusCompletionAnswerFrame;

extern bool nexus_frame_encode_completion_answer(NexusBuffer *out, uint64_t correlation,
												 const NexusCompletionAnswerFrame *answer);
extern bool nexus_frame_decode_completion_answer(NexusText body, NexusCompletionAnswerFrame *answer);

/* An operation that execute() hands to the worker; views into the frame. */
typedef struct NexusExecuteFrame
{
	NexusUuid	operation_id;
	int64_t		scheduled_time; /* TimestampTz */
	int64_t		schedule_to_close_timeout;	/* microseconds; 0 = none */
	int64_t		schedule_to_start_timeout;
	int64_t		start_to_close_timeout;
	bool		has_input;
	bool		input_is_json;
	NexusText	endpoint;
	NexusText	service;
	NexusText	operation;
	NexusText	cancellation_type;
	NexusText	headers_json;	/* len 0 = none */
	NexusText	summary;		/* len 0 = none */
	NexusText	input_content_type; /* len 0 = none */
	NexusText	callback_base;	/* len 0 = not known yet */
	NexusText	operation_key;	/* len 0 = none */
	int32_t		key_generation; /* of its own, and whose it follows; 0 = none */
	NexusUuid	key_predecessor;	/* all zero where it is the first */
	NexusText	input;
} NexusExecuteFrame;

extern bool nexus_frame_encode_execute(NexusBuffer *out, uint64_t correlation, const NexusExecuteFrame *execute);
extern bool nexus_frame_decode_execute(NexusText body, NexusExecuteFrame *execute);

typedef enum NexusExecuteResult
{
	NEXUS_EXECUTE_COMMITTED,
	NEXUS_EXECUTE_REFUSED,
	NEXUS_EXECUTE_KEY_TAKEN		/* by somebody else meanwhile: look again */
} NexusExecuteResult;

typedef struct NexusExecuteAnswerFrame
{
	NexusExecuteResult result;
	char		sqlstate[6];	/* where it was refused */
	NexusText	message;
} NexusExecuteAnswerFrame;

extern bool nexus_frame_encode_execute_answer(NexusBuffer *out, uint64_t correlation,
											  const NexusExecuteAnswerFrame *answer);
extern bool nexus_frame_decode_execute_answer(NexusText body, NexusExecuteAnswerFrame *answer);

#endif							/* NEXUS_PROTOCOL_FRAME_H */
