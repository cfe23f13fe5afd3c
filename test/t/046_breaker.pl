# The circuit breaker of an endpoint, its rate, and that one endpoint costs another nothing.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $MANY = 100_000;
my $HANGING = 1_000;
my $node = nexus_node('main');
my $handler = NexusTest::Handler->start;
my $pid = nexus_pid($node, 'worker');
my @quick = (retry_initial_interval => '10ms', retry_max_interval => '20ms');

sub breaker_of { return value($node, "SELECT breaker_state FROM nexus.endpoints WHERE endpoint = '$_[0]'"); }

sub becomes
{
	my ($endpoint, $state, $name) = @_;
	ok(poll("breaker of $endpoint: $state", sub { breaker_of($endpoint) eq $state }), $name);
	return;
}

sub starts_of { return scalar $handler->log(request_id => $_[0]); }

# --- it opens at the fifth failure in a row

create_endpoint($node, 'down', $handler, @quick, breaker_open_interval => '1h');
create_endpoint($node, 'up', $handler, @quick);
my $failing = schedule($node, 'down', 'handler-error', { status => 503, message => 'busy' }, schedule_to_close_timeout => '1h');
becomes('down', 'open', 'scenario 31: the breaker opens');
my $row = row_of($node, 'pending_operations', $failing);
is("$row->{state} $row->{blocked_reason} $row->{attempt}", 'blocked breaker_open 5', 'after 5 attempts the operation is blocked');
is(value($node, q{SELECT breaker_until - clock_timestamp() BETWEEN '59 min' AND '1h' FROM nexus.endpoints WHERE endpoint = 'down'}),
	't', 'and will be for the interval');
is(value($node, q{SELECT last_failure FROM nexus.endpoints WHERE endpoint = 'down'}), 'busy', 'the endpoint says why');
my $waiting = schedule($node, 'down', 'echo');
my $timed = schedule($node, 'down', 'echo', undef, schedule_to_start_timeout => '300ms');
is(wait_closed($node, $timed), 'timed_out', 'scenario 35: a blocked operation times out');
is(row_of($node, 'pending_operations', $waiting)->{blocked_reason}, 'breaker_open', 'another waits');
is(starts_of($failing), 5, 'no request goes out, and no attempt is counted');
is(starts_of($waiting), 0, 'none of the other either');
is(wait_closed($node, schedule($node, 'up', 'echo')), 'succeeded', 'scenario 34: another endpoint is not affected');
is(breaker_of('up'), 'closed', 'its breaker is its own');

# --- a completion is taken, a terminate works, and a new address begins anew

is(value($node, "SELECT nexus.terminate('$failing')"), 't', 'terminate takes a blocked one');
is(wait_closed($node, $failing), 'terminated', 'and ends it');
value($node, q{ALTER SERVER down OPTIONS (ADD max_in_flight '7')});
is(breaker_of('down'), 'open', 'another option of the server leaves it open');
value($node, "ALTER SERVER down OPTIONS (SET url '" . $handler->url . "/')");
is(wait_closed($node, $waiting), 'succeeded', 'another address is tried at once');
is(breaker_of('down'), 'closed', 'with a closed breaker');

# --- half open: one probe

create_endpoint($node, 'probed', $handler, @quick, breaker_failures => 2, breaker_open_interval => '700ms');
my @backlog = map { schedule($node, 'probed', 'flaky', { times => 3 }) } 1 .. 2;
becomes('probed', 'open', 'a breaker of two failures opens');
push @backlog, map { schedule($node, 'probed', 'echo', { delay => 20 }) } 1 .. 30;
for my $id (@backlog)
{
	is(wait_closed($node, $id), 'succeeded', 'scenario 32: the backlog drains') or last;
}
is(breaker_of('probed'), 'closed', 'scenario 32: a probe that succeeds closes it');
is(value($node, q{SELECT breaker_until IS NULL FROM nexus.endpoints WHERE endpoint = 'probed'}), 't', 'no time is shown then');

# one that fails opens it again: at most one request in each interval
create_endpoint($node, 'dead', $handler, @quick, breaker_failures => 1, breaker_open_interval => '300ms');
schedule($node, 'dead', 'handler-error', { status => 503 }) for 1 .. 5;
becomes('dead', 'open', 'a breaker of one failure');
$handler->forget;
my $since = time;
ok(poll('three probes', sub { $handler->stats->{starts} >= 3 }), 'scenario 32: a probe that fails is followed by another');
cmp_ok(time - $since, '>', 0.6, 'an interval later');
is($handler->stats->{max_in_flight}, 1, 'one at a time');
value($node, q{SELECT count(nexus.terminate(id)) FROM nexus.pending_operations WHERE endpoint = 'dead'});
becomes('dead', 'half_open', 'with nothing to send it waits for a probe');
is(scalar(() = slurp_file($node->logfile) =~ /LOG:  circuit breaker of endpoint "dead" is open now/g), 1,
	'the log says once that it is open');

# --- what counts

create_endpoint($node, 'counted', $handler, @quick, breaker_failures => 3, breaker_open_interval => '1h');
for my $case ([ 'handler-error', { status => 400 } ], [ 'operation-error', {} ], [ 'handler-error', { status => 500, retryable => \0 } ])
{
	wait_closed($node, schedule($node, 'counted', @$case)) for 1 .. 4;
	is(breaker_of('counted'), 'closed', "scenario 33: a final error is an answer: $case->[0]");
}
for my $round (1 .. 3)
{
	is(wait_closed($node, schedule($node, 'counted', 'flaky', { times => 2 })), 'succeeded', 'two failures, and a success');
}
is(breaker_of('counted'), 'closed', 'scenario 33: a success begins the count anew');
is(wait_closed($node, schedule($node, 'counted', 'echo')), 'succeeded', 'all is well');
schedule($node, 'counted', 'hang', undef, schedule_to_close_timeout => '2s') for 1 .. 3;
becomes('counted', 'open', 'a handler that does not answer in the time of an operation is down');

# --- cancel requests share it

create_endpoint($node, 'cancelled', $handler, @quick, breaker_failures => 3, breaker_open_interval => '1h');
my $cancelled = schedule($node, 'cancelled', 'async', { after => undef, cancel => { status => 503, times => 1000 } });
wait_state($node, $cancelled, 'started');
value($node, "SELECT nexus.cancel('$cancelled')");
becomes('cancelled', 'open', 'scenario 63: failing cancel requests open the breaker');
$row = row_of($node, 'pending_operations', $cancelled);
is("$row->{state} $row->{blocked_reason} $row->{cancellation_attempt}", 'started breaker_open 3', 'scenario 36: and wait for it');
is($handler->complete($cancelled), 1, 'a completion');
is(wait_closed($node, $cancelled), 'succeeded', 'is taken while the breaker is open');

# --- switched off, and forgotten at a restart of the worker

create_endpoint($node, 'never', $handler, @quick, breaker_failures => 0);
is(wait_closed($node, schedule($node, 'never', 'flaky', { times => 20 })), 'succeeded', 'breaker_failures 0: never');
is(breaker_of('never'), 'closed', 'closed');

# --- a rate

create_endpoint($node, 'slow', $handler, max_requests_per_second => 20);
$handler->forget;
value($node, q{SELECT count(nexus.schedule('slow', 'scripted', 'echo')) FROM generate_series(1, 30)});
ok($node->poll_query_until('postgres', q{SELECT count(*) FROM nexus.operations WHERE endpoint = 'slow' AND state = 'succeeded'}, '30'),
	'30 requests at 20 a second');
my @times = map { $_->{time} } $handler->log;
cmp_ok($times[-1] - $times[0], '>=', 1.3, 'take as long as they have to');
cmp_ok($times[-1] - $times[0], '<', 4, 'and not much longer');
is(value($node, q{SELECT last_failure FROM nexus.endpoints WHERE endpoint = 'slow'}), '', 'none fails');

# --- a blocked endpoint with many waiting, a hanging one, and one that works

create_endpoint($node, 'crowded', $handler, @quick, breaker_failures => 1, breaker_open_interval => '1h');
create_endpoint($node, 'hanging', $handler, breaker_failures => 0);
schedule($node, 'crowded', 'handler-error', { status => 503 });
becomes('crowded', 'open', 'an endpoint is blocked');
value($node, "SELECT count(nexus.schedule('crowded', 's', 'o')) FROM generate_series(1, $MANY)");
value($node, "SELECT count(nexus.schedule('hanging', 'scripted', 'hang')) FROM generate_series(1, $HANGING)");
ok(poll('requests that hang', sub { $handler->stats->{in_flight} >= 100 }), 'another hangs with all it may have in flight');
$since = time;
is(wait_closed($node, schedule($node, 'up', 'echo')), 'succeeded', 'a third one works') for 1 .. 20;
cmp_ok(time - $since, '<', 10, 'without delay');
is(value($node, q{SELECT scheduled >= 100000 FROM nexus.endpoints WHERE endpoint = 'crowded'}), 't', 'while all of them wait');
is(value($node, qq{SELECT blocked_reason FROM nexus.pending_operations WHERE endpoint = 'crowded' AND service = 's' LIMIT 1}),
	'breaker_open', 'and say why');

is(nexus_pid($node, 'worker'), $pid, 'the worker is the same as before');
$handler->stop;
$node->stop;
done_testing();
