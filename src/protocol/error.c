/*
 * error.c
 *	  Keep the first error of a piece of work.
 */
#include "protocol/error.h"

#include <stdarg.h>
#include <stdio.h>

bool
nexus_error_set(NexusError *error, const char *format,...)
{
	va_list		args;

	if (error == NULL || error->is_set)
		return false;
	va_start(args, format);
	vsnprintf(error->message, sizeof(error->message), format, args);
	va_end(args);
	error->is_set = true;
	return false;
}
