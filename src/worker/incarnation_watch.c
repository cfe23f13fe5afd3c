/*
 * incarnation_watch.c
 *	  Who this database is, as the worker knows it.
 */
#include "postgres.h"

#include "worker/incarnation_watch.h"

#include "postmaster/bgworker.h"
#include "shared/worker_registry.h"
#include "store/survey.h"
#include "store/transaction.h"

/* Rows that a restore or a template brought are somebody else's: send nothing. */
static void
pause_if_copy(NexusWorker *worker, bool has_incarnation)
{
	bool		is_copy = nexus_incarnation_is_copy();

	if (has_incarnation)
		is_copy |= nexus_survey_has_copied_operations(&worker->incarnation.id);
	if (is_copy && !worker->is_paused)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database holds operations of another one, so nothing is sent from it"),
				 errcontext("%s", MyBgworkerEntry->bgw_name),
				 errdetail("It was restored, or copied from a template; the operations of its origin are left alone."),
				 errhint("\"Backup, restore and copies\" in the README says how to go on.")));
	worker->is_paused = is_copy;
	nexus_worker_registry_set_state(is_copy ? NEXUS_PROCESS_PAUSED : NEXUS_PROCESS_RUNNING);
}

void
nexus_incarnation_watch_look(NexusWorker *worker)
{
	bool		is_found;

	if (worker->has_incarnation)
		return;
	is_found = nexus_incarnation_find(&worker->incarnation);

	/*
	 * before the state says that this database was looked at: then its
	 * callbacks find it
	 */
	if (is_found)
		nexus_local_socket_link(worker->database, &worker->incarnation.id);
	pause_if_copy(worker, is_found);
	/* only now: after an error it is looked at once more */
	worker->has_incarnation = is_found;
}

static void
ensure(void *arg)
{
	NexusWorker *worker = arg;

	nexus_incarnation_ensure(&worker->incarnation);
	pause_if_copy(worker, true);
}

bool
nexus_incarnation_watch_ensure(NexusWorker *worker)
{
	if (worker->has_incarnation)
		return true;
	if (!nexus_transaction_run("make the incarnation", ensure, worker, NULL))
		return false;
	worker->has_incarnation = true;
	nexus_local_socket_link(worker->database, &worker->incarnation.id);
	return true;
}

/* A token of an adopted incarnation needs a look into the table. */
typedef struct TokenCheck
{
	NexusWorker *worker;
	NexusText	token;
	const NexusUuid *incarnation;
	const NexusUuid *operation_id;
	bool		ok;
} TokenCheck;

static void
check_token(void *arg)
{
	TokenCheck *check = arg;
	NexusIncarnation other = {.id = *check->incarnation,.key_number = 0};

	check->ok = nexus_token_check(check->token, check->incarnation, check->operation_id, nexus_incarnation_mac, &other);
}

bool
nexus_incarnation_watch_check_token(NexusWorker *worker, NexusText token, const NexusUuid *incarnation,
									const NexusUuid *operation_id)
{
	TokenCheck	check = {worker, token, incarnation, operation_id, false};

	if (!nexus_token_is_well_formed(token))
		return false;
	if (worker->has_incarnation && memcmp(&worker->incarnation.id, incarnation, sizeof(NexusUuid)) == 0)
		return nexus_token_check(token, incarnation, operation_id, nexus_incarnation_mac, &worker->incarnation);
	(void) nexus_transaction_run("check a callback token", check_token, &check, NULL);
	return check.ok;
}
