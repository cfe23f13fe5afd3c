# What keeps a worker from committing: locks, errors of one row, and settings of
# the database that would change what its statements mean.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = nexus_node('main', conf => 'max_connections = 30');
my $handler = NexusTest::Handler->start;
create_endpoint($node, 'hello', $handler);

sub starts_of { return scalar $handler->log(request_id => $_[0], kind => 'start'); }

sub all_closed
{
	my ($ids, $name) = @_;
	my $list = join ',', map { "'$_'" } @$ids;
	ok($node->poll_query_until('postgres', "SELECT count(*) FROM nexus.operations WHERE id IN ($list) AND close_time IS NULL", '0'), $name);
	return;
}

# --- one row is locked

sub schedule_hanging
{
	my ($count) = @_;
	return split /\n/, value($node, "SELECT nexus.schedule('hello', 'scripted', 'hang', '{\"for\": 1000}') FROM generate_series(1, $count)");
}

my @ids = schedule_hanging(5);
my $session = $node->background_psql('postgres');
$session->query_safe("BEGIN; SELECT 1 FROM nexus.operation WHERE id = '$ids[0]' FOR UPDATE");
all_closed([ @ids[ 1 .. 4 ] ], 'a locked row does not hold up others');
my @more = map { schedule($node, 'hello', 'async', { after => 1 }) } 1 .. 5;
all_closed(\@more, 'nor what comes later');
is(state_of($node, $ids[0]), 'scheduled', 'it is open');
value($node, "SELECT nexus.execute('hello', 'any', 'o')");
ok(1, 'and execute works meanwhile');
$session->query_safe('COMMIT');
is(wait_closed($node, $ids[0]), 'succeeded', 'unlocked, it closes');
is(starts_of($ids[0]), 1, 'with the outcome it had');

# --- a table is not as the module knows it, until ALTER EXTENSION UPDATE

@ids = schedule_hanging(5);
ok(poll('5 requests', sub { $handler->stats->{in_flight} >= 5 }), '5 requests are on their way');
my $offset = -s $node->logfile;
$node->safe_psql('postgres', 'ALTER TABLE nexus.operation RENAME COLUMN result_is_json TO is_json');
ok(poll('an error', sub { slurp_file($node->logfile, $offset) =~ /could not record outcomes: table .* has no column/ }), 'outcomes cannot be written');
$node->safe_psql('postgres', 'ALTER TABLE nexus.operation RENAME COLUMN is_json TO result_is_json');
is(wait_closed($node, $_), 'succeeded', 'then they are, as they came') for @ids;
is(scalar(grep { starts_of($_) != 1 } @ids), 0, 'and none was sent again');

# --- the whole table is locked

@ids = schedule_hanging(20);
ok(poll('20 requests', sub { $handler->stats->{in_flight} >= 20 }), '20 requests are on their way');
$offset = -s $node->logfile;
$session->query_safe('BEGIN; LOCK TABLE nexus.operation IN EXCLUSIVE MODE');
ok(poll('replies', sub { $handler->stats->{in_flight} == 0 }), 'they are answered');
ok(poll('the lock time-out', sub { my @times = slurp_file($node->logfile, $offset) =~ /lock timeout/g; @times >= 2 }),
	'commits fail for a while');
$session->query_safe('COMMIT');
all_closed(\@ids, 'then they are committed');
is(scalar(grep { starts_of($_) != 1 } @ids), 0, 'none was sent again');
is(value($node, "SELECT count(*) FROM nexus.workers WHERE kind = 'worker' AND state = 'running'"), '1', 'the worker runs');

# A lock that only keeps others from writing is one as well.
$session->query_safe('BEGIN; LOCK TABLE nexus.operation IN SHARE MODE');
my $waiting = $node->background_psql('postgres');
$waiting->query_safe("SET lock_timeout = '10s'");
is(error_of($node, "SET lock_timeout = '100ms'; SELECT nexus.schedule('hello', 'any', 'o')"), '55P03', 'schedule waits for the lock');
$session->query_safe('COMMIT');
is($waiting->query_safe("SELECT nexus.execute('hello', 'any', 'o', '1')"), '1', 'unlocked: all is well');
$waiting->quit;

# --- a locked row of which there is more to record than one thing

my $id = schedule($node, 'hello', 'async', { after => undef });
wait_state($node, $id, 'started');
$session->query_safe("BEGIN; SELECT 1 FROM nexus.operation WHERE id = '$id' FOR SHARE");
value($node, "SELECT nexus.terminate('$id')");
is(value($node, "SELECT nexus.execute('hello', 'any', 'o', '2')"), '2', 'a locked row that is terminated holds up nobody');
$session->query_safe('COMMIT');
is(wait_closed($node, $id), 'terminated', 'and then it is terminated');

# --- a row that somebody else changes, or deletes, while the worker waits for it

sub worker_waits
{
	return poll('the worker waits for a row', sub {
		value($node, "SELECT count(*) FROM pg_stat_activity a JOIN nexus.workers w USING (pid) WHERE w.kind = 'worker' AND a.wait_event_type = 'Lock'") == 1;
	});
}

for my $changed (
	[ "UPDATE nexus.operation SET summary = 'mine' WHERE id", "SELECT state || ' ' || summary", 'succeeded mine' ],
	[ 'DELETE FROM nexus.operation WHERE id', 'SELECT count(*)', '0' ])
{
	my ($change, $question, $answer) = @$changed;
	my ($disturbed) = schedule_hanging(1);
	ok(poll('a request', sub { $handler->stats->{in_flight} >= 1 }), 'a request is on its way');
	$session->query_safe("BEGIN; $change = '$disturbed'");
	ok(worker_waits(), "the worker waits for who did: $change");
	$session->query_safe('COMMIT');
	is(value($node, "SELECT nexus.execute('hello', 'any', 'o', '3')"), '3', 'and goes on');
	ok(poll('both changes', sub { value($node, "$question FROM nexus.operation WHERE id = '$disturbed'") eq $answer }), "then there is: $answer");
}

# --- a start and its completion that were held up are written at once

value($node, 'SELECT nexus.pause()');
ok(poll('a pause', sub { value($node, "SELECT state FROM nexus.workers WHERE kind = 'worker'") eq 'paused' }), 'sending is paused');
$id = schedule($node, 'hello', 'async', { after => 1 });
$session->query_safe("BEGIN; SELECT 1 FROM nexus.operation WHERE id = '$id' FOR SHARE");
value($node, 'SELECT nexus.resume()');
ok(poll('a start', sub { starts_of($id) == 1 }), 'it is sent, and completes at once');
is(value($node, "SELECT nexus.execute('hello', 'any', 'o', '4')"), '4', 'others are recorded');
is(state_of($node, $id), 'scheduled', 'of it, nothing is');
$session->query_safe('COMMIT');
is(wait_closed($node, $id), 'succeeded', 'unlocked, it closes');
is(value($node, "SELECT string_agg(event_type, ' ' ORDER BY event_id) FROM nexus.operation_history WHERE operation_id = '$id'"),
	'NexusOperationScheduled NexusOperationStarted NexusOperationCompleted', 'and has started');
is(value($node, "SELECT operation_token IS NOT NULL AND started_time < close_time FROM nexus.operation WHERE id = '$id'"), 't', 'with its token');

# --- one row is refused: the others are committed

value($node, q{ALTER TABLE nexus.operation ADD CONSTRAINT poison CHECK (summary IS DISTINCT FROM 'poison' OR state = 'scheduled')});
$offset = -s $node->logfile;
my ($bad, @good) = split /\n/, value($node, q{SELECT nexus.schedule('hello', 'scripted', 'hang', '{"for": 200}',
	summary => CASE WHEN n = 1 THEN 'poison' END) FROM generate_series(1, 20) n});
all_closed(\@good, 'a row that is refused does not hold up its group');
ok(poll('the log', sub { slurp_file($node->logfile, $offset) =~ /violates check constraint "poison"/ }), 'the log says why');
is(state_of($node, $bad), 'scheduled', 'it stays as it was');
is(scalar(grep { starts_of($_) != 1 } @good), 0, 'none of the others was sent again');
value($node, 'ALTER TABLE nexus.operation DROP CONSTRAINT poison');
value($node, "SELECT pg_terminate_backend(pid) FROM nexus.workers WHERE kind = 'worker'");
is(wait_closed($node, $bad), 'succeeded', 'without the constraint, the next worker closes it');

# --- one result cannot be written, but its failure can

value($node, q{ALTER TABLE nexus.operation ADD CONSTRAINT poison CHECK (result IS DISTINCT FROM '"poison"')});
my @mixed = split /\n/, value($node, q{SELECT nexus.schedule('hello', 'any', 'o', CASE n WHEN 3 THEN '"poison"'::jsonb ELSE to_jsonb(n) END) FROM generate_series(1, 5) n ORDER BY n});
all_closed(\@mixed, 'a result that cannot be written leaves nothing open');
is(value($node, "SELECT string_agg(state, ' ' ORDER BY input = '\"poison\"') FROM nexus.operations WHERE id IN (" . join(',', map { "'$_'" } @mixed) . ')'),
	'succeeded succeeded succeeded succeeded failed', 'it alone fails');
my ($code, $said) = error_of($node, "SELECT nexus.await('$mixed[2]', '20s')");
is($code, 'NX001', 'with NX001');
like($said, qr/the outcome could not be recorded: .*poison/, 'and what the database said');
value($node, 'ALTER TABLE nexus.operation DROP CONSTRAINT poison');
wait_running($node);

# --- settings of the database that are none of the worker's business

my %settings = (
	default_transaction_read_only => 'on', default_transaction_isolation => 'serializable',
	default_transaction_deferrable => 'on', search_path => 'nowhere', synchronous_commit => 'off', lock_timeout => '1ms',
	statement_timeout => '1ms', idle_in_transaction_session_timeout => '1ms', enable_indexscan => 'off',
	enable_bitmapscan => 'off', enable_seqscan => 'off', row_security => 'off', datestyle => 'German', intervalstyle => 'sql_standard',
	timezone => 'Asia/Kathmandu', bytea_output => 'escape', standard_conforming_strings => 'off', extra_float_digits => '-15',
	session_replication_role => 'replica', plan_cache_mode => 'force_generic_plan');
value($node, join ';', map { "ALTER DATABASE postgres SET $_ = '$settings{$_}'" } sort keys %settings);
$session->quit;
value_here("SELECT pg_terminate_backend(pid) FROM nexus.workers WHERE kind = 'worker'");

# As value(), from a session that puts back what would hinder the test.
sub value_here
{
	my ($sql) = @_;
	local $ENV{PGOPTIONS} = '-c default_transaction_read_only=off -c default_transaction_isolation=read\ committed '
		. '-c lock_timeout=0 -c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c search_path=public '
		. '-c standard_conforming_strings=on -c timezone=UTC -c datestyle=ISO -c bytea_output=hex '
		. '-c default_transaction_deferrable=off -c session_replication_role=origin';
	return value($node, $sql);
}

sub closed_here
{
	my ($id, $state, $name) = @_;
	my $seen = '';
	poll($name, sub { $seen = value_here("SELECT nexus.state('$id')"); $seen =~ /^(?:succeeded|failed|canceled|timed_out|terminated)$/ });
	is($seen, $state, "with odd settings: $name");
	return;
}

my $new = sub { return value_here("SELECT nexus.schedule('hello', 'scripted', $_[0])") };
closed_here($new->(q{'echo', '{"a": 1}'}), 'succeeded', 'synchronous');
closed_here($new->(q{'async', '{"after": 1}', headers => '{"a": "b"}'}), 'succeeded', 'by callback');
closed_here($new->(q{'flaky', '{"times": 2}'}), 'succeeded', 'after retries');
closed_here($new->(q{'operation-error'}), 'failed', 'failed');
closed_here($new->(q{'hang', schedule_to_close_timeout => '200ms'}), 'timed_out', 'time-out');
my $canceled = $new->(q{'async', '{"after": null, "cancel": {"complete": "canceled"}}'});
poll('the start', sub { value_here("SELECT nexus.state('$canceled')") eq 'started' });
is(value_here("SELECT nexus.cancel('$canceled')"), 't', 'with odd settings: cancel');
closed_here($canceled, 'canceled', 'canceled');
my $terminated = $new->(q{'async', '{"after": null}'});
is(value_here("SELECT nexus.terminate('$terminated')"), 't', 'with odd settings: terminate');
closed_here($terminated, 'terminated', 'terminated');
is(value_here(q{SELECT nexus.execute('hello', 'any', 'o', '{"n": 1.50}')}), '{"n": 1.50}', 'with odd settings: execute');
is(value_here('SELECT count(*) FROM nexus.operation WHERE close_time IS NULL'), '0', 'with odd settings: none is left');
like(value_here("SELECT attributes->>'schedule_to_close_timeout' FROM nexus.operation_history WHERE attributes ? 'schedule_to_close_timeout'"),
	qr/^0\.2s$/, 'durations are written as ever');

$handler->stop;
$node->stop;
done_testing();
