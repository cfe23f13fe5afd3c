# Cancel and terminate: before the first send, in flight, started, closed.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = nexus_node('main');
my $handler = NexusTest::Handler->start;
create_endpoint($node, 'hello', $handler, breaker_failures => 0);

sub cancel { return value($node, "SELECT nexus.cancel('$_[0]', 'why not')"); }
sub terminate { return value($node, "SELECT nexus.terminate('$_[0]', 'enough')"); }
sub cancels { return $handler->log(kind => 'cancel'); }
sub cancellation { return row_of($node, 'operations', $_[0])->{cancellation_state}; }

sub cancels_of
{
	my ($id) = @_;
	return grep { ($_->{headers}{'nexus-operation-token'} // '') eq "token-$id" } cancels();
}

sub started
{
	my ($cancel, %arguments) = @_;
	my $id = schedule($node, $arguments{endpoint} || 'hello', 'async', { after => undef, cancel => $cancel || {} });
	wait_state($node, $id, 'started');
	return $id;
}

sub wait_cancellation
{
	my ($id, $state) = @_;
	return $node->poll_query_until('postgres', "SELECT cancellation_state FROM nexus.operations WHERE id = '$id'", $state);
}

# --- before anything was sent: nothing is sent

my $before = $handler->stats->{requests};
my $id = value($node, q{BEGIN;
	SELECT nexus.schedule('hello', 'scripted', 'echo') AS id \gset
	SELECT :'id';
	SELECT nexus.cancel(:'id', 'changed my mind') AS canceled \gset
	COMMIT});
is(wait_closed($node, $id), 'canceled', 'in the same transaction');
is(history_of($node, $id), 'Scheduled CancelRequested Canceled', 'its events');
is(error_of($node, "SELECT nexus.await('$id')"), 'NX002', 'await');
is(value($node, "SELECT attributes->>'reason', attributes->>'identity' = session_user FROM nexus.operation_history "
	. "WHERE operation_id = '$id' AND event_type LIKE '%CancelRequested'"), 'changed my mind|t', 'scenario 79: who asked for it, and why');

value($node, q{ALTER SERVER hello OPTIONS (ADD enabled 'false')});
$id = schedule($node, 'hello', 'echo');
my $other = schedule($node, 'hello', 'echo');
is(cancel($id), 't', 'while it is blocked');
is(wait_closed($node, $id), 'canceled', 'canceled at once');
is(terminate($other), 't', 'terminate while it is blocked');
is(wait_closed($node, $other), 'terminated', 'terminated at once');
value($node, q{ALTER SERVER hello OPTIONS (SET enabled 'true')});
my $next = schedule($node, 'hello', 'echo');
is(wait_closed($node, $next), 'succeeded', 'the next one');
is($handler->stats->{requests}, $before + 1, 'is the only one that was sent');

# --- rolled back: never asked

$id = started();
value($node, "BEGIN; SELECT nexus.cancel('$id'); ROLLBACK");
value($node, "BEGIN; SAVEPOINT a; SELECT nexus.cancel('$id'); ROLLBACK TO a; SELECT nexus.terminate('$id'); ROLLBACK TO a; COMMIT");
is(cancellation($id), undef, 'a cancel that is rolled back was never there');

# --- started

is(cancel($id), 't', 'scenario 61: started: cancel');
is(cancel($id), 'f', 'scenario 70: again: false');
ok(wait_cancellation($id, 'succeeded'), 'the handler has taken it');
is(cancel($id), 'f', 'and again: false');
is(state_of($node, $id), 'started', 'the operation goes on');
is(history_of($node, $id), 'Scheduled Started CancelRequested CancelRequestCompleted', 'its events');
my @sent = cancels_of($id);
is(scalar(@sent), 1, 'one request');
is("$sent[0]{method} $sent[0]{path}", 'POST /nexus/scripted/async/cancel', 'item 40: to the operation');
is($sent[0]{body_bytes}, 0, 'item 40: without a body');
like($sent[0]{headers}{'request-timeout'}, qr/^\d+ms$/, 'item 42: with a Request-Timeout');
ok(!exists $sent[0]{headers}{'nexus-callback-nexus-pg-token'}, 'without the callback token');
my ($url, $headers) = callback_of($handler, $id);
is(post($url, { %$headers, 'Nexus-Operation-State' => 'succeeded' }, '"done"'), 200, 'it may succeed all the same');
is(value($node, "SELECT nexus.await('$id')"), '"done"', 'and it does');
is(cancel($id), 'f', 'closed: false');
is(terminate($id), 'f', 'closed: terminate is false');

$id = schedule($node, 'hello', 'async', { after => undef }, headers => '{"X-Own": "mine"}');
wait_state($node, $id, 'started');
cancel($id);
ok(wait_cancellation($id, 'succeeded'), "with the caller's headers");
is((cancels_of($id))[0]{headers}{'x-own'}, 'mine', 'item 42: they are sent along');

$id = started({ complete => 'canceled', after => 20 });
cancel($id);
is(wait_closed($node, $id), 'canceled', 'the handler cancels it');
is(history_of($node, $id), 'Scheduled Started CancelRequested CancelRequestCompleted Canceled', 'its events');

# --- refused by the handler

$id = started({ status => 404, message => 'what?' });
cancel($id);
ok(wait_cancellation($id, 'failed'), 'item 43, scenario 62: refused with 404');
is(state_of($node, $id), 'started', 'the operation goes on');
is(history_of($node, $id), 'Scheduled Started CancelRequested CancelRequestFailed', 'its events');
my @attempts = attempts_of($node, $id);
is(join(' ', map { "$_->{kind}:$_->{attempt}:$_->{http_status}" } @attempts), 'cancel:1:404', 'the attempt');
is($attempts[0]{retryable}, JSON::PP::false, 'is not repeated');
is(row_of($node, 'pending_operations', $id)->{cancellation_last_attempt_failure}{message}, 'what?', 'its failure');
is(cancel($id), 'f', 'it cannot be asked again');
is(terminate($id), 't', 'scenario 94: but terminate ends it');
is(wait_closed($node, $id), 'terminated', 'here');

$id = started({ status => 500, times => 2 });
cancel($id);
ok(wait_cancellation($id, 'succeeded'), 'item 43, scenario 63: refused twice with 500, then taken');
@attempts = attempts_of($node, $id);
is(join(' ', map { "$_->{kind}:$_->{attempt}:$_->{http_status}" } @attempts), 'cancel:1:500 cancel:2:500', 'the attempts');
my @times = map { $_->{time} } cancels_of($id);
is(scalar(@times), 3, 'three requests');
cmp_ok($times[1] - $times[0], '>=', 0.04, 'after a while');
cmp_ok($times[2] - $times[1], '>=', 0.08, 'and a longer one');
is(row_of($node, 'pending_operations', $id)->{cancellation_attempt}, 3, 'counted');

create_endpoint($node, 'slow', $handler, breaker_failures => 0, retry_initial_interval => '500ms', retry_max_interval => '500ms');
$id = started({ status => 503, times => 2 }, endpoint => 'slow');
cancel($id);
ok(wait_cancellation($id, 'backing_off'), 'it backs off');
is(terminate($id), 't', 'scenario 94: terminate meanwhile');
wait_closed($node, $id);
my $sent = scalar cancels_of($id);
my $restarted = started({ status => 503, times => 1 }, endpoint => 'slow');
cancel($restarted);
ok(wait_cancellation($restarted, 'backing_off'), 'another one backs off');
$node->restart;
wait_running($node);
ok(wait_cancellation($restarted, 'succeeded'), 'and is sent again after a restart');
is(scalar(cancels_of($id)), $sent, 'scenario 71: a cancel of what was terminated is not');
is(history_of($node, $id), 'Scheduled Started CancelRequested Terminated', 'its events');

# --- while the start request is on its way

$id = schedule($node, 'hello', 'async', { after => undef, delay => 400 });
ok(poll('the request', sub { $handler->log(request_id => $id) }), 'in flight');
is(cancel($id), 't', 'cancel');
ok($node->poll_query_until('postgres', "SELECT cancellation_state IS NOT NULL FROM nexus.operations WHERE id = '$id'"), 'is noted');
is(scalar(cancels_of($id)), 0, 'and held until there is a token');
ok(wait_cancellation($id, 'succeeded'), 'then sent');
is(history_of($node, $id), 'Scheduled CancelRequested Started CancelRequestCompleted', 'its events');

my $sync = schedule($node, 'hello', 'echo', { delay => 300 });
ok(poll('the request', sub { $handler->log(request_id => $sync) }), 'in flight');
cancel($sync);
is(wait_closed($node, $sync), 'succeeded', 'a synchronous one wins');
is(history_of($node, $sync), 'Scheduled CancelRequested Completed', 'its events');

my $backing = schedule($node, 'slow', 'flaky', { times => 1 });
wait_state($node, $backing, 'backing_off');
is(cancel($backing), 't', 'while it backs off');
is(wait_closed($node, $backing), 'succeeded', 'the handler may know of it: tried again');

my $ended = schedule($node, 'hello', 'hang', { for => 300 });
ok(poll('the request', sub { $handler->log(request_id => $ended) }), 'in flight');
is(terminate($ended), 't', 'terminate in flight');
is(wait_closed($node, $ended), 'terminated', 'closes it');
ok(poll('the reply', sub { $handler->stats->{in_flight} <= 1 }), 'the reply is thrown away');
is(state_of($node, $ended), 'terminated', 'it stays');
is(terminate($ended), 'f', 'scenario 94: a second time: false');
is(scalar(cancels_of($ended)), 0, 'the handler is not told');

my $unanswered = schedule($node, 'hello', 'async', { after => undef, cancel => { hang => JSON::PP::true } });
wait_state($node, $unanswered, 'started');
cancel($unanswered);
ok(poll('the cancel request', sub { cancels_of($unanswered) }), 'a cancel request that is not answered');
ok($node->poll_query_until('postgres', q{SELECT queued >= 0 FROM nexus.workers WHERE in_flight > 0 AND kind = 'worker'}),
	'no operation less is queued');
terminate($unanswered);

# --- two sessions, one operation

$id = started();
my $session = $node->background_psql('postgres');
is($session->query_safe("BEGIN; SELECT nexus.cancel('$id')"), 't', 'one session asks');
value($node, "SELECT nexus.terminate('$id')");
is(wait_closed($node, $id), 'terminated', 'another ends it meanwhile');
$session->query_safe('COMMIT');
$session->quit;
ok($node->poll_query_until('postgres', 'SELECT count(*) FROM nexus.request', '0'), 'what was asked too late is taken away');
is(history_of($node, $id), 'Scheduled Started Terminated', 'and leaves no trace');
is(scalar(cancels_of($id)), 0, 'nor a request');

# --- more than one batch, most of them of no use any more

create_endpoint($node, 'pausing', $handler);
value($node, q{SELECT count(nexus.schedule('pausing', 'hello', 'async', '{"after": null}')) FROM generate_series(1, 620)});
my $pending = "SELECT count(*) FROM nexus.pending_operations WHERE endpoint = 'pausing'";
ok($node->poll_query_until('postgres', "$pending AND state = 'started'", '620'), '620 are started');
$node->safe_psql('postgres', "ALTER SERVER pausing OPTIONS (ADD enabled 'false')");
my $all = "FROM (SELECT id FROM nexus.pending_operations WHERE endpoint = 'pausing' ORDER BY id";
value($node, "SELECT count(nexus.cancel(id)) $all) o");
ok($node->poll_query_until('postgres', "$pending AND cancellation_state = 'blocked'", '620'), 'their cancel requests wait');
value($node, "SELECT count(nexus.terminate(id)) $all LIMIT 600) o");
ok($node->poll_query_until('postgres', $pending, '20'), '600 are closed meanwhile');
my $start = time();
$node->safe_psql('postgres', "ALTER SERVER pausing OPTIONS (SET enabled 'true')");
ok($node->poll_query_until('postgres', "$pending AND cancellation_state = 'succeeded'", '20'), 'the others are canceled');
cmp_ok(time() - $start, '<', 20, 'and not only when something else wakes the worker');

# --- who may

$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN');
$id = started();
for my $function (qw(cancel terminate))
{
	is(error_of($node, "SELECT nexus.$function('$id')", user => 'mallory'), '42704', "$function: somebody else's does not exist");
	is(error_of($node, "SELECT nexus.$function(gen_random_uuid())"), '42704', "scenario 90: $function: nor does an unknown one");
	is(value($node, "SELECT nexus.$function(NULL) IS NULL"), 't', "$function of NULL");
	is(error_of($node, "BEGIN READ ONLY; SELECT nexus.$function('$id')"), '25006', "$function in a read-only transaction");
}

$handler->stop;
$node->stop;
done_testing();
