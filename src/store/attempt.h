/*
 * attempt.h
 *	  The log of failed attempts, the last 20 of each operation.
 */
#ifndef NEXUS_STORE_ATTEMPT_H
#define NEXUS_STORE_ATTEMPT_H

#include "store/outcome.h"

#define NEXUS_ATTEMPTS_KEPT 20

/* Append the failed attempts of these outcomes, and drop the oldest. */
extern void nexus_attempt_append(NexusOutcome *const *outcomes, int count);

#endif							/* NEXUS_STORE_ATTEMPT_H */
