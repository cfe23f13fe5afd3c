# Scenarios of a caller that belong nowhere else: failures kept whole, endpoints
# that go and come back, timers that come too late, what is shown of everything.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my @LATER = (retry_initial_interval => '1h', retry_max_interval => '1h');
my $JSON = { 'Content-Type' => 'application/json' };
my $node = nexus_node('main');
my $handler = NexusTest::Handler->start;
create_endpoint($node, 'hello', $handler, breaker_failures => 0);
create_endpoint($node, 'later', $handler, breaker_failures => 0, @LATER);

sub starts { return scalar $handler->log(request_id => $_[0], kind => 'start'); }

# The failure in DETAIL of what await raises, and its SQLSTATE.
sub raised
{
	my ($id) = @_;
	my ($code, $said) = error_of($node, "SELECT nexus.await('$id')");
	return ($code, detail_of($said)->{failure});
}

# --- failures are kept as they came, with all their causes

my $cause = { message => 'no money', stackTrace => 'in line 1', metadata => { type => 'mine', note => 'x' }, details => { n => [ 1, undef ] },
	cause => { message => 'the innermost', metadata => { other => 'x' } } };
for my $case ([ 'scenario 4', 'failed', 'NX001', 'Failed' ], [ 'scenario 5', 'canceled', 'NX002', 'Canceled' ])
{
	my ($name, $state, $code, $event) = @$case;
	my $failure = { message => "it $state", metadata => { type => 'nexus.OperationError' }, details => { state => $state }, cause => $cause };
	my $id = schedule($node, 'hello', 'reply', { status => 424, headers => $JSON, body => json_text($failure) });

	is(wait_closed($node, $id), $state, "$name: 424 $state");
	is_deeply(row_of($node, 'operations', $id)->{failure}, $failure, "$name: the failure with its causes");
	my ($sqlstate, $detail) = raised($id);
	is($sqlstate, $code, "$name: SQLSTATE");
	is_deeply($detail, $failure, "$name: as await tells it");
	is(history_of($node, $id), "Scheduled $event", "$name: events");
	is_deeply(json_of(value($node, "SELECT attributes->'failure' FROM nexus.operation_history WHERE operation_id = '$id' AND event_id = 2")),
		$failure, "$name: in its event");
	is(scalar(attempts_of($node, $id)), 0, "$name: no attempt has failed");
}

my $failure = { message => 'no such account', metadata => { type => 'nexus.HandlerError' }, details => { type => 'NOT_FOUND' }, cause => $cause };
my $id = schedule($node, 'hello', 'reply', { status => 404, headers => $JSON, body => json_text($failure) });
is(wait_closed($node, $id), 'failed', 'scenario 8: a final handler error');
is(starts($id), 1, 'scenario 8: one request');
is_deeply((raised($id))[1], $failure, 'scenario 93: what the handler said is the outcome, not wrapped');

# --- endpoints that go, and that come back

value($node, <<'SQL');
CREATE ROLE ops LOGIN;
GRANT USAGE ON FOREIGN DATA WRAPPER nexus TO ops;
SQL
value($node, "SET ROLE ops; CREATE SERVER leaving FOREIGN DATA WRAPPER nexus OPTIONS (url '" . $handler->url . "', enabled 'false')");
$id = schedule($node, 'leaving', 'echo');
is(row_of($node, 'pending_operations', $id)->{blocked_reason}, 'endpoint_disabled', 'an operation waits for its endpoint');
value($node, 'DROP OWNED BY ops');
is(wait_closed($node, $id), 'failed', 'scenario 17: its endpoint goes: failed');
my ($code, $detail) = raised($id);
is("$code $detail->{details}{type} $detail->{message}", 'NX001 NOT_FOUND endpoint not registered', 'scenario 17: with this failure');
is(starts($id), 0, 'scenario 17: nothing was sent');
is(history_of($node, $id), 'Scheduled Failed', 'scenario 17: its events');

my $moved = NexusTest::Handler->start;
create_endpoint($node, 'again', $handler);
is(wait_closed($node, schedule($node, 'again', 'echo')), 'succeeded', 'an endpoint');
value($node, 'DROP SERVER again');
create_endpoint($node, 'again', $moved);
is(wait_closed($node, schedule($node, 'again', 'echo')), 'succeeded', 'scenario 18: made anew it is served');
is($moved->stats->{starts}, 1, 'scenario 18: at its new address');
value($node, 'ALTER SERVER again RENAME TO renamed');
is(wait_closed($node, schedule($node, 'renamed', 'echo')), 'succeeded', 'scenario 18: and under another name');

# --- a second attempt, and timers of what has changed meanwhile

my $port = PostgreSQL::Test::Cluster::get_free_port();
create_endpoint($node, 'moving', "http://127.0.0.1:$port", @LATER);
$id = schedule($node, 'moving', 'hang');
wait_state($node, $id, 'backing_off');
value($node, "ALTER SERVER moving OPTIONS (SET url '" . $handler->url . "')");
value($node, "SELECT nexus.retry('$id')");
ok(poll('the second attempt', sub { starts($id) == 1 }), 'a second attempt is under way');
my $row = row_of($node, 'pending_operations', $id);
is("$row->{state} $row->{attempt} " . ($row->{next_attempt_schedule_time} // '-'), 'scheduled 1 -', 'scenario 28: no next attempt is shown then');
ok($row->{last_attempt_failure}, 'scenario 28: but still why the first failed');
value($node, "SELECT nexus.terminate('$id')");

create_endpoint($node, 'quick', $handler, breaker_failures => 0, retry_initial_interval => '300ms', retry_max_interval => '300ms');
my %stale;
for my $way ('completed', 'terminated', 'timed out')
{
	$id = schedule($node, 'quick', 'handler-error', { status => 503 }, $way eq 'timed out' ? (schedule_to_close_timeout => '200ms') : ());
	$stale{$id} = $way;
	wait_state($node, $id, 'backing_off|timed_out');
	if ($way eq 'completed')
	{
		my ($url, $headers) = callback_of($handler, $id);
		is(post($url, $headers, '1'), 200, 'a completion while it backs off');
	}
	value($node, "SELECT nexus.terminate('$id')") if $way eq 'terminated';
	wait_closed($node, $id);
}
is(wait_closed($node, schedule($node, 'quick', 'flaky', { times => 1 })), 'succeeded', 'another one fails and is tried again');
is(join(' ', map { starts($_) } sort keys %stale), '1 1 1', 'scenario 29: none that has closed is tried again');

# --- what is shown

$id = schedule($node, 'later', 'async', { after => undef, cancel => { status => 503 } }, schedule_to_close_timeout => '1 hour',
	schedule_to_start_timeout => '20 min', start_to_close_timeout => '30 min', headers => '{"x-own": "mine"}', summary => 'all of it',
	operation_key => 'order 17');
wait_state($node, $id, 'started');
value($node, "SELECT nexus.cancel('$id', 'too expensive')");
ok($node->poll_query_until('postgres', "SELECT cancellation_state FROM nexus.operations WHERE id = '$id'", 'backing_off'), 'one with everything');
is(value($node, q{SELECT concat_ws(' ', id, state, owner = session_user::regrole, input->>'after', headers->>'x-own', summary, operation_token,
	schedule_to_close_timeout, schedule_to_start_timeout, start_to_close_timeout, attempt, cancellation_type, cancellation_state,
	started_time > scheduled_time, close_time) FROM nexus.operations WHERE operation_key = 'order 17'}),
	"$id started t mine all of it token-$id 01:00:00 00:20:00 00:30:00 1 wait_cancellation_completed backing_off t",
	'scenario 88: found by its key, with all that describes it');
is(value($node, q{SELECT deadline - scheduled_time <= '1 hour', cancellation_attempt, cancellation_requested_time >= started_time,
	cancellation_last_attempt_failure IS NOT NULL FROM nexus.pending_operations WHERE id = } . quote($id)), 't|1|t|t',
	'scenario 88: while it is open, what is due and what becomes of its cancel request');

# --- terminate, after all of that

is(value($node, "SELECT nexus.terminate('$id', 'enough of it')"), 't', 'scenario 94: terminate takes what is being canceled');
is(wait_closed($node, $id), 'terminated', 'scenario 94: terminated');
is(value($node, "SELECT attributes #>> '{failure,message}', attributes->>'identity' = session_user FROM nexus.operation_history "
	. "WHERE operation_id = '$id' AND event_type = 'NexusOperationTerminated'"), 'enough of it|t', 'scenario 94: by whom, and why');
is((raised($id))[0], 'NX004', 'scenario 94: SQLSTATE');
is(value($node, "SELECT nexus.terminate('$id', 'once more')"), 'f', 'scenario 94: a second time: false');
is(row_of($node, 'operations', $id)->{failure}{message}, 'enough of it', 'scenario 94: the first reason stands');
is(join(' ', map { "$_->{kind} $_->{http_status}" } attempts_of($node, $id)), 'cancel 503', 'scenario 94: its failed attempts are kept');
$id = schedule($node, 'later', 'handler-error', { status => 503, message => 'busy' });
wait_state($node, $id, 'backing_off');
value($node, "SELECT nexus.terminate('$id')");
is(wait_closed($node, $id), 'terminated', 'scenario 94: one that backs off');
is((attempts_of($node, $id))[0]{failure}{message}, 'busy', 'scenario 94: why it did is still there');

# --- a cancel request refused, and one accepted

for my $case ([ 400, 'failed', 'Failed' ], [ 202, 'succeeded', 'Completed' ])
{
	my ($status, $state, $event) = @$case;
	$id = schedule($node, 'hello', 'async', { after => undef, cancel => { status => $status } });
	wait_state($node, $id, 'started');
	value($node, "SELECT nexus.cancel('$id')");
	ok($node->poll_query_until('postgres', "SELECT cancellation_state FROM nexus.operations WHERE id = '$id'", $state), "item 108: $status: $state");
	is(history_of($node, $id), "Scheduled Started CancelRequested CancelRequest$event", "item 108: $status: events");
}

$_->stop for $handler, $moved;
$node->stop;
done_testing();
