# The counters of nexus.stat_endpoints against what was done, what the tables
# say and what the handler has seen; they only grow, whatever happens.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @COUNTERS = qw(scheduled attempts attempt_failures attempt_time started succeeded failed canceled timed_out terminated
  schedule_to_close_time);
my @STATES = qw(succeeded failed canceled timed_out terminated);

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $node = nexus_node('main', conf => "nexus_pg.port = $port\nrestart_after_crash = on");
my $handler = NexusTest::Handler->start;

# Each endpoint has a path of its own, by which its requests are known.
sub endpoint
{
	my ($name, %options) = @_;
	create_endpoint($node, $name, $handler->url . "/$name", breaker_failures => 0, %options);
	return;
}

sub starts_at
{
	my ($name) = @_;
	return scalar grep { $_->{path} =~ m{/nexus/$name/} } $handler->log(kind => 'start');
}

sub stat_of
{
	my ($name) = @_;
	my $row = value($node, 'SELECT to_json(s) FROM nexus.stat_endpoints s WHERE endpoint = ' . quote($name));
	return $row eq '' ? undef : json_of($row);
}

sub counts { my ($name, @columns) = @_; my $stat = stat_of($name); return join ' ', map { "$_=" . $stat->{$_} } @columns; }

# Wait until a counter is there: what changes no operation is committed a moment after its outcome.
sub becomes
{
	my ($name, $column, $wanted, $what) = @_;
	poll("$column of $name", sub { stat_of($name)->{$column} == $wanted });
	is(stat_of($name)->{$column}, $wanted, $what);
	return;
}

sub has_grown
{
	my ($name, $before, $what) = @_;
	my $now = stat_of($name);
	is(join(' ', grep { $now->{$_} < $before->{$_} } @COUNTERS), '', "$what: no counter went back");
	return $now;
}

# What the tables say of an endpoint whose operations are all there still.
sub agrees
{
	my ($name, $what) = @_;
	my $stat = stat_of($name);
	my $rows = json_of(value($node, 'SELECT to_json(x) FROM (SELECT count(*) AS scheduled, '
		. join(', ', map { "count(*) FILTER (WHERE state = '$_') AS $_" } @STATES)
		. ', count(started_time) AS started'
		. ', coalesce(sum(extract(epoch FROM close_time - scheduled_time)) * 1000, 0) AS schedule_to_close_time'
		. " FROM nexus.operations WHERE endpoint = '$name') x"));
	is($stat->{$_}, $rows->{$_}, "$what: $_") for 'scheduled', @STATES, 'started';
	cmp_ok(abs($stat->{schedule_to_close_time} - $rows->{schedule_to_close_time}), '<', 0.01, "$what: schedule_to_close_time, scenario 84");
	is($stat->{attempt_failures}, value($node, 'SELECT count(*) FROM nexus.failed_attempts a '
		. "JOIN nexus.operations o ON o.id = a.operation_id WHERE a.kind = 'start' AND o.endpoint = '$name'"), "$what: attempt_failures");
	return;
}

# --- before the first outcome

endpoint('new', enabled => 'false');
is(stat_of('new'), undef, 'an endpoint without operations has no counters');
my $waiting = schedule($node, 'new', 'echo');
is(counts('new', qw(scheduled attempts succeeded attempt_time)), 'scheduled=1 attempts=0 succeeded=0 attempt_time=0', 'with one that is open it has');
is(stat_of('new')->{stats_reset}, undef, 'counting has not begun');
value($node, q{ALTER SERVER new OPTIONS (SET enabled 'true')});
wait_closed($node, $waiting);
is(counts('new', qw(scheduled attempts succeeded)), 'scheduled=1 attempts=1 succeeded=1', 'then it is counted');
isnt(stat_of('new')->{stats_reset}, undef, 'since then');

# --- every outcome once

endpoint('each');
my $n = 0;
my $case = sub {
	my ($what, $state, $operation, $input, %arguments) = @_;
	my $then = delete $arguments{then};
	my $before = stat_of('each') || { map { $_ => 0 } @COUNTERS };
	my $begun = starts_at('each');
	my $id = schedule($node, 'each', $operation, $input, %arguments);
	$then->($id) if $then;
	is(wait_closed($node, $id), $state, $what);
	# handler and worker may end the last request in either order
	poll('the attempts', sub { stat_of('each')->{attempts} - $before->{attempts} == starts_at('each') - $begun });
	my $now = has_grown('each', $before, $what);
	is($now->{attempts} - $before->{attempts}, starts_at('each') - $begun, "$what: every request is an attempt");
	is(join(' ', grep { $now->{$_} != $before->{$_} } 'scheduled', @STATES), "scheduled $state", "$what: one more of this state, scenario 84");
	return ($now->{attempts} - $before->{attempts}, $now->{attempt_failures} - $before->{attempt_failures},
		$now->{started} - $before->{started}, $now->{attempt_time} - $before->{attempt_time});
};
my $is = sub { my ($wanted, $what, @got) = @_; is("@got[0 .. 2]", $wanted, "$what: attempts, failures, starts"); return $got[3]; };

my $time = $is->('1 0 0', 'echo, scenario 85', $case->('sync', 'succeeded', 'echo', { delay => 100 }));
cmp_ok($time, '>=', 90, 'attempt_time is in milliseconds');
cmp_ok($time, '<', 10000, 'and not more than it took');
$is->('1 0 0', '424 failed', $case->('operation failed', 'failed', 'operation-error', { state => 'failed' }));
$is->('1 0 0', '424 canceled', $case->('operation canceled', 'canceled', 'operation-error', { state => 'canceled' }));
$is->('1 1 0', 'final error', $case->('bad request', 'failed', 'handler-error', { status => 400 }));
$is->('7 6 0', 'retries', $case->('after retries', 'succeeded', 'flaky', { times => 6 }));
$is->('1 0 1', 'async, scenario 85', $case->('callback', 'succeeded', 'async', { after => 10 }));
$is->('1 0 1', 'async failed', $case->('callback failed', 'failed', 'async', { after => 10, state => 'failed', failure => { message => 'no' } }));
$is->('1 0 1', 'async canceled', $case->('callback canceled', 'canceled', 'async', { after => 10, state => 'canceled', failure => { message => 'no' } }));
$is->('1 0 1', 'callbacks repeated', $case->('three callbacks', 'succeeded', 'async', { after => 10, times => 3 }));
$is->('1 0 1', 'a callback before the 201, scenario 87', $case->('early', 'succeeded', 'async', { early => JSON::PP::true() }));
$is->('1 0 1', 'a callback long before the 201, scenario 87', $case->('earlier', 'succeeded', 'async', { early => JSON::PP::true(), delay => 100 }));
$is->('1 0 1', 'start to close, scenario 86', $case->('start to close', 'timed_out', 'async', { after => undef }, start_to_close_timeout => '100 ms'));
$is->('1 0 1', 'schedule to close, started, scenario 86', $case->('schedule to close', 'timed_out', 'async', { after => undef },
	schedule_to_close_timeout => '2 s'));
$is->('0 0 0', 'over when it was scheduled', $case->('over at once', 'timed_out', 'echo', {}, schedule_to_close_timeout => '1 microsecond'));
$case->('schedule to start, scenario 86', 'timed_out', 'handler-error', { status => 503 }, schedule_to_start_timeout => '200 ms');
$case->('schedule to close, in flight', 'timed_out', 'hang', {}, schedule_to_close_timeout => '200 ms');
$is->('1 0 1', 'terminated', $case->('terminate', 'terminated', 'async', { after => undef },
	then => sub { wait_state($node, $_[0], 'started'); value($node, "SELECT nexus.terminate('$_[0]')") }));
$is->('1 0 0', 'terminated in flight', $case->('terminate in flight', 'terminated', 'hang', {},
	then => sub { my ($id) = @_; poll('the request', sub { $handler->log(request_id => $id) }); value($node, "SELECT nexus.terminate('$id')") }));
$is->('1 0 1', 'canceled', $case->('cancel', 'canceled', 'async', { after => undef, cancel => { complete => 'canceled' } },
	then => sub { wait_state($node, $_[0], 'started'); value($node, "SELECT nexus.cancel('$_[0]')") }));
$is->('1 0 1', 'canceled after retries of the cancel', $case->('cancel', 'canceled', 'async',
	{ after => undef, cancel => { status => 503, times => 2, complete => 'canceled' } },
	then => sub { wait_state($node, $_[0], 'started'); value($node, "SELECT nexus.cancel('$_[0]')") }));
agrees('each', 'all');

my $before = stat_of('each');
is(value($node, q{SELECT nexus.execute('each', 'scripted', 'echo', '1')}), '1', 'execute');
is(error_of($node, q{SELECT nexus.execute('each', 'scripted', 'operation-error', '{"state": "failed"}')}), 'NX001', 'execute, failed');
my $now = stat_of('each');
is(join(' ', map { $now->{$_} - $before->{$_} } qw(scheduled attempts succeeded failed)), '2 2 1 1', 'execute counts as schedule does');

value($node, q{BEGIN; SELECT nexus.schedule('each', 'scripted', 'echo'); ROLLBACK});
agrees('each', 'after a rollback');
is(stat_of('each')->{attempts}, starts_at('each'), 'the handler has seen as many requests');
my ($attempts, $failures) = @{ stat_of('each') }{qw(attempts attempt_failures)};
cmp_ok($failures, '<', $attempts, 'not all have failed');

# --- endpoints that have their outcomes in one commit

my %share = map { ("shared_$_" => $_) } 1 .. 5;
endpoint($_) for sort keys %share;
value($node, q{SELECT count(nexus.schedule('shared_' || e, 'scripted',
		(ARRAY['echo', 'async', 'flaky', 'operation-error', 'echo'])[1 + i % 5],
		'{"after": 20, "times": 1, "state": "succeeded"}'::jsonb || CASE i % 5 WHEN 3 THEN '{"state": "failed"}'::jsonb ELSE '{}' END,
		CASE i % 5 WHEN 4 THEN interval '1 microsecond' END))
	FROM generate_series(1, 5) e, generate_series(0, 5 * e - 1) i});
ok($node->poll_query_until('postgres', q{SELECT count(*) FROM nexus.pending_operations WHERE endpoint LIKE 'shared_%'}, '0'), 'all close');
cmp_ok(value($node, q{SELECT max(endpoints) FROM (SELECT count(DISTINCT endpoint) AS endpoints
	FROM nexus.operation WHERE endpoint LIKE 'shared_%' GROUP BY xmin::text) commits}), '>', 1, 'several endpoints in one commit');
for my $name (sort keys %share)
{
	my $each = $share{$name};
	becomes($name, 'attempts', 5 * $each, "$name: attempts");
	is(counts($name, qw(scheduled attempt_failures started), @STATES),
		sprintf('scheduled=%d attempt_failures=%d started=%d succeeded=%d failed=%d canceled=0 timed_out=%d terminated=0',
			5 * $each, $each, $each, 3 * $each, $each, $each), "$name: every column is its own");
	agrees($name, $name);
}

# --- a callback came first, and then its reply tells of an error

endpoint('late');
my $late = schedule($node, 'late', 'hang', { for => 300 });
poll('the request', sub { $handler->log(request_id => $late) });
is(post(callback_of($handler, $late), '1'), 200, 'a callback while the start is under way');
is(wait_closed($node, $late), 'succeeded', 'closes it');
becomes('late', 'attempts', 1, 'the reply that comes after it is counted');
is(counts('late', qw(scheduled attempt_failures started succeeded)), 'scheduled=1 attempt_failures=0 started=1 succeeded=1', 'with its start, scenario 87');
$late = schedule($node, 'late', 'reset', { after => 300 });
poll('the request', sub { $handler->log(request_id => $late) });
is(post(callback_of($handler, $late), '1'), 200, 'another');
wait_closed($node, $late);
becomes('late', 'attempt_failures', 1, 'no reply comes any more: an attempt that failed');
is(counts('late', qw(scheduled attempts succeeded failed)), 'scheduled=2 attempts=2 succeeded=2 failed=0', 'of an operation that did not');

# --- kill -9 in the middle

endpoint('crash');
$before = stat_of('each');
my $count = 400;
my $mixed = qq{SELECT count(nexus.schedule('crash', 'scripted', (ARRAY['echo', 'async', 'flaky', 'operation-error'])[1 + i % 4],
	'{"after": 20, "times": 1, "delay": 5, "state": "succeeded", "repeat": 100}'::jsonb || CASE i % 4 WHEN 3 THEN '{"state": "failed"}'::jsonb ELSE '{}' END))
	FROM generate_series(0, $count - 1) i};
value($node, $mixed);
my %seen;
for my $round (1, 2)
{
	$node->poll_query_until('postgres', q{SELECT succeeded + failed > } . $round * 60 . q{ FROM nexus.stat_endpoints WHERE endpoint = 'crash'});
	my $at = stat_of('crash');
	is($at->{scheduled}, $count, "round $round: all are counted as scheduled");
	my $worker = nexus_pid($node, 'worker');
	kill 'KILL', $worker;
	ok(wait_restarted($node, $worker), "round $round: the worker was killed");
	has_grown('crash', $at, "round $round");
}
ok($node->poll_query_until('postgres', q{SELECT count(*) FROM nexus.pending_operations WHERE endpoint = 'crash'}, '0'), 'all close');
agrees('crash', 'after two crashes');
is(counts('crash', qw(scheduled failed)), "scheduled=$count failed=" . $count / 4, 'nothing is counted twice');
$now = stat_of('crash');
cmp_ok($now->{attempts}, '>=', value($node, q{SELECT sum(attempt) FROM nexus.operation WHERE endpoint = 'crash'}),
	'attempts: at least those that operations know of');
cmp_ok($now->{attempts}, '<=', starts_at('crash'), 'at most what the handler has seen: those in flight at a crash are not counted');
is(join(' ', map { stat_of('each')->{$_} } @COUNTERS), join(' ', map { $before->{$_} } @COUNTERS), 'the others are as they were');

# --- operations that retention deletes, and a server that is dropped

$before = stat_of('crash');
value($node, q{ALTER SERVER crash OPTIONS (ADD retention '100ms')});
ok($node->poll_query_until('postgres', q{SELECT count(*) FROM nexus.operations WHERE endpoint = 'crash'}, '0'), 'retention deletes all');
is(join(' ', map { stat_of('crash')->{$_} } @COUNTERS), join(' ', map { $before->{$_} } @COUNTERS), 'the counters stay');
value($node, 'DROP SERVER crash');
is(join(' ', map { stat_of('crash')->{$_} } @COUNTERS), join(' ', map { $before->{$_} } @COUNTERS), 'also without the server');
endpoint('crash');
wait_closed($node, schedule($node, 'crash', 'echo'));
is(counts('crash', qw(scheduled)), 'scheduled=' . ($before->{scheduled} + 1), 'one of the same name goes on counting');

$handler->stop;
$node->stop;
done_testing();
