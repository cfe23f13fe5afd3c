# Attempts that fail: which are tried again, when, and what is kept of them.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $IS_FINAL = { map { $_ => 1 } (400, 401, 403, 404, 409, 501) };
my $TYPES = {
	400 => 'BAD_REQUEST', 401 => 'UNAUTHENTICATED', 403 => 'UNAUTHORIZED', 404 => 'NOT_FOUND',
	408 => 'REQUEST_TIMEOUT', 409 => 'CONFLICT', 429 => 'RESOURCE_EXHAUSTED', 500 => 'INTERNAL',
	501 => 'NOT_IMPLEMENTED', 503 => 'UNAVAILABLE', 520 => 'UPSTREAM_TIMEOUT'
};

my $node = nexus_node('main');
my $handler = NexusTest::Handler->start;
my $left = "count(*) FROM nexus.operations WHERE close_time IS NULL";

# Seconds until the next attempt of operations, as [least, most].
sub delays
{
	my ($where) = @_;
	my $delay = 'EXTRACT(epoch FROM next_attempt_schedule_time - last_attempt_complete_time)';
	return split /\|/, value($node, "SELECT min($delay), max($delay) FROM nexus.pending_operations WHERE $where");
}

# --- the delay: [0.8, 1.0) of the interval, and the interval grows

create_endpoint($node, 'hour', $handler, breaker_failures => 0, retry_initial_interval => '1h', retry_max_interval => '10h');
value($node, q{SELECT count(nexus.schedule('hour', 'scripted', 'handler-error', summary => 'jitter')) FROM generate_series(1, 100)});
my $jitter = "endpoint = 'hour' AND summary = 'jitter' AND attempt = 1 AND state = 'backing_off'";
ok($node->poll_query_until('postgres', "SELECT count(*) FROM nexus.pending_operations WHERE $jitter", '100'),
	'100 operations back off');
my ($least, $most) = delays($jitter);
cmp_ok($least, '>=', 2880, 'scenario 28: the first delay: at least 0.8 of the interval');
cmp_ok($most, '<', 3600, 'scenario 28: and less than the whole');
cmp_ok($least, '<', 2980, 'spread from its lower end');
cmp_ok($most, '>', 3500, 'to its upper end');

for my $case ([ 'grows', '1000s', 80, 100 ], [ 'capped', '50s', 40, 50 ])
{
	my ($name, $max, $from, $to) = @$case;
	create_endpoint($node, $name, $handler, breaker_failures => 0, retry_initial_interval => '10ms', retry_backoff_coefficient => 100,
		retry_max_interval => $max);
	my $id = schedule($node, $name, 'handler-error');
	ok($node->poll_query_until('postgres',
			"SELECT state FROM nexus.pending_operations WHERE id = '$id' AND attempt = 3", 'backing_off'), "$name: attempt 3");
	($least, $most) = delays("id = '$id'");
	cmp_ok($least, '>=', $from, "scenario 28: $name: the third delay is at least $from s");
	cmp_ok($most, '<', $to, "scenario 28: $name: and less than $to s");
}

# --- what the handler asks for

create_endpoint($node, 'polite', $handler, breaker_failures => 0, retry_initial_interval => '10ms', retry_max_interval => '100s');
for my $case ([ 503, '30', 29, 31 ], [ 429, '7', 6, 8 ], [ 503, 'soon', 0, 1 ], [ 503, '0', 0, 1 ], [ 503, '86400', 99, 101 ],
	[ 502, 'Fri, 01 Jan 2100 00:00:00 GMT', 99, 101 ], [ 503, 'Sat, 01 Jan 2000 00:00:00 GMT', 0, 1 ])
{
	my ($status, $value, $from, $to) = @$case;
	my $id = schedule($node, 'polite', 'reply', { status => $status, headers => { 'Retry-After' => $value } });
	wait_state($node, $id, 'backing_off');
	is(value($node, "SELECT next_attempt_schedule_time - last_attempt_complete_time BETWEEN '$from s' AND '$to s' "
		. "FROM nexus.operations WHERE id = '$id'"), 't', "Retry-After: $value is heeded as far as it goes");
	value($node, "SELECT nexus.terminate('$id')");
	wait_closed($node, $id);
}
is(wait_closed($node, schedule($node, 'polite', 'reply', { status => 400, headers => { 'Retry-After' => '1' } })), 'failed',
	'it makes no error retryable');

# --- the attempts themselves

create_endpoint($node, 'quick', $handler, breaker_failures => 0, retry_initial_interval => '100ms', retry_max_interval => '1s', request_timeout => '7s');
my $id = schedule($node, 'quick', 'flaky', { times => 3 }, schedule_to_close_timeout => '5s', headers => '{"X-Own": "mine"}');
is(wait_closed($node, $id), 'succeeded', 'scenario 30: it succeeds at the fourth attempt');
my @starts = $handler->log(request_id => $id);
my @attempts = attempts_of($node, $id);
is(scalar(@starts), 4, 'item 7, scenario 25: four requests under one request id');
is(join(' ', map { "$_->{kind}:$_->{attempt}:$_->{http_status}" } @attempts), 'start:1:503 start:2:503 start:3:503',
	'three failed attempts, numbered');
is(row_of($node, 'operations', $id)->{attempt}, 4, 'scenario 28: attempt 4 of the operation');
for my $n (1 .. 3)
{
	my $gap = $starts[$n]{time} - $starts[ $n - 1 ]{time};
	my $interval = 0.1 * 2**($n - 1);
	cmp_ok($gap, '>=', 0.8 * $interval, "attempt $n is followed after 0.8 of its interval");
	cmp_ok($gap, '<', $interval + 1, 'and soon');
}
my @timeouts = map { $_->{headers}{'request-timeout'} =~ /^(\d+)ms$/ } @starts;
cmp_ok($timeouts[0], '<=', 5000, 'item 8, scenario 12: Request-Timeout is capped by what is left of the operation');
cmp_ok($timeouts[0], '>', 4000, 'and not by less');
cmp_ok($timeouts[3], '<=', $timeouts[0] - 500, 'scenario 25: and made anew for each attempt');
is(scalar(grep { $_->{headers}{'x-own'} eq 'mine' } @starts), 4, "the caller's header is in each");
my %tokens = map { $_->{headers}{'nexus-callback-nexus-pg-token'} => 1 } @starts;
is(scalar(keys %tokens), 1, 'with one callback token');
my %paths = map { $_->{path} => 1 } @starts;
is(scalar(keys %paths), 1, 'and one callback URL');

$id = schedule($node, 'quick', 'echo');
wait_closed($node, $id);
is(($handler->log(request_id => $id))[0]{headers}{'request-timeout'}, '7000ms', 'item 8: Request-Timeout is the request_timeout');
ok(!exists +($handler->log(request_id => $id))[0]{headers}{'operation-timeout'}, 'no timeout: no Operation-Timeout');
$id = schedule($node, 'quick', 'echo', undef, start_to_close_timeout => '1 min');
wait_closed($node, $id);
is(($handler->log(request_id => $id))[0]{headers}{'operation-timeout'}, '60000ms', 'scenario 14: start_to_close: Operation-Timeout');
$id = schedule($node, 'quick', 'echo', undef, start_to_close_timeout => '1 min', headers => '{"operation-timeout": "3s"}');
wait_closed($node, $id);
is(($handler->log(request_id => $id))[0]{headers}{'operation-timeout'}, '3s', "scenario 15: the caller's own stands");

# --- a request that gets no answer

create_endpoint($node, 'impatient', $handler, breaker_failures => 0, request_timeout => '200ms', retry_initial_interval => '1h', retry_max_interval => '1h');
for my $case ([ 'hang', undef ], [ 'drip', undef ], [ 'drip', { in => 'head' } ])
{
	$id = schedule($node, 'impatient', @$case);
	wait_state($node, $id, 'backing_off');
	my ($attempt) = attempts_of($node, $id);
	like($attempt->{failure}{message}, qr/timed out/, "scenario 11: $case->[0]: request_timeout ends an attempt");
	my ($seconds) = $attempt->{duration} =~ /^00:00:(\d\d\.\d+)$/;
	cmp_ok($seconds, '>=', 0.19, 'after its time');
	cmp_ok($seconds, '<', 1.5, 'and not much later');
}
is(value($node, "SELECT nexus.terminate('$id')"), 't', 'it can be ended');

# --- which answers are final

create_endpoint($node, 'every', $handler, breaker_failures => 0, retry_initial_interval => '1h', retry_max_interval => '1h');
my %id_of;
for my $line (split /\n/, value($node, q{SELECT s, nexus.schedule('every', 'scripted', 'handler-error',
	jsonb_build_object('status', s, 'body', false), summary => s::text) FROM generate_series(400, 520) s}))
{
	my ($status, $operation) = split /\|/, $line;
	$id_of{$status} = $operation;
}
ok($node->poll_query_until('postgres', "SELECT count(*) FROM nexus.operations WHERE endpoint = 'every' AND state = 'scheduled'", '0'),
	'every status was answered');
my %seen = map { (/^(\d+)/ => $_) } split /\n/, value($node,
	"SELECT o.summary, o.state, a.http_status, a.retryable, coalesce(a.failure->'details'->>'type', '') FROM nexus.operations o "
		. "JOIN nexus.failed_attempts a ON a.operation_id = o.id WHERE o.endpoint = 'every'");
is(scalar(keys %seen), 121, 'one failed attempt each');
my @wrong;
for my $status (400 .. 520)
{
	my $is_final = $IS_FINAL->{$status};
	my $expected = join '|', $status, $is_final ? 'failed' : 'backing_off', $status, $is_final ? 'f' : 't', $TYPES->{$status} // '';
	if ($TYPES->{$status}) { is($seen{$status}, $expected, "items 27 and 36, scenario 10: status $status"); }
	elsif ($seen{$status} ne $expected) { push @wrong, $seen{$status}; }
}
is("@wrong", '', 'item 35: all others have no type and are tried again');

# --- what a handler says of it wins

for my $case (
	[ 'scenario 9: 400, body says yes', { status => 400, retryable => \1 }, 'backing_off', 'BAD_REQUEST' ],
	[ 'scenario 9: 500, body says no', { status => 500, retryable => \0 }, 'failed', 'INTERNAL' ],
	[ 'item 28: 400, header says yes', { status => 400, retryable => \1, body => \0 }, 'backing_off', 'BAD_REQUEST' ],
	[ 'item 28: 503, header says no', { status => 503, retryable => \0, body => \0 }, 'failed', 'UNAVAILABLE' ],
	[ 'item 35: 418, header says no: not looked at', { status => 418, retryable => \0, body => \0 }, 'backing_off', '' ],
	[ 'item 29: 500, type BAD_REQUEST', { status => 500, type => 'BAD_REQUEST' }, 'failed', 'BAD_REQUEST' ],
	[ 'item 29: 400, type INTERNAL', { status => 400, type => 'INTERNAL' }, 'backing_off', 'INTERNAL' ],
	[ 'item 37, scenario 10: an unknown type', { status => 400, type => 'CUSTOM' }, 'backing_off', 'CUSTOM' ])
{
	my ($name, $script, $state, $type) = @$case;
	$id = schedule($node, 'every', 'handler-error', $script);
	is(wait_state($node, $id, 'backing_off|failed'), $state, $name);
	is((attempts_of($node, $id))[0]{failure}{details}{type} // '', $type, 'and its type is kept');
}

# --- nobody is there, then somebody is

my $port = PostgreSQL::Test::Cluster::get_free_port();
create_endpoint($node, 'absent', "http://127.0.0.1:$port/nexus", breaker_failures => 0, retry_max_interval => '100ms');
$id = schedule($node, 'absent', 'echo', { n => 1 });
wait_state($node, $id, 'backing_off');
my ($attempt) = attempts_of($node, $id);
is($attempt->{http_status}, undef, 'scenario 23: a refused connection has no status');
like($attempt->{failure}{message}, qr/connect/i, 'but a message');
my $late = NexusTest::Handler->start(port => $port);
is(wait_closed($node, $id), 'succeeded', 'it goes on when the handler is there');
$late->stop;

# --- the last 20 failed attempts are kept

create_endpoint($node, 'often', $handler, breaker_failures => 0, retry_initial_interval => '1ms', retry_max_interval => '2ms');
$id = schedule($node, 'often', 'flaky', { times => 24 });
is(wait_closed($node, $id), 'succeeded', '24 failures, then success');
@attempts = attempts_of($node, $id);
is(join(' ', map { $_->{attempt} } @attempts), join(' ', 5 .. 24), 'the last 20 are kept');
is(row_of($node, 'operations', $id)->{attempt}, 25, 'all are counted');
is(row_of($node, 'operations', $id)->{next_attempt_schedule_time}, undef, 'scenario 30: no next attempt stands in a closed row');

# --- an endpoint is changed meanwhile

create_endpoint($node, 'moved', "http://127.0.0.1:$port/nexus", retry_max_interval => '100ms');
$id = schedule($node, 'moved', 'echo');
wait_state($node, $id, 'backing_off');
value($node, "ALTER SERVER moved OPTIONS (SET url '" . $handler->url . "')");
is(wait_closed($node, $id), 'succeeded', 'a new url holds for the next attempt');

$handler->stop;
$node->stop;
done_testing();
