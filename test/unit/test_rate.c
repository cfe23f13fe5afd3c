/*
 * test_rate.c
 *	  So many requests a second.
 */
#include "protocol/rate.h"
#include "tap.h"

#define SECOND 1000000

/* How many go in a time, asked as often as it says. */
static int
count_in(NexusRate *rate, double per_second, int64_t from, int64_t to)
{
	int			count = 0;
	int64_t		now = from;

	while (now < to)
	{
		int64_t		wait = nexus_rate_wait_us(rate, per_second, now);

		if (wait == 0)
		{
			nexus_rate_take(rate, per_second, now);
			count++;
		}
		now += wait;
	}
	return count;
}

static void
test_rate(double per_second, int in_ten_seconds, int at_once)
{
	NexusRate	rate = {0, 0};
	char		name[80];

	snprintf(name, sizeof(name), "%g a second: at once", per_second);
	is_int(count_in(&rate, per_second, 0, 1), at_once, name);
	rate = (NexusRate)
	{
		0, 0
	};
	snprintf(name, sizeof(name), "%g a second: in ten seconds", per_second);
	is_int(count_in(&rate, per_second, 0, 10 * SECOND), in_ten_seconds, name);
}

int
main(void)
{
	NexusRate	rate = {0, 0};

	test_rate(1, 10, 1);
	test_rate(0.5, 5, 1);
	test_rate(7, 70, 1);
	test_rate(100, 1009, 10);
	test_rate(5000, 50499, 500);

	nexus_rate_take(&rate, 1, 0);
	is_int(nexus_rate_wait_us(&rate, 1, 0), SECOND + 1, "an empty bucket: a whole second");
	is_int(nexus_rate_wait_us(&rate, 1, -SECOND), 0, "a clock that was set back does not stop it");
	is_int(nexus_rate_wait_us(&rate, 1, 100 * (int64_t) SECOND), 0, "a pause fills it, but to its size only");
	is_int(nexus_rate_wait_us(&rate, 0, 0), 0, "no limit");
	return done();
}
