# Retry: what backs off is due at once, what closed without success is done
# again, once.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run ();
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = nexus_node('main', conf => 'restart_after_crash = on');
my $handler = NexusTest::Handler->start;
create_endpoint($node, 'hello', $handler, breaker_failures => 0);
create_endpoint($node, 'slow', $handler, breaker_failures => 0, retry_initial_interval => '1h', retry_max_interval => '1h');
create_endpoint($node, 'nowhere', 'http://127.0.0.1:9');

sub retry { return value($node, "SELECT nexus.retry('$_[0]')"); }
sub starts { return scalar $handler->log(request_id => $_[0], kind => 'start'); }

# Those of the log that name the token of this operation.
sub cancels_of
{
	my ($id) = @_;
	return scalar grep { ($_->{headers}{'nexus-operation-token'} // '') eq "token-$id" } $handler->log(kind => 'cancel');
}

sub pending_requests { return value($node, "SELECT count(*) FROM nexus.request WHERE kind <> 'retry_as_new'"); }

# --- what backs off

my $id = schedule($node, 'slow', 'flaky', { times => 2, status => 503 });
is(wait_state($node, $id, 'backing_off'), 'backing_off', 'it will be tried in an hour');
my $before = row_of($node, 'operations', $id);
is(retry($id), $id, 'retry returns the same id');
ok(poll('the second attempt', sub { starts($id) == 2 }), 'it is tried at once');
ok(poll('its record', sub { row_of($node, 'operations', $id)->{attempt} == 2 }), 'and counted');
is(row_of($node, 'operations', $id)->{state}, 'backing_off', 'it failed once more');
isnt(row_of($node, 'operations', $id)->{next_attempt_schedule_time}, $before->{next_attempt_schedule_time}, 'and backs off anew');
is(value($node, "SELECT next_attempt_schedule_time > now() + interval '40 min' FROM nexus.operations WHERE id = '$id'"), 't',
	'as if nobody had asked');
value($node, "BEGIN; SELECT nexus.retry('$id'); ROLLBACK");
is(value($node, "BEGIN; SELECT nexus.retry('$id') = '$id', nexus.retry('$id') = '$id'; PREPARE TRANSACTION 'retry'"), 't|t',
	'twice in one transaction');
is(starts($id), 2, 'nothing before the commit');
value($node, "COMMIT PREPARED 'retry'");
is(wait_closed($node, $id), 'succeeded', 'and then at once');
is(starts($id), 3, 'scenario 29: by one more request, under the same id');
is(scalar(my @failed = attempts_of($node, $id)), 2, 'two failed attempts are on record');
ok(poll('the requests', sub { pending_requests() == 0 }), 'the request is done with');

my @ids = map { schedule($node, 'slow', 'flaky', { times => 1, status => 503 }) } 1 .. 300;
ok($node->poll_query_until('postgres', "SELECT count(*) FROM nexus.operations WHERE state = 'backing_off'", 300), '300 back off');
is(value($node, "SELECT count(nexus.retry(id)) FROM nexus.operations WHERE state = 'backing_off'"), 300, 'all of them by one statement');
ok($node->poll_query_until('postgres', "SELECT count(*) FROM nexus.operations WHERE state = 'backing_off'", 0), 'all are tried again');

# While nothing is sent the request stands.
$id = schedule($node, 'slow', 'flaky', { times => 1, status => 503 });
wait_state($node, $id, 'backing_off');
value($node, "ALTER SERVER slow OPTIONS (ADD enabled 'false')");
is(retry($id), $id, 'while the endpoint is disabled');
ok($node->poll_query_until('postgres', "SELECT next_attempt_schedule_time <= now() FROM nexus.operations WHERE id = '$id'"), 'it is due');
is(row_of($node, 'pending_operations', $id)->{blocked_reason}, 'endpoint_disabled', 'and waits for that');
value($node, "ALTER SERVER slow OPTIONS (DROP enabled)");
is(wait_closed($node, $id), 'succeeded', 'until it is enabled');

# So it does while the database is paused.
$id = schedule($node, 'slow', 'flaky', { times => 1, status => 503 });
wait_state($node, $id, 'backing_off');
value($node, 'SELECT nexus.pause()');
ok($node->poll_query_until('postgres', "SELECT state FROM nexus.workers WHERE kind = 'worker' AND database = current_database()", 'paused'),
	'the database is paused');
is(retry($id), $id, 'asked meanwhile');
my $failed = schedule($node, 'hello', 'echo', 1, schedule_to_close_timeout => '1ms');
is(wait_closed($node, $failed), 'timed_out', 'one that closes meanwhile');
my $anew = retry($failed);
isnt($anew, $failed, 'is retried as a new one');
is(wait_closed($node, $anew), 'timed_out', 'whose time runs out as well');
is(starts($id) + starts($anew), 1, 'nothing is sent');
value($node, 'SELECT nexus.resume()');
is(wait_closed($node, $id), 'succeeded', 'until it is resumed');

# The worker goes before it has taken the request.
$id = schedule($node, 'slow', 'flaky', { times => 1, status => 503 });
wait_state($node, $id, 'backing_off');
my $pid = nexus_pid($node, 'worker');
kill 'STOP', $pid;
is(retry($id), $id, 'asked of a worker that does not look');
kill 'KILL', $pid;
wait_restarted($node, $pid);
is(wait_closed($node, $id), 'succeeded', 'its successor does');

# --- a cancel request that backs off

$id = schedule($node, 'slow', 'async', { after => undef, cancel => { status => 503, times => 1, complete => 'canceled' } });
wait_state($node, $id, 'started');
is(retry($id), '', 'a started one: nothing to retry');
value($node, "SELECT nexus.cancel('$id')");
ok($node->poll_query_until('postgres', "SELECT cancellation_state FROM nexus.operations WHERE id = '$id'", 'backing_off'), 'its cancel request backs off');
is(cancels_of($id), 1, 'after one request');
is(retry($id), $id, 'retry');
is(wait_closed($node, $id), 'canceled', 'it is delivered at once');
is(cancels_of($id), 2, 'by the second request');

# --- closed without success: a new operation

my %made = (
	failed => sub { schedule($node, 'hello', 'operation-error', { state => 'failed' }, @_) },
	canceled => sub { schedule($node, 'hello', 'operation-error', { state => 'canceled' }, @_) },
	timed_out => sub { schedule($node, 'hello', 'hang', { for => 100000 }, schedule_to_close_timeout => '100ms', @_) },
	terminated => sub {
		my $started = schedule($node, 'hello', 'async', { after => undef }, @_);
		wait_state($node, $started, 'started');
		value($node, "SELECT nexus.terminate('$started')");
		return $started;
	});
for my $state (sort keys %made)
{
	$id = $made{$state}->(summary => 'a summary', headers => '{"x-a": "b"}', cancellation_type => 'wait_cancellation_completed');
	is(wait_closed($node, $id), $state, "one that is $state");
	my $old = row_of($node, 'operations', $id);
	my $new_id = retry($id);
	isnt($new_id, $id, 'retry makes a new operation');
	my $new = row_of($node, 'operations', $new_id);
	is($new->{retry_of}, $id, 'which says what it is a retry of');
	is_deeply([ map { $new->{$_} } qw(endpoint service operation owner summary headers input input_content_type schedule_to_close_timeout) ],
		[ map { $old->{$_} } qw(endpoint service operation owner summary headers input input_content_type schedule_to_close_timeout) ],
		'all else is as it was');
	is(retry($id), $new_id, 'once more: the same one');
	ok(poll('its request', sub { starts($new_id) > 0 }), 'it is sent, under its own request id');
	is(starts($id), 1, 'the old one is not');
	is_deeply(row_of($node, 'operations', $id), $old, 'and stays as it is');
	value($node, "SELECT nexus.terminate('$new_id')");
	wait_closed($node, $new_id);
	is(retry($id), $new_id, 'also when the new one has closed');
	my $third = retry($new_id);
	is(row_of($node, 'operations', $third)->{retry_of}, $new_id, 'which can be retried itself');
}
$id = schedule($node, 'hello', 'echo', 1);
wait_closed($node, $id);
is(retry($id), '', 'one that succeeded: nothing to retry');
is(value($node, "SELECT nexus.retry(NULL) IS NULL"), 't', 'NULL');
is(error_of($node, 'SELECT nexus.retry(gen_random_uuid())'), '42704', 'one that is not there');
is(error_of($node, "BEGIN READ ONLY; SELECT nexus.retry('$id')"), '25006', 'in a read-only transaction');
is(value($node, "BEGIN; SELECT nexus.schedule('hello', 'scripted', 'echo') AS id \\gset\nSELECT nexus.retry(:'id') IS NULL; COMMIT"), 't',
	'one of the same transaction: nothing to retry');

# Bytes that are no JSON, and no body at all.
$id = value($node, q{SELECT nexus.schedule_bytes('hello', 'none', 'none', '\x00ff', 'application/x-thing', headers =>
	'{"X-Script": "{\"status\": 404}"}')});
my $empty = schedule($node, 'hello', 'handler-error', undef, headers => '{"X-Script": "{\"status\": 404}"}');
is(wait_closed($node, $_), 'failed', 'a final error') for $id, $empty;
is(value($node, "SELECT input_bytes, input_content_type, input IS NULL FROM nexus.operations WHERE id = '" . retry($id) . "'"),
	'\x00ff|application/x-thing|t', 'the same bytes');
is(value($node, "SELECT input_bytes IS NULL, input IS NULL FROM nexus.operations WHERE id = '" . retry($empty) . "'"), 't|t', 'no body again');

# A rollback leaves nothing of it; timeouts run from the retry.
$id = $made{timed_out}->();
wait_closed($node, $id);
my $count = value($node, 'SELECT count(*) FROM nexus.operations');
value($node, "BEGIN; SELECT nexus.retry('$id'); ROLLBACK");
is(value($node, 'SELECT count(*) FROM nexus.operations'), $count, 'rolled back');
value($node, "ALTER SERVER hello OPTIONS (ADD max_schedule_to_close_timeout '50ms')");
my $again = retry($id);
is(value($node, "SELECT schedule_to_close_timeout FROM nexus.operations WHERE id = '$again'"), '00:00:00.05',
	'limits of the endpoint are those of now');
is(wait_closed($node, $again), 'timed_out', 'its time runs from now on');
value($node, "ALTER SERVER hello OPTIONS (DROP max_schedule_to_close_timeout)");

# In bulk, and by many sessions at once: one new operation for each old one.
@ids = map { schedule($node, 'hello', 'operation-error', { state => 'failed' }, summary => 'bulk') } 1 .. 50;
wait_closed($node, $_) for @ids;
my $directory = PostgreSQL::Test::Utils::tempdir();
append_to_file("$directory/retry.sql", "SELECT count(nexus.retry(id)) FROM nexus.operations WHERE summary = 'bulk' AND retry_of IS NULL;\n");
my ($out, $err) = ('', '');
IPC::Run::run([ 'pgbench', '-n', '-c', 8, '-j', 2, '-t', 5, '-f', "$directory/retry.sql", $node->connstr('postgres') ],
	'>', \$out, '2>', \$err);
like($out, qr{actually processed: 40/40}, '8 sessions retry 50 operations') or diag($err);
is(value($node, "SELECT count(*), count(DISTINCT retry_of) FROM nexus.operations WHERE summary = 'bulk' AND retry_of IS NOT NULL"), '50|50',
	'one new operation of each');

# --- keys

$id = schedule($node, 'hello', 'operation-error', { state => 'failed' }, operation_key => 'order');
is(wait_closed($node, $id), 'failed', 'one with a key');
$again = retry($id);
is(row_of($node, 'operations', $again)->{operation_key}, 'order', 'its key goes on with the new one');
is(value($node, "SELECT string_agg(generation || ' ' || (operation_id = '$again'), ', ' ORDER BY generation) FROM nexus.operation_key"),
	'1 false, 2 true', 'as the next generation');
is(wait_closed($node, $again), 'failed', 'which fails as well');
my $third = schedule($node, 'hello', 'operation-error', { state => 'failed', delay => 60000 }, operation_key => 'order');
isnt($third, $again, 'a later one is scheduled with this key');
my ($code, $said) = error_of($node, "SELECT nexus.retry('$again')");
is($code, '55000', 'an earlier one is not retried beside it');
like($said, qr/\Q$again\E.*"order".*DETAIL:.*$third.*HINT:.*open/s, 'and the error says why');
is(retry($id), $again, 'what was retried before is still found');
value($node, "SELECT nexus.terminate('$third')");
wait_closed($node, $third);
my $fourth = retry($again);
is(value($node, "SELECT max(generation) FROM nexus.operation_key WHERE operation_id = '$fourth'"), 4, 'one that closed without success gives way');
value($node, "SELECT nexus.terminate('$fourth')");
wait_closed($node, $fourth);
$id = schedule($node, 'hello', 'flaky', { times => 1, status => 404 }, operation_key => 'done');
is(wait_closed($node, $id), 'failed', 'one that fails');
is(wait_closed($node, schedule($node, 'hello', 'flaky', { times => 0 }, operation_key => 'done')), 'succeeded', 'and a later one that succeeds');
($code, $said) = error_of($node, "SELECT nexus.retry('$id')");
is($code, '55000', 'what has been done since is not done again');
like($said, qr/HINT:.*succeeded/, 'and the error says so');

# --- who may, where to

$node->safe_psql('postgres', <<'SQL');
CREATE ROLE alice LOGIN; CREATE ROLE mallory LOGIN; CREATE ROLE boss LOGIN IN ROLE alice;
GRANT USAGE ON FOREIGN SERVER hello TO alice, mallory;
SQL
$node->psql('postgres', "SELECT nexus.schedule('hello', 'scripted', 'operation-error', '{\"state\": \"failed\"}')",
	stdout => \$id, extra_params => [ '-U', 'alice' ]);
is(wait_closed($node, $id), 'failed', "somebody's operation");
is(error_of($node, "SELECT nexus.retry('$id')", user => 'mallory'), '42704', "is not there for others");
value($node, 'REVOKE USAGE ON FOREIGN SERVER hello FROM alice');
($code, $said) = error_of($node, "SELECT nexus.retry('$id')", user => 'boss');
is($code, '42501', 'its owner must be allowed to call the endpoint');
like($said, qr/"alice"/, 'the error says who that is');
value($node, 'GRANT USAGE ON FOREIGN SERVER hello TO alice');
$node->psql('postgres', "SELECT nexus.retry('$id')", stdout => \$again, extra_params => [ '-U', 'boss' ]);
is(row_of($node, 'operations', $again)->{owner}, 'alice', "the new one is the owner's, whoever asks");
is(wait_closed($node, $again), 'failed', 'and goes its way');
$node->safe_psql('postgres', 'CREATE ROLE leaver LOGIN; GRANT USAGE ON FOREIGN SERVER hello TO PUBLIC');
$node->psql('postgres', "SELECT nexus.schedule('hello', 'scripted', 'operation-error', '{\"state\": \"failed\"}')",
	stdout => \$id, extra_params => [ '-U', 'leaver' ]);
wait_closed($node, $id);
value($node, 'DROP ROLE leaver');
for my $public ('that anybody may call', 'that some may call')
{
	($code, $said) = error_of($node, "SELECT nexus.retry('$id')");
	is($code, '42704', "an owner that is gone, at an endpoint $public");
	like($said, qr/owner of operation \Q$id\E does not exist.*HINT:/s, 'the error says so');
	value($node, 'REVOKE USAGE ON FOREIGN SERVER hello FROM PUBLIC');
}
$id = schedule($node, 'nowhere', 'echo', 1, schedule_to_close_timeout => '100ms');
wait_closed($node, $id);
value($node, 'DROP SERVER nowhere');
is(error_of($node, "SELECT nexus.retry('$id')"), 'NX007', 'an endpoint that is gone');

# --- retention takes the record of a retry along

$node->append_conf('postgresql.conf', 'nexus_pg.retention = 1s');
$node->reload;
value($node, 'SELECT count(nexus.terminate(id)) FROM nexus.pending_operations');
ok($node->poll_query_until('postgres', 'SELECT (SELECT count(*) FROM nexus.operation) + (SELECT count(*) FROM nexus.request) '
	. '+ (SELECT count(*) FROM nexus.operation_key)', 0), 'nothing is left of any of them');

$handler->stop;
$node->stop;
done_testing();
