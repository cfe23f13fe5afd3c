# Time-outs of operations: which one, when, and what they are measured from.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $MANY = 500;
my $node = nexus_node('main');
my $handler = NexusTest::Handler->start;
create_endpoint($node, 'hello', $handler, breaker_failures => 0);
create_endpoint($node, 'nobody', 'http://127.0.0.1:1/nexus', breaker_failures => 0);

# It timed out, for this reason, and soon after this many seconds since that time.
sub timed_out
{
	my ($id, $name, $type, $since, $seconds) = @_;
	is(wait_closed($node, $id), 'timed_out', "$name: timed_out");
	my $failure = row_of($node, 'operations', $id)->{failure};
	is($failure->{details}{timeoutFailureInfo}{timeoutType}, "TIMEOUT_TYPE_$type", "$name: $type");
	my ($code, $said) = error_of($node, "SELECT nexus.await('$id')");
	is($code, 'NX003', "$name: SQLSTATE, scenario 93");
	like($said, qr/timed out: \L${type}_timeout/, "$name: message");
	is(value($node, "SELECT close_time - $since BETWEEN '$seconds s' AND '@{[$seconds + 1]} s' FROM nexus.operations WHERE id = '$id'"),
		't', "$name: $seconds s after $since");
	return;
}

# --- one operation each; they run side by side.  What has to be started first has
# --- more time.

my @hour = (schedule_to_close_timeout => '1 hour');
my %id = (
	'never answered' => schedule($node, 'hello', 'hang', undef, schedule_to_close_timeout => '400ms'),
	'nobody there' => schedule($node, 'nobody', 'echo', undef, schedule_to_close_timeout => '400ms'),
	'started' => schedule($node, 'hello', 'async', { after => undef }, schedule_to_close_timeout => '2s'),
	'start_to_close' => schedule($node, 'hello', 'async', { after => undef, delay => 300 }, start_to_close_timeout => '400ms'),
	'the first of two' => schedule($node, 'hello', 'async', { after => undef }, @hour, start_to_close_timeout => '400ms'),
	'the other first' => schedule($node, 'hello', 'async', { after => undef }, schedule_to_close_timeout => '2s',
		start_to_close_timeout => '1 hour'),
	'never started' => schedule($node, 'hello', 'hang', undef, schedule_to_start_timeout => '400ms'),
	'nobody to start it' => schedule($node, 'nobody', 'echo', undef, schedule_to_start_timeout => '400ms'),
	'the start first' => schedule($node, 'nobody', 'echo', undef, @hour, schedule_to_start_timeout => '400ms',
		start_to_close_timeout => '300ms'),
	'all three, started' => schedule($node, 'hello', 'async', { after => undef }, @hour, schedule_to_start_timeout => '5s',
		start_to_close_timeout => '400ms'));
my $started_in_time = schedule($node, 'hello', 'async', { after => undef }, schedule_to_start_timeout => '2s');
my $answered_in_time = schedule($node, 'hello', 'echo', undef, schedule_to_start_timeout => '5s');
my $in_time = schedule($node, 'hello', 'async', { after => 100 }, schedule_to_close_timeout => '2s', start_to_close_timeout => '2s');
my $not_started = schedule($node, 'nobody', 'echo', undef, start_to_close_timeout => '100ms');
my $none = schedule($node, 'hello', 'async', { after => undef }, schedule_to_close_timeout => '0', start_to_close_timeout => '0');
my $late = schedule($node, 'hello', 'hang', { for => 800 }, schedule_to_close_timeout => '400ms');

timed_out($id{'never answered'}, 'never answered', 'SCHEDULE_TO_CLOSE', 'scheduled_time', 0.4);
timed_out($id{'nobody there'}, 'scenario 38: nobody there', 'SCHEDULE_TO_CLOSE', 'scheduled_time', 0.4);
cmp_ok(scalar(attempts_of($node, $id{'nobody there'})), '>=', 2, 'scenario 41: its failed attempts are kept');
is(history_of($node, $id{'nobody there'}), 'Scheduled TimedOut', 'its events');
timed_out($id{'started'}, 'scenario 38: started', 'SCHEDULE_TO_CLOSE', 'scheduled_time', 2);
is(history_of($node, $id{'started'}), 'Scheduled Started TimedOut', 'its events');
timed_out($id{'start_to_close'}, 'start_to_close', 'START_TO_CLOSE', 'started_time', 0.4);
is(value($node, "SELECT started_time - scheduled_time > '250 ms' FROM nexus.operations WHERE id = '$id{start_to_close}'"), 't',
	'which was started later');
timed_out($id{'the first of two'}, 'the first of two', 'START_TO_CLOSE', 'started_time', 0.4);
timed_out($id{'the other first'}, 'the other first', 'SCHEDULE_TO_CLOSE', 'scheduled_time', 2);

timed_out($id{'never started'}, 'scenario 37: never started', 'SCHEDULE_TO_START', 'scheduled_time', 0.4);
timed_out($id{'nobody to start it'}, 'scenario 37: nobody to start it', 'SCHEDULE_TO_START', 'scheduled_time', 0.4);
is(row_of($node, 'operations', $id{'nobody to start it'})->{schedule_to_start_timeout}, '00:00:00.4', 'scenario 37: its time-out is shown');
timed_out($id{'the start first'}, 'the start first', 'SCHEDULE_TO_START', 'scheduled_time', 0.4);
timed_out($id{'all three, started'}, 'scenario 39: all three, started', 'START_TO_CLOSE', 'started_time', 0.4);
ok($node->poll_query_until('postgres', "SELECT clock_timestamp() > max(scheduled_time) + '2 s' FROM nexus.operations "
	. "WHERE id IN ('$started_in_time', '$in_time')"), 'the times of both are over');
is(state_of($node, $started_in_time), 'started', 'scenario 40: schedule_to_start means nothing after the start');
is(row_of($node, 'pending_operations', $started_in_time)->{deadline}, undef, 'and its deadline is gone');
is(wait_closed($node, $answered_in_time), 'succeeded', 'a synchronous reply is a start in time');

is(state_of($node, $in_time), 'succeeded', 'scenario 40: a deadline after the end means nothing');
is(state_of($node, $not_started), 'backing_off', 'scenario 40: start_to_close does not run before the start');
is(row_of($node, 'pending_operations', $not_started)->{deadline}, undef, 'and has no deadline yet');
is(state_of($node, $none), 'started', 'zero is no timeout');
is(row_of($node, 'pending_operations', $none)->{deadline}, undef, 'and no deadline');
value($node, "SELECT nexus.terminate('$not_started')");

is(wait_closed($node, $late), 'timed_out', 'a reply that comes too late');
ok(poll('the reply', sub { $handler->stats->{in_flight} <= 1 }), 'has come');
is(state_of($node, $late), 'timed_out', 'and changes nothing');

# --- the clock runs from the call

my $before = $handler->stats->{starts};
my $id = value($node, q{BEGIN;
	SELECT nexus.schedule('hello', 'scripted', 'echo', schedule_to_close_timeout => '50ms');
	DO $$ BEGIN
		WHILE clock_timestamp() <= (SELECT max(deadline) FROM nexus.operation WHERE close_time IS NULL) LOOP
			PERFORM pg_sleep(0.01);
		END LOOP;
	END $$;
	COMMIT;});
timed_out($id, 'scenario 16: used up by its own transaction', 'SCHEDULE_TO_CLOSE', 'scheduled_time', 0.05);
is($handler->stats->{starts}, $before, 'scenario 16: nothing was sent');

# --- blocked operations time out

value($node, 'ALTER SERVER hello OPTIONS (ADD enabled \'false\')');
$id = schedule($node, 'hello', 'echo', undef, schedule_to_close_timeout => '300ms');
my $patient = schedule($node, 'hello', 'echo');
my $row = row_of($node, 'pending_operations', $patient);
is("$row->{state} $row->{blocked_reason}", 'blocked endpoint_disabled', 'blocked: the endpoint is disabled');
timed_out($id, 'blocked', 'SCHEDULE_TO_CLOSE', 'scheduled_time', 0.3);
$node->append_conf('postgresql.conf', 'nexus_pg.enabled = off');
$node->reload;
value($node, 'ALTER SERVER hello OPTIONS (SET enabled \'true\')');
ok($node->poll_query_until('postgres', "SELECT blocked_reason FROM nexus.pending_operations WHERE id = '$patient'", 'sending_disabled'),
	'blocked: all sending is off');
$id = schedule($node, 'hello', 'echo', undef, schedule_to_close_timeout => '300ms');
timed_out($id, 'blocked', 'SCHEDULE_TO_CLOSE', 'scheduled_time', 0.3);
is($handler->stats->{starts}, $before, 'nothing was sent');
$node->append_conf('postgresql.conf', 'nexus_pg.enabled = on');
$node->reload;
is(wait_closed($node, $patient), 'succeeded', 'on again: sent');

# --- what the handler is told

for my $case (
	[ 'scenario 13: schedule_to_start alone', { schedule_to_start_timeout => '4s' }, [ 3000, 4000 ], undef ],
	[ 'scenario 12: schedule_to_close', { schedule_to_close_timeout => '4s' }, [ 3000, 4000 ], [ 3000, 4000 ] ],
	[ 'scenario 14: start_to_close alone', { start_to_close_timeout => '1 min' }, [ 10000, 10000 ], [ 60000, 60000 ] ],
	[ 'the least of all', { schedule_to_close_timeout => '9s', schedule_to_start_timeout => '4s', start_to_close_timeout => '8s' },
		[ 3000, 4000 ], [ 7900, 8000 ] ],
	[ 'longer than a request', { schedule_to_close_timeout => '1 hour' }, [ 10000, 10000 ], [ 3590000, 3600000 ] ])
{
	my ($name, $arguments, @expected) = @$case;
	$id = schedule($node, 'hello', 'echo', undef, %$arguments);
	wait_closed($node, $id);
	my ($request) = $handler->log(request_id => $id);
	for my $header ('request-timeout', 'operation-timeout')
	{
		my $range = shift @expected;
		my ($ms) = ($request->{headers}{$header} // '') =~ /^(\d+)ms$/;
		ok(defined $range ? $ms >= $range->[0] && $ms <= $range->[1] : !defined $request->{headers}{$header},
			"$name: $header") or diag($request->{headers}{$header});
	}
}

# --- many at once

value($node, "SELECT count(nexus.schedule('nobody', 's', 'o', schedule_to_close_timeout => '500ms')) FROM generate_series(1, $MANY)");
ok($node->poll_query_until('postgres', "SELECT count(*) FROM nexus.operations WHERE service = 's' AND state = 'timed_out'", $MANY),
	"$MANY operations time out");
is(value($node, "SELECT max(close_time - scheduled_time) < '2 s' AND count(DISTINCT close_time) = $MANY "
	. "FROM nexus.operations WHERE service = 's'"), 't', 'in time, each at a time of its own');

# --- over a restart

my $over = schedule($node, 'hello', 'async', { after => undef }, start_to_close_timeout => '1 s');
my $past = schedule($node, 'hello', 'async', { after => undef }, start_to_close_timeout => '10 ms');
wait_state($node, $over, 'started');
value($node, q{ALTER SERVER hello OPTIONS (SET enabled 'false')});
my %away = (
	SCHEDULE_TO_START => schedule($node, 'hello', 'echo', undef, schedule_to_start_timeout => '300ms', @hour),
	SCHEDULE_TO_CLOSE => schedule($node, 'nobody', 'echo', undef, schedule_to_close_timeout => '300ms'));
$node->stop;
my $gone = time;
poll('the deadlines of operations whose server is down', sub { time > $gone + 1 });
$node->start;
wait_running($node);
for my $type (sort keys %away)
{
	is(wait_closed($node, $away{$type}), 'timed_out', "$type: passed while the server was down");
	is(row_of($node, 'operations', $away{$type})->{failure}{details}{timeoutFailureInfo}{timeoutType}, "TIMEOUT_TYPE_$type", 'by name');
}
value($node, q{ALTER SERVER hello OPTIONS (SET enabled 'true')});
is(wait_closed($node, $over), 'timed_out', 'started before the restart');
is(row_of($node, 'operations', $over)->{failure}{details}{timeoutFailureInfo}{timeoutType}, 'TIMEOUT_TYPE_START_TO_CLOSE', 'its reason');
is(wait_closed($node, $past), 'timed_out', 'a deadline that passed meanwhile');

# --- what is refused

for my $case ([ "schedule_to_close_timeout => '-1 s'", '22023' ], [ "start_to_close_timeout => '-1 s'", '22023' ],
	[ "schedule_to_start_timeout => '-1 s'", '22023' ])
{
	is(error_of($node, "SELECT nexus.schedule('hello', 's', 'o', $case->[0])"), $case->[1], "scenario 43: refused: $case->[0]");
}

$handler->stop;
$node->stop;
done_testing();
