/*
 * launcher.h
 *	  The process that keeps one worker per database and the listener running.
 */
#ifndef NEXUS_WORKER_LAUNCHER_H
#define NEXUS_WORKER_LAUNCHER_H

/* ---- at server start ---- */
extern void nexus_launcher_register(void);

/* ---- entry functions of background workers ---- */
extern PGDLLEXPORT void nexus_launcher_main(Datum arg);
extern PGDLLEXPORT void nexus_launcher_worker_main(Datum arg);

#endif							/* NEXUS_WORKER_LAUNCHER_H */
