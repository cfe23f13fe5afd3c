/*
 * error.h
 *	  What went wrong, as a value: the first error wins.
 */
#ifndef NEXUS_PROTOCOL_ERROR_H
#define NEXUS_PROTOCOL_ERROR_H

#include <stdbool.h>

#define NEXUS_ERROR_MAX 256		/* one sentence for a person */

typedef struct NexusError
{
	bool		is_set;
	char		message[NEXUS_ERROR_MAX];
} NexusError;

/*
 * Fill in "error" (which may be NULL) unless it is filled already.  A message
 * that is too long is cut off.  Always returns false, so that a caller can
 * "return nexus_error_set(...)".
 */
extern bool nexus_error_set(NexusError *error, const char *format,...)
			__attribute__((format(printf, 2, 3)));

#endif							/* NEXUS_PROTOCOL_ERROR_H */
