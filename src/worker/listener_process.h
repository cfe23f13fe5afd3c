/*
 * listener_process.h
 *	  The program nexus_listener as the launcher's child.
 *
 * Used by the launcher only, which calls nexus_listener_process_turn() whenever
 * the descriptor is readable or the time it named has come.
 */
#ifndef NEXUS_WORKER_LISTENER_PROCESS_H
#define NEXUS_WORKER_LISTENER_PROCESS_H

#include "datatype/timestamp.h"

/* The settings were read (again): bind, start, or pass on what changed. */
extern void nexus_listener_process_configure(void);

/* Every database was looked at. */
extern void nexus_listener_process_set_scanned(void);

/* What to wait for; PGINVALID_SOCKET while the program does not run. */
extern int	nexus_listener_process_fd(void);

/* Do what is due; returns when something will be, DT_NOEND for never. */
extern TimestampTz nexus_listener_process_turn(void);

/* End the program, by force where it does not leave by itself. */
extern void nexus_listener_process_stop(void);

#endif							/* NEXUS_WORKER_LISTENER_PROCESS_H */
