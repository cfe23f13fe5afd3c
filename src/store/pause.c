/*
 * pause.c
 *	  What nexus.pause() and resume() asked for, stored.
 */
#include "postgres.h"

#include "store/pause.h"

#include "catalog/pg_type.h"
#include "store/result.h"
#include "store/transaction.h"

void
nexus_pause_store(const NexusUuid *incarnation, bool is_paused, const NexusUuid *request)
{
	static SPIPlanPtr state = NULL;
	static SPIPlanPtr done = NULL;
	static const Oid state_types[] = {UUIDOID, BOOLOID};
	static const Oid done_types[] = {UUIDOID};
	Datum		state_values[] = {nexus_uuid_datum(incarnation), BoolGetDatum(is_paused)};
	Datum		done_values[] = {nexus_uuid_datum(request)};

	nexus_transaction_plan(&state, "UPDATE nexus.incarnation AS i SET paused = $2 "
						   "WHERE i.id OPERATOR(pg_catalog.=) $1 AND i.paused OPERATOR(pg_catalog.<>) $2",
						   lengthof(state_types), state_types);
	nexus_transaction_plan(&done, "DELETE FROM nexus.request AS r WHERE r.operation_id OPERATOR(pg_catalog.=) $1 "
						   "AND r.kind OPERATOR(pg_catalog.=) ANY (ARRAY['pause', 'resume'])",
						   lengthof(done_types), done_types);
	nexus_transaction_execute(state, state_values, NULL, SPI_OK_UPDATE);
	nexus_transaction_execute(done, done_values, NULL, SPI_OK_DELETE);
}
