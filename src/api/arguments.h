/*
 * arguments.h
 *	  The arguments of our SQL functions, read and checked.
 *
 * Each error names the argument, what is wrong with it and what to do.
 */
#ifndef NEXUS_API_ARGUMENTS_H
#define NEXUS_API_ARGUMENTS_H

#include "postgres.h"
#include "api/key_holder.h"
#include "fmgr.h"
#include "protocol/headers.h"
#include "store/operation.h"

/* Raise where a function that writes or waits cannot run at all. */
extern void nexus_arguments_check_context(const char *function);

/*
 * The arguments of schedule and execute, or of schedule_bytes.  Everything but
 * the incarnation is filled in: also the endpoint is looked up, its use by the
 * current user checked, and id and time of scheduling taken.
 */
extern void nexus_arguments_read_operation(FunctionCallInfo fcinfo, bool is_bytes, NexusNewOperation *operation,
										   NexusKeyPolicy *policy);

/*
 * Look up the endpoint of an operation, check its use by the operation's owner,
 * and set what depends on it: the callback base, and the longest timeouts.
 */
extern void nexus_arguments_apply_endpoint(NexusNewOperation *operation);

/* A uuid argument, which must not be NULL. */
extern void nexus_arguments_read_id(FunctionCallInfo fcinfo, int argument, NexusUuid *id);

/* When a wait that begins now ends: NULL is the setting, zero never. */
extern TimestampTz nexus_arguments_read_deadline(FunctionCallInfo fcinfo, int argument, const char *name);

/* Why a cancel or terminate is asked for; NULL where nothing is said. */
extern const char *nexus_arguments_read_reason(FunctionCallInfo fcinfo, int argument);

/*
 * Append the members of a JSON object of strings.  Raises where it is none,
 * or a header is not well-formed; the caller frees the headers then.
 */
extern void nexus_arguments_read_headers(FunctionCallInfo fcinfo, int argument, NexusHeaders *headers);

/* Raise where a payload is over nexus_pg.max_payload_size. */
extern void nexus_arguments_check_payload(const char *name, size_t len);

#endif							/* NEXUS_API_ARGUMENTS_H */
