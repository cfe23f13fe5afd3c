/*
 * errcodes.h
 *	  SQLSTATEs of our own, class NX.
 */
#ifndef NEXUS_ERRCODES_H
#define NEXUS_ERRCODES_H

#include "utils/elog.h"

#define NEXUS_ERRCODE_FAILED MAKE_SQLSTATE('N', 'X', '0', '0', '1')
#define NEXUS_ERRCODE_CANCELED MAKE_SQLSTATE('N', 'X', '0', '0', '2')
#define NEXUS_ERRCODE_TIMED_OUT MAKE_SQLSTATE('N', 'X', '0', '0', '3')
#define NEXUS_ERRCODE_TERMINATED MAKE_SQLSTATE('N', 'X', '0', '0', '4')

/* The operation goes on, only the waiting ended. */
#define NEXUS_ERRCODE_AWAIT_TIMED_OUT MAKE_SQLSTATE('N', 'X', '0', '0', '5')

/* The operation goes on, only its cancel request came to nothing. */
#define NEXUS_ERRCODE_CANCEL_FAILED MAKE_SQLSTATE('N', 'X', '0', '0', '6')
#define NEXUS_ERRCODE_RESULT_NOT_JSON MAKE_SQLSTATE('N', 'X', '0', '0', '8')
#define NEXUS_ERRCODE_OWN_TRANSACTION MAKE_SQLSTATE('N', 'X', '0', '0', '9')

/* Not preloaded, or the worker cannot run. */
#define NEXUS_ERRCODE_NO_WORKER MAKE_SQLSTATE('N', 'X', '0', '1', '0')

/* NX007 is NEXUS_ERRCODE_ENDPOINT_UNUSABLE of store/endpoint.h. */

#endif							/* NEXUS_ERRCODES_H */
