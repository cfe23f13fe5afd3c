/*
 * outcome_arrays.c
 *	  The columns of many outcomes as arrays, parameters of one statement.
 */
#include "postgres.h"

#include "store/outcome_arrays.h"

#include "catalog/pg_type.h"
#include "store/result.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

struct NexusOutcomeArrays
{
	NexusOutcome *const *outcomes;
	int			count;
	Datum	   *values;			/* one per parameter */
	Datum	   *elements;		/* scratch, one per outcome */
	bool	   *nulls;
};

NexusOutcomeArrays *
nexus_outcome_arrays_create(NexusOutcome *const *outcomes, int count, int parameters)
{
	NexusOutcomeArrays *arrays = palloc(sizeof(NexusOutcomeArrays));

	arrays->outcomes = outcomes;
	arrays->count = count;
	arrays->values = palloc0(sizeof(Datum) * parameters);
	arrays->elements = palloc(sizeof(Datum) * Max(count, 1));
	arrays->nulls = palloc(sizeof(bool) * Max(count, 1));
	return arrays;
}

Datum *
nexus_outcome_arrays_values(NexusOutcomeArrays *arrays)
{
	return arrays->values;
}

static void
finish(NexusOutcomeArrays *arrays, int parameter, Oid type, int16 typlen, bool typbyval, char typalign)
{
	int			lower = 1;

	arrays->values[parameter] =
		PointerGetDatum(construct_md_array(arrays->elements, arrays->nulls, 1, &arrays->count, &lower,
										   type, typlen, typbyval, typalign));
}

static void
finish_text(NexusOutcomeArrays *arrays, int parameter)
{
	finish(arrays, parameter, TEXTOID, -1, false, TYPALIGN_INT);
}

void
nexus_outcome_arrays_id(NexusOutcomeArrays *arrays, int parameter)
{
	for (int i = 0; i < arrays->count; i++)
	{
		arrays->elements[i] = nexus_uuid_datum(&arrays->outcomes[i]->id);
		arrays->nulls[i] = false;
	}
	finish(arrays, parameter, UUIDOID, sizeof(NexusUuid), false, TYPALIGN_CHAR);
}

static void
set_element(NexusOutcomeArrays *arrays, int i, NexusMemberType type, const char *member)
{
	TimestampTz time;
	const char *text;

	switch (type)
	{
		case NEXUS_MEMBER_INT:
			arrays->nulls[i] = false;
			arrays->elements[i] = Int32GetDatum(*(const int32 *) member);
			break;
		case NEXUS_MEMBER_TIME:
			time = *(const TimestampTz *) member;
			arrays->nulls[i] = time == 0 || TIMESTAMP_NOT_FINITE(time);
			arrays->elements[i] = TimestampTzGetDatum(time);
			break;
		case NEXUS_MEMBER_TEXT:
			text = *(const char *const *) member;
			arrays->nulls[i] = text == NULL;
			arrays->elements[i] = text == NULL ? (Datum) 0 : CStringGetTextDatum(text);
			break;
		case NEXUS_MEMBER_JSONB:
			arrays->elements[i] = *(const Datum *) member;
			arrays->nulls[i] = arrays->elements[i] == (Datum) 0;
			break;
	}
}

void
nexus_outcome_arrays_member(NexusOutcomeArrays *arrays, int parameter, NexusMemberType type, size_t offset)
{
	for (int i = 0; i < arrays->count; i++)
		set_element(arrays, i, type, (const char *) arrays->outcomes[i] + offset);

	switch (type)
	{
		case NEXUS_MEMBER_INT:
			finish(arrays, parameter, INT4OID, sizeof(int32), true, TYPALIGN_INT);
			break;
		case NEXUS_MEMBER_TIME:
			finish(arrays, parameter, TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
			break;
		case NEXUS_MEMBER_TEXT:
			finish_text(arrays, parameter);
			break;
		case NEXUS_MEMBER_JSONB:
			finish(arrays, parameter, JSONBOID, -1, false, TYPALIGN_INT);
			break;
	}
}
