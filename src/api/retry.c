/*
 * retry.c
 *	  nexus.retry(): take up an operation that stopped.
 */
#include "postgres.h"

#include "fmgr.h"

PG_FUNCTION_INFO_V1(nexus_retry);

Datum
nexus_retry(PG_FUNCTION_ARGS)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("nexus.retry() is not supported yet")));
	PG_RETURN_NULL();
}
