/*
 * tap.h
 *	  Print the results of a test program in the Test Anything Protocol.
 */
#ifndef NEXUS_TEST_TAP_H
#define NEXUS_TEST_TAP_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/text.h"

static int	tap_count;
static int	tap_failures;

static inline bool
ok(bool condition, const char *name)
{
	tap_count++;
	if (!condition)
		tap_failures++;
	printf("%sok %d - %s\n", condition ? "" : "not ", tap_count, name);
	return condition;
}

static inline void
is_text(NexusText got, const char *expected, const char *name)
{
	if (!ok(nexus_text_equal(got, nexus_text_of(expected)), name))
		printf("#      got: %.*s\n# expected: %s\n", (int) got.len, got.data, expected);
}

static inline void
is_int(int64_t got, int64_t expected, const char *name)
{
	if (!ok(got == expected, name))
		printf("#      got: %" PRId64 "\n# expected: %" PRId64 "\n", got, expected);
}

static inline int
done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failures > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Where a byte too far is read, the sanitizer sees it: a copy without a byte to spare. */
static inline NexusText
exact_copy(const char *data, size_t len)
{
	char	   *copy = malloc(len > 0 ? len : 1);

	memcpy(copy, data, len);
	return nexus_text_make(copy, len);
}

#define LENGTH_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif							/* NEXUS_TEST_TAP_H */
