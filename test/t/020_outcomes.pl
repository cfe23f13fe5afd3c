# Every kind of outcome once: its state, SQLSTATE, message, DETAIL, events and
# failed attempts; what is shown while it is open; the counters at the end.
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
my %closed;

# Follow an operation to its end.
#	events and code are required; like, attempts, arguments and close
#	(a function called with the id once it is started) are not.
sub outcome
{
	my ($name, $operation, $input, $state, %expect) = @_;
	my $id = schedule($node, 'hello', $operation, $input, %{ $expect{arguments} || {} });

	if ($expect{close})
	{
		wait_state($node, $id, $expect{from} || 'started');
		$expect{close}->($id);
	}
	is(wait_closed($node, $id), $state, "$name: $state");
	is(history_of($node, $id), $expect{events}, "$name: events");
	is(row_of($node, 'pending_operations', $id), undef, "scenario 80: $name: no longer pending");
	my ($code, $said) = error_of($node, "SELECT nexus.await('$id')");
	is($code, $expect{code}, "$name: SQLSTATE");
	like($said, $expect{like}, "$name: message") if $expect{like};
	if ($code && $code ne 'NX008')
	{
		my $detail = detail_of($said);
		is(join(' ', sort keys %$detail), 'endpoint failure operation operation_id operation_token service',
			"$name: DETAIL for programs");
		is($detail->{operation_id}, $id, "$name: DETAIL has the id");
		like($said, qr/HINT:  \S/, "$name: HINT");
	}
	my @attempts = attempts_of($node, $id);
	cmp_ok(scalar(@attempts), $expect{attempts_at_most} ? '<=' : '==', $expect{attempts_at_most} || $expect{attempts} || 0,
		"$name: failed attempts");
	$closed{$state}++;
	return $id;
}

sub result { return value($node, "SELECT nexus.await('$_[0]')"); }

# --- success

my $id = outcome('in the reply', 'echo', { message => 'hi' }, 'succeeded', code => '', events => 'Scheduled Completed');
is(result($id), '{"message": "hi"}', 'its result');
my $row = row_of($node, 'operations', $id);
is($row->{attempt}, 1, 'at the first attempt');
is($row->{started_time}, undef, 'scenario 1: it was never started');
is($row->{result_content_type}, 'application/json', 'the type of its result');
is(row_of($node, 'pending_operations', $id), undef, 'it is not pending');
is(value($node, "SELECT nexus.result('$id')"), '{"message": "hi"}', 'result() shows it');

$id = outcome('without a body', 'empty', undef, 'succeeded', code => '', events => 'Scheduled Completed');
is(value($node, "SELECT nexus.await('$id') IS NULL"), 't', 'item 16, scenario 21: reads as NULL');

$id = outcome('of JSON null', 'reply', { headers => { 'Content-Type' => 'application/json' }, body => 'null' },
	'succeeded', code => '', events => 'Scheduled Completed');
is(result($id), 'null', 'reads as JSON null');

$id = outcome('not JSON', 'reply', { headers => { 'Content-Type' => 'text/plain' }, body => 'words' },
	'succeeded', code => 'NX008', events => 'Scheduled Completed', like => qr/text\/plain/);
is(value($node, "SELECT result IS NULL AND result_bytes = 'words' FROM nexus.operations WHERE id = '$id'"), 't',
	'its bytes are kept');

$id = outcome('in chunks', 'reply', { headers => { 'Content-Type' => 'application/json' }, body => '[1]', chunked => \1 },
	'succeeded', code => '', events => 'Scheduled Completed');
is(result($id), '[1]', 'item 39: is put together');

$id = outcome('by callback', 'async', { result => { n => 1 }, after => 20 }, 'succeeded', code => '',
	events => 'Scheduled Started Completed');
is(result($id), '{"n": 1}', 'its result');
is(row_of($node, 'operations', $id)->{operation_token}, "token-$id", 'scenario 2: the token of the handler');

# --- not a success

outcome('in the reply', 'operation-error', { message => 'no money' }, 'failed', code => 'NX001',
	events => 'Scheduled Failed',
	like => qr/ERROR:  NX001: operation "operation-error" of service "scripted" at endpoint "hello" failed: no money$/m);
outcome('in the reply, old form', 'operation-error', { message => 'no money', style => 'old' }, 'failed',
	code => 'NX001', events => 'Scheduled Failed', like => qr/failed: no money/);
outcome('in the reply', 'operation-error', { state => 'canceled', message => 'too late' }, 'canceled',
	code => 'NX002', events => 'Scheduled Canceled', like => qr/was canceled: too late/);
outcome('in the reply, old form', 'operation-error', { state => 'canceled', style => 'old' }, 'canceled',
	code => 'NX002', events => 'Scheduled Canceled');
outcome('by callback', 'async', { state => 'failed', failure => { message => 'worse' } }, 'failed',
	code => 'NX001', events => 'Scheduled Started Failed', like => qr/failed: worse/);
outcome('by callback', 'async', { state => 'canceled', failure => { message => 'stopped' } }, 'canceled',
	code => 'NX002', events => 'Scheduled Started Canceled', like => qr/was canceled: stopped/);
outcome('by the answer 400', 'handler-error', { status => 400, message => 'bad input' }, 'failed',
	code => 'NX001', events => 'Scheduled Failed', attempts => 1, like => qr/failed: bad input/);
outcome('by a last word of 500', 'handler-error', { status => 500, retryable => \0 }, 'failed',
	code => 'NX001', events => 'Scheduled Failed', attempts => 1);
outcome('by a result over the limit', 'huge', undef, 'failed', code => 'NX001', events => 'Scheduled Failed',
	attempts => 1, like => qr/max_payload_size/);
outcome('by a result over the limit, in chunks', 'huge', { chunked => \1 }, 'failed', code => 'NX001',
	events => 'Scheduled Failed', attempts => 1);
# whether the request or the operation times out first is a matter of luck
outcome('before the reply', 'hang', undef, 'timed_out', code => 'NX003', events => 'Scheduled TimedOut', attempts_at_most => 1,
	arguments => { schedule_to_close_timeout => '300ms' }, like => qr/timed out: schedule_to_close_timeout/);
outcome('after the start', 'async', { after => undef }, 'timed_out', code => 'NX003',
	events => 'Scheduled Started TimedOut', arguments => { start_to_close_timeout => '300ms' },
	like => qr/timed out: start_to_close_timeout/);

# --- ended from here

$id = outcome('by terminate', 'async', { after => undef }, 'terminated', code => 'NX004',
	events => 'Scheduled Started Terminated', like => qr/was terminated: enough/,
	close => sub { is(value($node, "SELECT nexus.terminate('$_[0]', 'enough')"), 't', 'terminate takes it'); });
is($handler->stats->{cancels}, 0, 'scenario 94: the handler is not told');
like(value($node, "SELECT attributes FROM nexus.operation_history WHERE operation_id = '$id' AND event_type LIKE '%Terminated'"),
	qr/"message": "enough"/, 'scenario 94: its event has the reason');

outcome('by cancel', 'async', { after => undef, cancel => { complete => 'canceled', after => 50 } }, 'canceled',
	code => 'NX002', events => 'Scheduled Started CancelRequested CancelRequestCompleted Canceled',
	close => sub { is(value($node, "SELECT nexus.cancel('$_[0]')"), 't', 'cancel takes it'); });
is($handler->stats->{cancels}, 1, 'the handler was told once');

# --- what breaks the protocol or the connection is tried again

for my $case ([ 'a closed connection', 'close', undef, 0 ], [ 'a reset', 'reset', undef, 0 ],
	[ 'no HTTP', 'garbage', undef, 0 ], [ 'an empty token', 'bad-started', { body => '{"token":"","state":"running"}' }, 201 ],
	[ 'text for JSON', 'bad-started', { body => 'text' }, 201 ], [ 'a redirect', 'redirect', undef, 307 ],
	[ 'a status of no meaning', 'reply', { status => 418 }, 418 ], [ 'a bad link', 'reply', { headers => { 'Nexus-Link' => 'x' } }, 200 ])
{
	my ($name, $operation, $input, $status) = @$case;
	$id = schedule($node, 'hello', $operation, $input, schedule_to_close_timeout => '1 min');
	wait_state($node, $id, 'backing_off');
	my ($attempt) = attempts_of($node, $id);
	is($attempt->{retryable}, JSON::PP::true, "scenario 22: $name: is tried again");
	is($attempt->{http_status} // 0, $status, "$name: status of the attempt");
	ok($attempt->{failure}{message}, "$name: has a message") or diag(json_text($attempt));
	value($node, "SELECT nexus.terminate('$id')");
	is(wait_closed($node, $id), 'terminated', "$name: can be ended while it backs off");
	$closed{terminated}++;
}

# --- while it is open

create_endpoint($node, 'slow', $handler, retry_initial_interval => '1h', retry_max_interval => '1h');
my $hanging = schedule($node, 'slow', 'hang', undef, summary => 'in flight', schedule_to_close_timeout => '1 hour');
my $backing = schedule($node, 'slow', 'handler-error', { status => 503, message => 'busy' });
my $started = schedule($node, 'slow', 'async', { after => undef });
wait_state($node, $backing, 'backing_off');
wait_state($node, $started, 'started');
ok(poll('the hanging request', sub { $handler->log(request_id => $hanging) }), 'a request is on its way');

$row = row_of($node, 'pending_operations', $hanging);
is("$row->{state} $row->{attempt} $row->{summary}", 'scheduled 0 in flight', 'scenario 79: in flight: scheduled, with its summary');
is(value($node, "SELECT deadline - scheduled_time FROM nexus.pending_operations WHERE id = '$hanging'"), '01:00:00',
	'deadline');
$row = row_of($node, 'pending_operations', $backing);
is("$row->{state} $row->{attempt}", 'backing_off 1', 'backing off: attempt 1');
is($row->{last_attempt_failure}{message}, 'busy', 'scenario 7: with the failure');
is($row->{last_attempt_failure}{details}{type}, 'UNAVAILABLE', 'and its type');
ok($row->{next_attempt_schedule_time} gt $row->{last_attempt_complete_time}, 'and when it is tried again');
my ($attempt) = attempts_of($node, $backing);
is("$attempt->{kind} $attempt->{attempt} $attempt->{http_status}", 'start 1 503', 'the attempt is logged');
$row = row_of($node, 'pending_operations', $started);
is("$row->{state} $row->{operation_token}", "started token-$started", 'started: the token');
is(value($node, "SELECT scheduled, backing_off, started, in_flight FROM nexus.endpoints WHERE endpoint = 'slow'"), '1|1|1|1',
	'nexus.endpoints counts them');
is(value($node, "SELECT last_failure FROM nexus.endpoints WHERE endpoint = 'slow'"), 'busy', 'and has the last failure');
is(history_of($node, $started), 'Scheduled Started', 'events so far');

# --- links

my @links = ({ url => 'temporal:///namespaces/n/workflows/w/r/history', type => 'temporal.api.common.v1.Link.WorkflowEvent' },
	{ url => 'https://example.com/x', type => 'x' });
for my $operation ('echo', 'async', 'empty')
{
	$id = schedule($node, 'hello', $operation, $operation eq 'empty' ? undef : { links => \@links },
		$operation eq 'empty' ? (headers => json_text({ 'X-Script' => json_text({ links => \@links }) })) : ());
	is(wait_closed($node, $id), 'succeeded', "$operation with links");
	$closed{succeeded}++;
	is_deeply(row_of($node, 'operations', $id)->{links}, \@links, 'item 22: its links, in their order');
	my $type = $operation eq 'async' ? 'Started' : 'Completed';
	is_deeply(json_of(value($node, "SELECT attributes->'links' FROM nexus.operation_history WHERE operation_id = '$id' "
		. "AND event_type LIKE '%$type'")), \@links, "and in the event $type");
}

# --- the request

$id = schedule($node, 'hello', 'async', { n => 1 }, headers => '{"X-Own": "mine"}', schedule_to_close_timeout => '1 min');
wait_closed($node, $id);
$closed{succeeded}++;
my ($start) = $handler->log(request_id => $id, kind => 'start');
is($start->{method}, 'POST', 'POST');
like($start->{path}, qr{^/nexus/scripted/async\?callback=http%3A%2F%2F127\.0\.0\.1%3A\d+%2Fnexus%2Fcallback%2F}i, 'to the operation');
my $headers = $start->{headers};
is($headers->{'x-own'}, 'mine', "item 6, scenario 26: the caller's header");
is($headers->{'content-type'}, 'application/json', 'item 9: the type of the input');
is($headers->{'temporal-nexus-failure-support'}, 'true', 'causes are asked for');
like($headers->{'nexus-callback-nexus-pg-token'}, qr/^1\.1\.[\w-]{43}$/, 'item 5, scenario 3: the token for the callback');
like($headers->{'request-timeout'}, qr/^\d+ms$/, 'Request-Timeout');
like($headers->{'operation-timeout'}, qr/^(?:60000|59\d{3})ms$/, 'Operation-Timeout');
ok(!exists $headers->{'nexus-callback-source'}, 'no Nexus-Callback-Source');
is_deeply(json_of($start->{body}), { n => 1 }, 'the input');

$id = value($node, "SELECT nexus.schedule('hello', 'Ser/vic e', 'a b/c', NULL)");
wait_closed($node, $id);
$closed{failed}++;
($start) = $handler->log(request_id => $id);
like($start->{path}, qr{^/nexus/Ser%2Fvic%20e/a%20b%2Fc\?}, 'item 1: names are escaped');
is($start->{body_bytes}, 0, 'item 9: no input: no body');
ok(!exists $start->{headers}{'content-type'}, 'and no type');

$id = value($node, "SELECT nexus.schedule_bytes('hello', 'any', 'bytes', '\\x00ff01', 'application/x-mine')");
wait_closed($node, $id);
$closed{succeeded}++;
is(value($node, "SELECT result_bytes, result_content_type FROM nexus.operations WHERE id = '$id'"),
	'\x00ff01|application/x-mine', 'item 14: bytes there and back');

# --- execute

is(value($node, q{SELECT nexus.execute('hello', 'scripted', 'echo', '{"a": 1}')}), '{"a": 1}', 'execute');
$closed{succeeded}++;
my ($code, $said) = error_of($node, q{BEGIN; SELECT nexus.execute('hello', 'scripted', 'operation-error')});
is($code, 'NX001', 'execute raises');
$closed{failed}++;
is(state_of($node, detail_of($said)->{operation_id}), 'failed', 'and is not rolled back with the transaction');
is(value($node, q{SELECT nexus.execute('hello', 'scripted', 'async', '{"result": 5}')}), '5', 'execute waits for a callback');
$closed{succeeded}++;

# --- nothing is sent of what is rolled back

my $before = $handler->stats->{starts};
value($node, q{BEGIN; SELECT nexus.schedule('hello', 'scripted', 'echo'); ROLLBACK});
value($node, q{BEGIN; SAVEPOINT a; SELECT nexus.schedule('hello', 'scripted', 'echo'); ROLLBACK TO a; COMMIT});
value($node, q{SELECT nexus.execute('hello', 'scripted', 'echo')});
$closed{succeeded}++;
is($handler->stats->{starts}, $before + 1, 'rolled back: not sent');

# --- counters

my $stat = json_of(value($node, "SELECT to_json(s) FROM nexus.stat_endpoints s WHERE endpoint = 'hello'"));
for my $state (qw(succeeded failed canceled timed_out terminated))
{
	is($stat->{$state}, $closed{$state}, "counted: $state");
}
my ($starts, $total) = (0, 0);
$starts += grep { $_->{kind} eq 'start' } $handler->log;
$total += $_ for values %closed;
is($stat->{scheduled}, $total, 'counted: scheduled');
cmp_ok($stat->{attempts}, '<=', $starts - 3, 'counted: attempts');
cmp_ok($stat->{attempts}, '>=', $total - 6, 'all that were answered');
cmp_ok($stat->{attempt_time}, '>', 0, 'their time');
cmp_ok($stat->{schedule_to_close_time}, '>', 0.3, 'and the whole time');

# --- failures stay out of the server's log

($code, $said) = error_of($node, q{SELECT nexus.execute('hello', 'scripted', 'operation-error', '{"message": "words"}')});
like($said, qr/DETAIL:.*"failure"/, 'the failure is in DETAIL');
unlike(slurp_file($node->logfile), qr/"failure"/, 'but not in the log');

$handler->stop;
$node->stop;
done_testing();
