/*
 * soft_error.c
 *	  Run a pure function of PostgreSQL's whose errors are about its input.
 */
#include "postgres.h"

#include "store/soft_error.h"

bool
nexus_soft_error_try(void (*body) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool ok = true;

	PG_TRY();
	{
		body(arg);
	}
	PG_CATCH();
	{
		/* a session may be interrupted meanwhile */
		if (ERRCODE_TO_CATEGORY(geterrcode()) == ERRCODE_OPERATOR_INTERVENTION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		ok = false;
	}
	PG_END_TRY();
	return ok;
}
