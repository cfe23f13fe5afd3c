/*
 * incarnation_watch.c
 *	  Who this database is, as the worker knows it.
 */
#include "postgres.h"

#include "worker/incarnation_watch.h"

#include "commands/dbcommands.h"
#include "store/adoption.h"
#include "store/transaction.h"
#include "worker/pausing.h"

/*
 * Callbacks of a database that this one is a copy of wait here until it is said
 * what becomes of their operations, unless that database is here too.
 */
static void
link_incarnation(const NexusUuid *id, NexusIncarnationKind kind, void *arg)
{
	const NexusWorker *worker = arg;
	Oid			linked = nexus_local_socket_linked(id);

	if (kind == NEXUS_INCARNATION_STRANGE && linked != worker->database && OidIsValid(linked)
		&& get_database_name(linked) != NULL)
		return;
	nexus_local_socket_link(worker->database, id, kind == NEXUS_INCARNATION_STRANGE);
}

/* Rows that a restore or a template brought are somebody else's: send nothing. */
static void
look_for_copies(NexusWorker *worker, bool has_incarnation)
{
	bool		is_copy = nexus_incarnation_is_copy();
	NexusUuid	from = {{0}};

	if (has_incarnation && !is_copy)
		is_copy = nexus_adoption_find(&worker->incarnation.id, &from);
	nexus_pausing_look(worker->pausing, is_copy);
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
	nexus_incarnation_each(link_incarnation, worker);
	look_for_copies(worker, is_found);
	/* only now: after an error it is looked at once more */
	worker->has_incarnation = is_found;
}

static void
ensure(void *arg)
{
	NexusWorker *worker = arg;

	nexus_incarnation_ensure(&worker->incarnation);
	look_for_copies(worker, true);
}

bool
nexus_incarnation_watch_ensure(NexusWorker *worker)
{
	if (worker->has_incarnation)
		return true;
	if (!nexus_transaction_run("make the incarnation", ensure, worker, NULL))
		return false;
	worker->has_incarnation = true;
	nexus_local_socket_link(worker->database, &worker->incarnation.id, false);
	return true;
}

/* A token of an adopted incarnation needs a look into the table. */
typedef struct TokenCheck
{
	NexusWorker *worker;
	NexusText	token;
	const NexusUuid *incarnation;
	const NexusUuid *operation_id;
	NexusTokenVerdict verdict;
} TokenCheck;

static void
check_token(void *arg)
{
	TokenCheck *check = arg;
	NexusIncarnation other = {.id = *check->incarnation,.key_number = 0};
	NexusIncarnationKind kind;

	if (!nexus_token_check(check->token, check->incarnation, check->operation_id, nexus_incarnation_mac, &other)
		|| !nexus_incarnation_find_kind(check->incarnation, &kind))
		return;
	check->verdict = kind == NEXUS_INCARNATION_STRANGE ? NEXUS_TOKEN_COPIED : NEXUS_TOKEN_GOOD;
}

NexusTokenVerdict
nexus_incarnation_watch_check_token(NexusWorker *worker, NexusText token, const NexusUuid *incarnation,
									const NexusUuid *operation_id)
{
	TokenCheck	check = {worker, token, incarnation, operation_id, NEXUS_TOKEN_WRONG};

	if (!nexus_token_is_well_formed(token))
		return NEXUS_TOKEN_WRONG;
	if (worker->has_incarnation && memcmp(&worker->incarnation.id, incarnation, sizeof(NexusUuid)) == 0)
		return nexus_token_check(token, incarnation, operation_id, nexus_incarnation_mac, &worker->incarnation)
			? NEXUS_TOKEN_GOOD : NEXUS_TOKEN_WRONG;
	(void) nexus_transaction_run("check a callback token", check_token, &check, NULL);
	return check.verdict;
}
