/*
 * test_await_rule.c
 *	  Every type and every state of a cancellation.
 */
#include "protocol/await_rule.h"
#include "tap.h"

#define GOES_ON NEXUS_AWAIT_GOES_ON
#define CANCELED NEXUS_AWAIT_CANCELED
#define FAILED NEXUS_AWAIT_CANCEL_FAILED

#define STATES (NEXUS_CANCELLATION_ABANDONED + 1)

typedef struct Row
{
	const char *type;
	NexusAwaitEnd open[STATES]; /* none, requested, scheduled, backing_off,
								 * succeeded, failed, abandoned */
} Row;

static const Row rows[] = {
	{"wait_cancellation_completed", {GOES_ON, GOES_ON, GOES_ON, GOES_ON, GOES_ON, GOES_ON, GOES_ON}},
	{"wait_cancellation_requested", {GOES_ON, GOES_ON, GOES_ON, GOES_ON, CANCELED, FAILED, CANCELED}},
	{"try_cancel", {GOES_ON, CANCELED, CANCELED, CANCELED, CANCELED, CANCELED, CANCELED}},
	{"abandon", {GOES_ON, CANCELED, CANCELED, CANCELED, CANCELED, CANCELED, CANCELED}}
};

static const char *const states[STATES] = {
	NULL, "requested", "scheduled", "backing_off", "succeeded", "failed", "abandoned"
};

static void
check_cell(const Row *row, int i)
{
	NexusCancellationType type = nexus_cancellation_type_of_name(row->type);
	NexusCancellationState state = nexus_cancellation_state_of_name(states[i]);
	char		name[128];

	snprintf(name, sizeof(name), "%s, %s, open", row->type, states[i] == NULL ? "not asked" : states[i]);
	is_int(nexus_await_rule(false, type, state), row->open[i], name);
	snprintf(name, sizeof(name), "%s, %s, closed", row->type, states[i] == NULL ? "not asked" : states[i]);
	is_int(nexus_await_rule(true, type, state), NEXUS_AWAIT_OUTCOME, name);
}

int
main(void)
{
	for (size_t i = 0; i < LENGTH_OF(rows); i++)
	{
		is_text(nexus_text_of(nexus_cancellation_type_name(nexus_cancellation_type_of_name(rows[i].type))), rows[i].type,
				"the name of a type");
		for (int j = 0; j < STATES; j++)
			check_cell(&rows[i], j);
	}
	for (int j = 1; j < STATES; j++)
		is_text(nexus_text_of(nexus_cancellation_state_name(nexus_cancellation_state_of_name(states[j]))), states[j],
				"the name of a state");
	ok(nexus_cancellation_state_name(NEXUS_CANCELLATION_NONE) == NULL, "where nobody has asked there is none");

	is_int(nexus_cancellation_type_of_name("later"), NEXUS_CANCELLATION_TYPE_WAIT_COMPLETED, "an unknown type waits");
	is_int(nexus_cancellation_type_of_name(NULL), NEXUS_CANCELLATION_TYPE_WAIT_COMPLETED, "no type waits");
	is_int(nexus_cancellation_state_of_name("later"), NEXUS_CANCELLATION_NONE, "an unknown state ends nothing");
	return done();
}
