/*
 * pause.c
 *	  nexus.pause() and resume(): stop and start sending in this database.
 *
 * Both are requests to the worker (store/request.h), part of the caller's
 * transaction.  Where operations of another database stand in the tables,
 * resume() has to say what becomes of them.
 */
#include "postgres.h"

#include "api/arguments.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "net/local_socket.h"
#include "shared/worker_registry.h"
#include "store/adoption.h"
#include "store/incarnation.h"
#include "store/request.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(nexus_pause);
PG_FUNCTION_INFO_V1(nexus_resume);

static void
ask(NexusRequestKind kind, const char *copied_operations)
{
	NexusIncarnation incarnation;

	nexus_incarnation_ensure(&incarnation);
	(void) nexus_request_insert(kind, NULL, &incarnation.id, copied_operations);
	nexus_worker_registry_wake_at_commit(NEXUS_WAKE_ARRIVALS);
}

/* NULL where nothing is said of copied operations. */
static const char *
read_choice(FunctionCallInfo fcinfo)
{
	char	   *choice;

	if (PG_ARGISNULL(0))
		return NULL;
	choice = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (strcmp(choice, NEXUS_RESUME_ADOPT) != 0 && strcmp(choice, NEXUS_RESUME_TERMINATE) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"copied_operations\" must not be \"%s\"", choice),
				 errhint("Valid values are \"" NEXUS_RESUME_ADOPT "\", \"" NEXUS_RESUME_TERMINATE "\".")));
	return choice;
}

static void
refuse_copy(void)
{
	NexusIncarnation own;
	bool		has_own = nexus_incarnation_find(&own);
	int64		count = nexus_adoption_count(has_own ? &own.id : NULL);

	if (count == 0 && !nexus_incarnation_is_copy())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg_plural("this database is a copy, with %lld open operation of the one it was made from",
						   "this database is a copy, with %lld open operations of the one it was made from",
						   (unsigned long) count, (long long) count),
			 errdetail("nexus.resume('adopt') is for where the original is gone for good: they are sent from here, "
					   "under their old request ids, and callbacks for them are accepted. "
					   "nexus.resume('terminate') is for where it lives on: they are closed here as terminated, "
					   "and their handlers are not told."),
			 errhint("Say what is to become of them.")));
}

/* Both would send them, and callbacks could reach one of the two only. */
static void
refuse_where_original_lives(const NexusUuid *id, NexusIncarnationKind kind, void *arg)
{
	Oid			database = nexus_local_socket_linked(id);
	const char *name;

	if (kind != NEXUS_INCARNATION_STRANGE || !OidIsValid(database) || database == MyDatabaseId)
		return;
	name = get_database_name(database);
	if (name != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("operations cannot be adopted while database \"%s\" of this server has them", name),
				 errhint("Drop that database, or the extension in it, or use nexus.resume('terminate').")));
}

Datum
nexus_pause(PG_FUNCTION_ARGS)
{
	nexus_arguments_check_context("pause");
	ask(NEXUS_REQUEST_PAUSE, NULL);
	PG_RETURN_VOID();
}

Datum
nexus_resume(PG_FUNCTION_ARGS)
{
	const char *choice = read_choice(fcinfo);

	nexus_arguments_check_context("resume");
	if (choice == NULL)
		refuse_copy();
	else if (strcmp(choice, NEXUS_RESUME_ADOPT) == 0)
		nexus_incarnation_each(refuse_where_original_lives, NULL);
	ask(NEXUS_REQUEST_RESUME, choice);
	PG_RETURN_VOID();
}
