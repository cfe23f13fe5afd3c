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
create_endpoint($node, 'hello', $handler);
create_endpoint($node, 'nobody', 'http://127.0.0.1:1/nexus');

# It timed out, for this reason, and soon after this many seconds since that time.
sub timed_out
{
	my ($id, $name, $type, $since, $seconds) = @_;
	is(wait_closed($node, $id), 'timed_out', "$name: timed_out");
	my $failure = row_of($node, 'operations', $id)->{failure};
	is($failure->{details}{timeoutFailureInfo}{timeoutType}, "TIMEOUT_TYPE_$type", "$name: $type");
	my ($code, $said) = error_of($node, "SELECT nexus.await('$id')");
	is($code, 'NX003', "$name: SQLSTATE");
	like($said, qr/timed out: \L${type}_timeout/, "$name: message");
	is(value($node, "SELECT close_time - $since BETWEEN '$seconds s' AND '@{[$seconds + 1]} s' FROM nexus.operations WHERE id = '$id'"),
		't', "$name: $seconds s after $since");
	return;
}

# --- one operation each; they run side by side

my @hour = (schedule_to_close_timeout => '1 hour');
my %id = (
	'never answered' => schedule($node, 'hello', 'hang', undef, schedule_to_close_timeout => '400ms'),
	'nobody there' => schedule($node, 'nobody', 'echo', undef, schedule_to_close_timeout => '400ms'),
	'started' => schedule($node, 'hello', 'async', { after => undef }, schedule_to_close_timeout => '400ms'),
	'start_to_close' => schedule($node, 'hello', 'async', { after => undef, delay => 300 }, start_to_close_timeout => '400ms'),
	'the first of two' => schedule($node, 'hello', 'async', { after => undef }, @hour, start_to_close_timeout => '400ms'),
	'the other first' => schedule($node, 'hello', 'async', { after => undef }, schedule_to_close_timeout => '400ms',
		start_to_close_timeout => '1 hour'));
my $in_time = schedule($node, 'hello', 'async', { after => 100 }, schedule_to_close_timeout => '400ms', start_to_close_timeout => '350ms');
my $not_started = schedule($node, 'nobody', 'echo', undef, start_to_close_timeout => '100ms');
my $none = schedule($node, 'hello', 'async', { after => undef }, schedule_to_close_timeout => '0', start_to_close_timeout => '0');
my $late = schedule($node, 'hello', 'hang', { for => 800 }, schedule_to_close_timeout => '400ms');

timed_out($id{'never answered'}, 'never answered', 'SCHEDULE_TO_CLOSE', 'scheduled_time', 0.4);
timed_out($id{'nobody there'}, 'nobody there', 'SCHEDULE_TO_CLOSE', 'scheduled_time', 0.4);
cmp_ok(scalar(attempts_of($node, $id{'nobody there'})), '>=', 2, 'its failed attempts are kept');
is(history_of($node, $id{'nobody there'}), 'Scheduled TimedOut', 'its events');
timed_out($id{'started'}, 'started', 'SCHEDULE_TO_CLOSE', 'scheduled_time', 0.4);
is(history_of($node, $id{'started'}), 'Scheduled Started TimedOut', 'its events');
timed_out($id{'start_to_close'}, 'start_to_close', 'START_TO_CLOSE', 'started_time', 0.4);
is(value($node, "SELECT started_time - scheduled_time > '250 ms' FROM nexus.operations WHERE id = '$id{start_to_close}'"), 't',
	'which was started later');
timed_out($id{'the first of two'}, 'the first of two', 'START_TO_CLOSE', 'started_time', 0.4);
timed_out($id{'the other first'}, 'the other first', 'SCHEDULE_TO_CLOSE', 'scheduled_time', 0.4);

is(state_of($node, $in_time), 'succeeded', 'a deadline after the end means nothing');
is(state_of($node, $not_started), 'backing_off', 'start_to_close does not run before the start');
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
timed_out($id, 'used up by its own transaction', 'SCHEDULE_TO_CLOSE', 'scheduled_time', 0.05);
is($handler->stats->{starts}, $before, 'nothing was sent');

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
$node->restart;
wait_running($node);
timed_out($over, 'over a restart', 'START_TO_CLOSE', 'started_time', 1);
is(wait_closed($node, $past), 'timed_out', 'a deadline that passed meanwhile');

# --- what is refused

for my $case ([ "schedule_to_close_timeout => '-1 s'", '22023' ], [ "start_to_close_timeout => '-1 s'", '22023' ],
	[ "schedule_to_start_timeout => '1 s'", '0A000' ])
{
	is(error_of($node, "SELECT nexus.schedule('hello', 's', 'o', $case->[0])"), $case->[1], "refused: $case->[0]");
}

$handler->stop;
$node->stop;
done_testing();
