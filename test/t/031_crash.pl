# Crashes of the server, the listener and the worker: nothing is lost, and what
# is sent again has the same request id.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $node = nexus_node('main', conf => "nexus_pg.port = $port\nmax_connections = 30\nwal_writer_delay = 10s\nrestart_after_crash = on");
my $handler = NexusTest::Handler->start;
create_endpoint($node, 'hello', $handler, breaker_failures => 0, retry_initial_interval => '200ms', retry_max_interval => '400ms');
create_endpoint($node, 'slow', $handler, breaker_failures => 0, request_timeout => '2s', retry_initial_interval => '100ms');

sub count_of { return value($node, "SELECT count(*) FROM nexus.operations WHERE service = 'scripted' AND $_[0]"); }

sub schedule_many
{
	my ($count, $endpoint, $operation, $input) = @_;
	value($node, "SELECT count(nexus.schedule('$endpoint', 'scripted', '$operation', " . quote(json_text($input))
		. ")) FROM generate_series(1, $count)");
	return;
}

# Something of every kind: in flight without an answer, in flight for a while,
# started, backing off, done.
sub fill
{
	$handler->forget;
	value($node, 'SELECT count(nexus.terminate(id)) FROM nexus.pending_operations');
	$node->poll_query_until('postgres', 'SELECT count(*) FROM nexus.pending_operations', '0');
	value($node, q{SELECT nexus.schedule('hello', 'any', 'marker')});
	schedule_many(40, 'hello', 'hang', { for => 1500 });
	schedule_many(60, 'hello', 'async', { after => undef, result => 1 });
	schedule_many(20, 'slow', 'async', { after => undef, delay => 300, result => 1 });
	schedule_many(60, 'hello', 'flaky', { times => 3 });
	schedule_many(20, 'hello', 'echo', {});
	ok(poll('them to be under way', sub {
		my $stats = $handler->stats;
		return $stats->{request_ids} == 201 && $stats->{held} >= 60;
	}), 'something of every kind');
	ok($node->poll_query_until('postgres', "SELECT count(*) >= 60 FROM nexus.operations WHERE state = 'started'"), 'some are started');
	return ids_of($node, "close_time IS NULL");
}

# All of them come to their end.
sub all_complete
{
	my ($open, $name) = @_;
	my $list = join ',', map { "'$_'" } keys %$open;
	ok(poll('the end of all', sub {
		$handler->release;
		return value($node, "SELECT count(*) FROM nexus.operations WHERE id IN ($list) AND state <> 'succeeded'") eq '0';
	}), "$name: all complete") or diag(value($node, "SELECT state, operation, count(*) FROM nexus.operations WHERE id IN ($list) GROUP BY 1, 2"));
	my $seen = $handler->request_ids;
	is(scalar(grep { !$seen->{$_} } keys %$open), 0, "$name: under their own ids");
	my $known = ids_of($node);
	is(scalar(grep { !$known->{$_} } keys %$seen), 0, "$name: and no others");
	my @again = grep { $_->{operation} eq 'hang' && $seen->{ $_->{request_id} } > 1 } $handler->log(kind => 'start');
	cmp_ok(scalar(@again), '>', 0, "$name: what had no answer was sent again");
	my @started = grep { $_->{operation} eq 'async' } $handler->log(kind => 'start');
	my %tokens = map { $_->{request_id} => $_->{headers}{'nexus-callback-nexus-pg-token'} } @started;
	is(scalar(grep { $_->{headers}{'nexus-callback-nexus-pg-token'} ne $tokens{ $_->{request_id} } } @started), 0,
		"$name: with the same token for the callback");
	return;
}

# --- the whole server

my $open = fill();
kill_server($node);
$node->start;
all_complete($open, 'the server was killed');

$open = fill();
$node->stop('immediate');
$node->start;
all_complete($open, 'an immediate shutdown');

# --- the worker

$open = fill();
my $worker = nexus_pid($node, 'worker');
value($node, "SELECT pg_terminate_backend($worker)");
ok(wait_new_pid($node, 'worker', $worker), 'another worker');
all_complete($open, 'the worker was ended');

# --- the listener, with callbacks that wait for their commit

my @waiting = map { schedule($node, 'hello', 'async', { after => undef }) } 1 .. 5;
wait_state($node, $_, 'started') for @waiting;
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; LOCK TABLE nexus.operation IN EXCLUSIVE MODE');
my @posts = map { begin_post(callback_of($handler, $_), '1') } @waiting;
my $listener = nexus_pid($node, 'listener');
ok($node->poll_query_until('postgres', "SELECT queued FROM nexus.workers WHERE kind = 'listener'", '5'), 'five callbacks wait');
kill 'KILL', $listener;
is(join(' ', map { status_of($_) } @posts), join(' ', ('closed') x 5), 'the listener was killed: no answer');
ok(wait_new_pid($node, 'listener', $listener), 'another listener');
@posts = map { begin_post(callback_of($handler, $_), '1') } @waiting;
ok(is_silent($posts[0]), 'callbacks that are repeated wait, too');
$session->query_safe('COMMIT');
$session->quit;
is(join(' ', map { status_of($_) } @posts), join(' ', (200) x 5), 'and are answered');
is(join(' ', map { state_of($node, $_) } @waiting), join(' ', ('succeeded') x 5), 'after the commit');

# --- nothing is sent that a crash could forget

my $lost = $node->safe_psql('postgres', q{SET synchronous_commit = off;
	SELECT nexus.schedule('hello', 'scripted', 'hang')});
ok(poll('the request', sub { $handler->log(request_id => $lost) }), 'a transaction without synchronous commit is sent');
kill_server($node);
$node->start;
wait_running($node);
is(value($node, "SELECT count(*) FROM nexus.operations WHERE id = '$lost'"), '1', 'so it has survived the crash');
value($node, "SELECT nexus.terminate('$lost')");

# --- a session that dies before its commit

my $before = $handler->stats->{starts};
$session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->query_safe(q{BEGIN; SELECT nexus.schedule('hello', 'any', 'never')});
value($node, "SELECT pg_terminate_backend($pid)");
$session->{run}->finish if $session->{run};
is(value($node, q{SELECT nexus.execute('hello', 'any', 'next', '1')}), '1', 'a session that dies in its transaction');
is(scalar(grep { $_->{operation} eq 'never' } $handler->log), 0, 'has sent nothing');

$handler->stop;
$node->stop;
done_testing();
