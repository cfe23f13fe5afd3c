/*
 * launch.h
 *	  Databases whose workers run or are to be started.
 *
 * Used by the launcher only.  A worker that ends with exit code 0 without having
 * attached found no extension: its database is left alone until somebody asks.
 * One that had attached is followed by another, and after any other exit code
 * the next try comes later each time.
 */
#ifndef NEXUS_WORKER_LAUNCH_H
#define NEXUS_WORKER_LAUNCH_H

#include "datatype/timestamp.h"

/* Look at every database, as at the launcher's start. */
extern void nexus_launch_want_all(void);

/* Do what was asked for and what is due. */
extern void nexus_launch_turn(void);

/* When there is something to do though nobody wakes us; DT_NOEND for never. */
extern TimestampTz nexus_launch_next_due(void);

/* Whether every database of the first nexus_launch_want_all was looked at. */
extern bool nexus_launch_is_scanned(void);

#endif							/* NEXUS_WORKER_LAUNCH_H */
