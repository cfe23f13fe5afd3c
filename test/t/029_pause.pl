# pause and resume: what stops, what goes on, and what survives.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $QUEUED = 10000;
my $node = nexus_node('main', conf => "nexus_pg.max_in_flight = 200\n");
my $handler = NexusTest::Handler->start;
create_endpoint($node, 'hello', $handler);

sub worker_state
{
	my ($database) = @_;
	$database = 'postgres' unless defined $database;
	return value($node, "SELECT state FROM nexus.workers WHERE kind = 'worker' AND database = '$database'");
}

# All of what was asked is carried out, and this came of it.
sub settles_as
{
	my ($state, $what, $database) = @_;
	my $is;
	ok(poll("the worker is $state", sub {
		$is = worker_state($database);
		return $is eq $state && value($node, "SELECT count(*) FROM nexus.request WHERE kind IN ('pause', 'resume')", $database) eq '0';
	}), $what) or diag("it is $is");
	return;
}

sub pause { value($node, 'SELECT nexus.pause()'); settles_as('paused', 'paused'); return; }
sub resume { value($node, 'SELECT nexus.resume()'); settles_as('running', 'running again'); return; }
sub starts { return $handler->stats->{starts}; }

sub is_blocked
{
	my ($id, $what) = @_;
	my $row = row_of($node, 'pending_operations', $id);
	is("$row->{state} $row->{blocked_reason}", 'blocked paused', $what);
	return;
}

# --- before anything was ever scheduled

is(value($node, 'SELECT count(*) FROM nexus.incarnation'), '0', 'a database without a past');
pause();
my $before = starts();
my $first = schedule($node, 'hello', 'echo', { a => 1 });
is_blocked($first, 'what is scheduled while paused');
my $second = value($node, q{SET synchronous_commit = off; SELECT nexus.schedule('hello', 'any', 'other')});
is_blocked($second, 'and what follows it');
resume();
is(wait_closed($node, $first), 'succeeded', 'it is sent once resumed');
is(wait_closed($node, $second), 'succeeded', 'and so is the other');
is(starts(), $before + 2, 'once');

# --- part of the transaction, and in the order in which it was asked

value($node, 'BEGIN; SELECT nexus.pause(); ROLLBACK');
is(value($node, q{SELECT nexus.execute('hello', 'any', 'o', '1')}), '1', 'a pause that was rolled back did not happen');
is(worker_state(), 'running', 'nor shows');
value($node, 'BEGIN; SAVEPOINT a; SELECT nexus.pause(); ROLLBACK TO a; COMMIT');
is(value($node, q{SELECT nexus.execute('hello', 'any', 'o', '2')}), '2', 'nor one of a subtransaction');

my $together = value($node, q{BEGIN; SELECT nexus.pause(); SELECT nexus.schedule('hello', 'any', 'o'); COMMIT});
$together =~ s/\s+//;
is_blocked($together, 'one scheduled by the transaction that pauses waits');
settles_as('paused', 'paused');
value($node, 'SELECT nexus.pause(); SELECT nexus.pause()');
settles_as('paused', 'pausing again changes nothing');
value($node, 'BEGIN; SELECT nexus.resume(); ROLLBACK');
settles_as('paused', 'a resume that was rolled back did not happen');
value($node, 'BEGIN; SELECT nexus.resume(); SELECT nexus.pause(); SELECT nexus.resume(); COMMIT');
settles_as('running', 'the last of three counts');
is(wait_closed($node, $together), 'succeeded', 'and what waited is sent');
value($node, 'SELECT nexus.pause(), nexus.resume(), nexus.pause()');
settles_as('paused', 'the other way round, in one statement');
value($node, q{SELECT nexus.resume('adopt')});
settles_as('running', 'adopting nothing is just to resume');
pause();
value($node, q{SELECT nexus.resume('terminate')});
settles_as('running', 'and so is terminating nothing');
is(value($node, 'SELECT count(*) FROM nexus.incarnation WHERE NOT paused AND adopted_by IS NULL'), '1', 'nothing is left of it');

value($node, q{BEGIN; SELECT nexus.pause(); PREPARE TRANSACTION 'p'});
is(value($node, q{SELECT nexus.execute('hello', 'any', 'o', '3')}), '3', 'a prepared pause does nothing');
value($node, q{COMMIT PREPARED 'p'});
settles_as('paused', 'until it is committed');
resume();

is(error_of($node, q{SELECT nexus.resume('Adopt')}), '22023', 'a choice that there is not');
my ($sqlstate, $said) = error_of($node, q{SELECT nexus.resume('')});
like($said, qr/HINT:  .*"adopt".*"terminate"/, 'the hint has the choices');
is(error_of($node, 'BEGIN READ ONLY; SELECT nexus.pause()'), '25006', 'not in a read-only transaction');
is(error_of($node, 'BEGIN READ ONLY; SELECT nexus.resume()'), '25006', 'neither of them');
value($node, 'CREATE ROLE operator; CREATE ROLE user1');
is(error_of($node, 'SET ROLE user1; SELECT nexus.pause()'), '42501', 'not for everybody');
is(error_of($node, 'SET ROLE user1; SELECT nexus.resume()'), '42501', 'neither');
value($node, 'GRANT EXECUTE ON FUNCTION nexus.pause(), nexus.resume(text) TO operator; SET ROLE operator; SELECT nexus.pause()');
settles_as('paused', 'for whom it is granted to');
value($node, 'SET ROLE operator; SELECT nexus.resume()');
settles_as('running', 'and back');

# --- with 100 in flight and 10,000 queued

my $flying = value($node, q{SELECT nexus.schedule('hello', 'scripted', 'echo', '{"delay": 2500}') FROM generate_series(1, 100)});
ok($node->poll_query_until('postgres', q{SELECT in_flight FROM nexus.workers WHERE kind = 'worker' AND database = 'postgres'}, '100'),
	'100 in flight');
ok(poll('100 requests', sub { $handler->stats->{in_flight} >= 100 }), 'and have come to the handler');
$before = starts();
value($node, "SELECT count(nexus.schedule('hello', 'any', 'queued')) FROM generate_series(1, $QUEUED)");
pause();
is(value($node, q{SELECT in_flight FROM nexus.workers WHERE kind = 'worker' AND database = 'postgres'}), '100', 'those are left alone');
ok($node->poll_query_until('postgres', q{SELECT count(*) FROM nexus.operations WHERE operation = 'echo' AND state = 'succeeded' AND
	id = ANY (string_to_array('} . join(',', split /\n/, $flying) . q{', ',')::uuid[])}, '100'), 'and finish');
is(value($node, q{SELECT count(*) FROM nexus.operations WHERE operation = 'queued' AND state = 'scheduled'}), $QUEUED, 'the others wait');
is(value($node, q{SELECT count(*) FROM nexus.pending_operations WHERE operation = 'queued' AND blocked_reason = 'paused'}), $QUEUED,
	'and say why');
is(starts(), $before, 'none of them was sent');
resume();
ok($node->poll_query_until('postgres', q{SELECT count(*) FROM nexus.operations WHERE operation = 'queued' AND state = 'succeeded'}, $QUEUED),
	'all of them are sent afterwards');
is(starts(), $before + $QUEUED, 'once each');

# --- what goes on meanwhile

my @started = map { schedule($node, 'hello', 'async', { after => undef, $_ == 2 ? () : (cancel => { complete => 'canceled', after => 0 }) }) } 0 .. 3;
wait_state($node, $_, 'started') for @started;
create_endpoint($node, 'patient', $handler, retry_initial_interval => '2s', retry_max_interval => '2s');
my $backing_off = schedule($node, 'patient', 'flaky', { times => 1 });
wait_state($node, $backing_off, 'backing_off');
pause();
ok($node->poll_query_until('postgres', q{SELECT in_flight FROM nexus.workers WHERE kind = 'worker' AND database = 'postgres'}, '0'), 'nothing is in flight');
my $attempts = $handler->log(request_id => $backing_off);
my $waiting = schedule($node, 'hello', 'echo', undef, schedule_to_close_timeout => '300ms');
my $started_waits = schedule($node, 'hello', 'echo', undef, schedule_to_start_timeout => '300ms');
my $session = $node->background_psql('postgres');
$session->query_until(qr/begun/, "\\echo begun\nSELECT nexus.await('$started[0]');\n");
$handler->complete($started[0], result => { n => 1 });
like($session->query_safe('SELECT 1'), qr/\{"n": 1\}/, 'a callback wakes who awaits it');
$session->quit;
is(wait_closed($node, $waiting), 'timed_out', 'timeouts run');
is(wait_closed($node, $started_waits), 'timed_out', 'that to the start, too');
is(error_of($node, "SELECT nexus.await('$waiting')"), 'NX003', 'as the error says');

my $unsent = schedule($node, 'hello', 'echo');
is(value($node, "SELECT nexus.cancel('$unsent')"), 't', 'a cancel');
is(wait_closed($node, $unsent), 'canceled', 'of one that was never sent closes it');
$before = $handler->stats->{cancels};
value($node, "SELECT nexus.cancel('$started[1]')");
ok(poll('the cancel', sub { (row_of($node, 'pending_operations', $started[1])->{cancellation_state} || '') eq 'blocked' }),
	'that of a started one is recorded');
is(row_of($node, 'pending_operations', $started[1])->{blocked_reason}, 'paused', 'and blocked');
value($node, "SELECT nexus.terminate('$started[2]', 'enough')");
is(wait_closed($node, $started[2]), 'terminated', 'terminate does not wait');

($sqlstate, $said) = error_of($node, q{SELECT nexus.execute('hello', 'any', 'o', '4', await_timeout => '300ms')});
is($sqlstate, 'NX005', 'execute waits as long as it was told to');
my $executed = detail_of($said)->{operation_id};
is_blocked($executed, 'its operation is known');
$session = $node->background_psql('postgres');
$session->query_until(qr/begun/, "\\echo begun\nSELECT nexus.execute('hello', 'any', 'o', '\"late\"');\n");
ok($node->poll_query_until('postgres', q{SELECT count(*) FROM nexus.pending_operations WHERE operation = 'o'}, '2'), 'another waits');

ok($node->poll_query_until('postgres', "SELECT clock_timestamp() > next_attempt_schedule_time + interval '300 ms'
	FROM nexus.operations WHERE id = '$backing_off'"), 'after a while');
is(row_of($node, 'operations', $backing_off)->{state}, 'backing_off', 'what backs off goes on to');
is(scalar $handler->log(request_id => $backing_off), $attempts, 'and is not sent');
is($handler->stats->{cancels}, $before, 'nor a cancel request');
ok(!$handler->log(request_id => $executed), 'nor an execute');
resume();
like($session->query_safe('SELECT 1'), qr/"late"/, 'who waits gets the result');
$session->quit;
is(wait_closed($node, $executed), 'succeeded', 'the other is sent as well');
is(wait_closed($node, $started[1]), 'canceled', 'the cancel request is sent');
is(wait_closed($node, $backing_off), 'succeeded', 'and the retries');

# --- what survives

pause();
my $patient = schedule($node, 'hello', 'any', undef, service => 'any');
$before = starts();
my $pid = value($node, q{SELECT pid FROM nexus.workers WHERE kind = 'worker' AND database = 'postgres'});
value($node, "SELECT pg_terminate_backend($pid)");
ok(poll('another worker', sub { value($node, "SELECT count(*) FROM nexus.workers WHERE kind = 'worker' AND pid <> $pid AND state = 'paused'") }),
	'the end of the worker');
$node->restart;
settles_as('paused', 'a restart of the server');
kill_server($node);
$node->start;
settles_as('paused', 'a crash');
is_blocked($patient, 'what waits is still blocked');
my ($url, $headers) = callback_of($handler, $started[3]);
my $port = listener_port($node);
is(post($url =~ s/:\d+/:$port/r, $headers, '3'), 200, 'a callback is accepted');
is(wait_closed($node, $started[3]), 'succeeded', 'and closes its operation');
is(starts(), $before, 'nothing was sent');

# asked while no worker could take it
$session = $node->background_psql('postgres');
$session->query_safe('BEGIN; SELECT 1 FROM nexus.incarnation FOR UPDATE');
value($node, 'SELECT nexus.resume(); SELECT nexus.pause(); SELECT nexus.resume()');
is(value($node, q{SELECT count(*) FROM nexus.request WHERE kind IN ('pause', 'resume')}), '3', 'requests wait for somebody\'s lock');
kill_server($node);
$session->{run}->finish;
$node->start;
settles_as('running', 'and for the worker after a crash');
is(wait_closed($node, $patient), 'succeeded', 'what waited is sent');

$session = $node->background_psql('postgres');
$session->query_safe('BEGIN; SELECT 1 FROM nexus.incarnation FOR UPDATE');
value($node, 'SELECT nexus.pause()');
ok(poll('the pause', sub { worker_state() eq 'paused' }), 'a pause holds before it could be stored');
my $held = schedule($node, 'hello', 'echo');
is_blocked($held, 'for what comes after it');
$session->query_safe('COMMIT');
$session->quit;
settles_as('paused', 'and is stored once it can be');

# --- another database does not care

$node->safe_psql('postgres', 'CREATE DATABASE other');
create_extension($node, 'other');
create_endpoint($node, 'hello', $handler, database => 'other');
is(value($node, q{SELECT nexus.execute('hello', 'any', 'o', '5')}, 'other'), '5', 'another database sends');
value($node, 'SELECT nexus.pause()', 'other');
settles_as('paused', 'until it is paused itself', 'other');
resume();
settles_as('paused', 'and stays so', 'other');
is(wait_closed($node, $held), 'succeeded', 'whatever the first one does');

# --- it is a dump's and a copy's, too, but not theirs to go on from: 034_copy

$handler->stop;
$node->stop;
done_testing();
