/*
 * pause.c
 *	  nexus.pause() and resume(): stop and start sending in this database.
 */
#include "postgres.h"

#include "fmgr.h"

PG_FUNCTION_INFO_V1(nexus_pause);
PG_FUNCTION_INFO_V1(nexus_resume);

static void
raise_not_supported(const char *function)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("nexus.%s() is not supported yet", function)));
}

Datum
nexus_pause(PG_FUNCTION_ARGS)
{
	raise_not_supported("pause");
	PG_RETURN_VOID();
}

Datum
nexus_resume(PG_FUNCTION_ARGS)
{
	raise_not_supported("resume");
	PG_RETURN_VOID();
}
