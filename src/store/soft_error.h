/*
 * soft_error.h
 *	  Run a pure function of PostgreSQL's whose errors are about its input.
 */
#ifndef NEXUS_STORE_SOFT_ERROR_H
#define NEXUS_STORE_SOFT_ERROR_H

#include "postgres.h"

/*
 * False where "body" raised.  Only for functions that hold no resource when
 * they raise, since no subtransaction cleans up behind them: conversions and
 * input functions.  Interrupts are raised on.
 */
extern bool nexus_soft_error_try(void (*body) (void *arg), void *arg);

#endif							/* NEXUS_STORE_SOFT_ERROR_H */
