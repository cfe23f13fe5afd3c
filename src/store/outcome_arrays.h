/*
 * outcome_arrays.h
 *	  The columns of many outcomes as arrays, parameters of one statement.
 */
#ifndef NEXUS_STORE_OUTCOME_ARRAYS_H
#define NEXUS_STORE_OUTCOME_ARRAYS_H

#include "store/outcome.h"

typedef struct NexusOutcomeArrays NexusOutcomeArrays;

/* For these outcomes (kept by reference) and this many parameters. */
extern NexusOutcomeArrays *nexus_outcome_arrays_create(NexusOutcome *const *outcomes, int count, int parameters);
extern Datum *nexus_outcome_arrays_values(NexusOutcomeArrays *arrays);

extern void nexus_outcome_arrays_id(NexusOutcomeArrays *arrays, int parameter);

/*
 * Fill a parameter with a member of every outcome, by its offset; 0 and NULL
 * become SQL NULL, as do infinite times.
 */
typedef enum NexusMemberType
{
	NEXUS_MEMBER_INT,			/* int32; 0 stays 0 */
	NEXUS_MEMBER_TIME,
	NEXUS_MEMBER_TEXT,			/* const char * */
	NEXUS_MEMBER_JSONB			/* Datum */
} NexusMemberType;

extern void nexus_outcome_arrays_member(NexusOutcomeArrays *arrays, int parameter, NexusMemberType type, size_t offset);

#define NEXUS_OUTCOME_INT(arrays, parameter, member) \
	nexus_outcome_arrays_member(arrays, parameter, NEXUS_MEMBER_INT, offsetof(NexusOutcome, member))
#define NEXUS_OUTCOME_TIME(arrays, parameter, member) \
	nexus_outcome_arrays_member(arrays, parameter, NEXUS_MEMBER_TIME, offsetof(NexusOutcome, member))
#define NEXUS_OUTCOME_TEXT(arrays, parameter, member) \
	nexus_outcome_arrays_member(arrays, parameter, NEXUS_MEMBER_TEXT, offsetof(NexusOutcome, member))
#define NEXUS_OUTCOME_JSONB(arrays, parameter, member) \
	nexus_outcome_arrays_member(arrays, parameter, NEXUS_MEMBER_JSONB, offsetof(NexusOutcome, member))

#endif							/* NEXUS_STORE_OUTCOME_ARRAYS_H */
