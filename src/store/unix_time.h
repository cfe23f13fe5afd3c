/*
 * unix_time.h
 *	  Times as the wire has them (since 1970) and as PostgreSQL does (since 2000).
 */
#ifndef NEXUS_STORE_UNIX_TIME_H
#define NEXUS_STORE_UNIX_TIME_H

#include "datatype/timestamp.h"

#define NEXUS_UNIX_EPOCH_US ((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

static inline TimestampTz
nexus_timestamp_of_unix_us(int64 unix_us)
{
	return unix_us - NEXUS_UNIX_EPOCH_US;
}

static inline int64
nexus_unix_us_of_timestamp(TimestampTz timestamp)
{
	return timestamp + NEXUS_UNIX_EPOCH_US;
}

#endif							/* NEXUS_STORE_UNIX_TIME_H */
