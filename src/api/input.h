/*
 * input.h
 *	  The input of an operation as the bytes that will be sent.
 */
#ifndef NEXUS_API_INPUT_H
#define NEXUS_API_INPUT_H

#include "postgres.h"
#include "fmgr.h"
#include "store/operation.h"

/* From a jsonb argument; NULL is no body. */
extern void nexus_input_read_json(FunctionCallInfo fcinfo, int argument, NexusNewOperation *operation);

/* From a bytea argument with its content type behind it. */
extern void nexus_input_read_bytes(FunctionCallInfo fcinfo, int argument, NexusNewOperation *operation);

#endif							/* NEXUS_API_INPUT_H */
