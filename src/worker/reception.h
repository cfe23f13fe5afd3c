/*
 * reception.h
 *	  Frames in: completions and operations of execute().
 *
 * Both join the group commit and are answered after it; what is wrong with a
 * frame is answered at once.  A frame of the listener can only be a completion.
 */
#ifndef NEXUS_WORKER_RECEPTION_H
#define NEXUS_WORKER_RECEPTION_H

#include "worker/state.h"

/* For nexus_local_socket_listen; arg is the NexusWorker. */
extern void nexus_reception_take(void *arg, const NexusLocalPeer *peer, const NexusFrame *frame);

#endif							/* NEXUS_WORKER_RECEPTION_H */
