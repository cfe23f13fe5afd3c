/*
 * retention.h
 *	  How long closed operations are kept, and when they go.
 *
 * The server option "retention" of an endpoint, else nexus_pg.retention; rows
 * of endpoints that are gone follow the setting.
 */
#ifndef NEXUS_WORKER_RETENTION_H
#define NEXUS_WORKER_RETENTION_H

#include "worker/state.h"

typedef struct NexusRetention NexusRetention;

/* "last_deleted": close time, as nexus_stat_last_deleted() has it. */
extern NexusRetention *nexus_retention_create(NexusWorker *worker, TimestampTz last_deleted);

/* An operation has closed, or is closed: it will have to go one day. */
extern void nexus_retention_note_closed(NexusRetention *retention, TimestampTz close_time);

/* Endpoints or settings may have changed. */
extern void nexus_retention_catalog_changed(NexusRetention *retention);

/* Delete a bite of what is too old, if it is time. */
extern void nexus_retention_run(NexusRetention *retention);

/* When to run next; DT_NOEND for never. */
extern TimestampTz nexus_retention_next(const NexusRetention *retention);

/*
 * Whether an operation that is not there may have been deleted here: it is not
 * younger than the youngest that ever was, or older than what is kept the
 * shortest time now.
 */
extern bool nexus_retention_may_have_deleted(const NexusRetention *retention, const NexusUuid *id);

#endif							/* NEXUS_WORKER_RETENTION_H */
