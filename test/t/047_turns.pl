# What a worker does with what it cannot send: it sleeps, and nobody is forgotten.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;

my $node = nexus_node('main', conf => "nexus_pg.max_in_flight = 1\n");
my $handler = NexusTest::Handler->start;
my $worker = nexus_pid($node, 'worker');
my @failing = (retry_initial_interval => '1h', retry_max_interval => '1h', breaker_failures => 1, breaker_open_interval => '50ms');

sub breaker_of { return value($node, "SELECT breaker_state FROM nexus.endpoints WHERE endpoint = '$_[0]'"); }

# Seconds that the worker has computed.
sub cpu_time
{
	my @fields = split / /, (slurp_file("/proc/$worker/stat") =~ /\) (.*)/)[0];
	return ($fields[11] + $fields[12]) / POSIX::sysconf(&POSIX::_SC_CLK_TCK);
}

# That it sleeps while another operation takes a second.
sub sleeps
{
	my ($name) = @_;
	my $before = cpu_time();
	value($node, "SELECT nexus.execute('good', 'scripted', 'echo', '{\"delay\": 1000}')");
	cmp_ok(cpu_time() - $before, '<', 0.3, "it sleeps: $name");
	return;
}

# What it computes for some operations, one after the other.
sub cost_of_others
{
	my $before = cpu_time();
	value($node, q{SELECT count(nexus.execute('good', 'scripted', 'echo')) FROM generate_series(1, 400)});
	return cpu_time() - $before;
}

create_endpoint($node, 'good', $handler);
sleeps('idle');

# --- a cancel request that backs off, behind a breaker whose interval is over

create_endpoint($node, 'cancels', $handler, @failing);
my $id = schedule($node, 'cancels', 'async', { after => undef, cancel => { status => 503, times => 1000 } });
wait_state($node, $id, 'started');
value($node, "SELECT nexus.cancel('$id')");
ok(poll('the end of the interval', sub { breaker_of('cancels') eq 'half_open' }), 'a cancel request opened the breaker');
sleeps('a cancel request backs off');

# --- the rate allows less than the breaker

create_endpoint($node, 'rated', $handler, @failing, max_requests_per_second => '0.01');
$id = schedule($node, 'rated', 'handler-error', { status => 503 });
ok(poll('the end of the interval', sub { breaker_of('rated') eq 'half_open' }), 'a breaker');
schedule($node, 'rated', 'echo');
sleeps('the rate allows nothing');

# --- all that may be in flight is

create_endpoint($node, 'waits', $handler, @failing);
schedule($node, 'waits', 'handler-error', { status => 503 });
ok(poll('the end of the interval', sub { breaker_of('waits') eq 'half_open' }), 'a breaker');
my $good = schedule($node, 'good', 'echo', { delay => 1000 });
my $waiting = schedule($node, 'waits', 'echo');
my $before = cpu_time();
wait_closed($node, $good);
cmp_ok(cpu_time() - $before, '<', 0.3, 'it sleeps: others have all places');
is(wait_closed($node, $waiting), 'succeeded', 'then the probe goes');

# --- who has sent goes behind the others

create_endpoint($node, 'modest', $handler);
value($node, q{SELECT count(nexus.schedule('good', 'scripted', 'echo', '{"delay": 50}')) FROM generate_series(1, 100)});
$id = schedule($node, 'modest', 'echo');
is(wait_closed($node, $id), 'succeeded', 'one of another endpoint');
cmp_ok(value($node, q{SELECT scheduled FROM nexus.endpoints WHERE endpoint = 'good'}), '>', 50, 'goes before those that came earlier');
value($node, q{SELECT count(nexus.terminate(id)) FROM nexus.pending_operations WHERE endpoint = 'good'});

# --- a server that is gone and comes back, whose breaker was half open

create_endpoint($node, 'comes', $handler, @failing);
schedule($node, 'comes', 'handler-error', { status => 503 });
ok(poll('the end of the interval', sub { breaker_of('comes') eq 'half_open' }), 'a breaker');
my $probe = schedule($node, 'comes', 'hang', { gate => 'probe', for => 1 });
ok(poll('the probe', sub { scalar $handler->log(request_id => $probe) }), 'a probe');
value($node, q{CREATE ROLE dropped; ALTER SERVER comes OWNER TO dropped; DROP OWNED BY dropped});
$handler->open_gate('probe');
is(wait_closed($node, $probe), 'succeeded', 'ends after its server is gone');
create_endpoint($node, 'comes', $handler, @failing);
$id = schedule($node, 'comes', 'echo', undef, schedule_to_close_timeout => '10s');
is(wait_closed($node, $id), 'succeeded', 'the server that came in its place is called');

# --- cancel requests of somebody who may not call any more are in nobody's way

create_endpoint($node, 'granted', $handler);
my @asked;
for my $role (qw(first second))
{
	value($node, "CREATE ROLE $role; GRANT USAGE ON FOREIGN SERVER granted TO $role");
	my $started = value($node, "SET ROLE $role; SELECT nexus.schedule('granted', 'scripted', 'async', '{\"after\": null}')");
	wait_state($node, $started, 'started');
	push @asked, $started;
}
value($node, 'REVOKE USAGE ON FOREIGN SERVER granted FROM first');
for my $started (@asked)
{
	value($node, "SELECT nexus.cancel('$started')");
	ok(poll('the request', sub { row_of($node, 'operations', $started)->{cancellation_state} }), 'a cancel is asked for');
}
sub cancellation { return row_of($node, 'operations', $_[0])->{cancellation_state}; }
ok(poll('the second one', sub { cancellation($asked[1]) eq 'succeeded' }), 'the one whose owner may call is sent');
is(cancellation($asked[0]), 'scheduled', 'the other one waits');
sleeps('a cancel request of somebody without USAGE');
value($node, 'GRANT USAGE ON FOREIGN SERVER granted TO first');
ok(poll('the first one', sub { cancellation($asked[0]) eq 'succeeded' }), 'until USAGE is granted again');

# --- many cancel requests that wait cost the others nothing

value($node, 'ALTER SYSTEM SET nexus_pg.max_in_flight = 100');
$node->reload;
my $alone = cost_of_others();
create_endpoint($node, 'crowded', $handler, breaker_failures => 1, breaker_open_interval => '1h');
value($node, q{SELECT count(nexus.schedule('crowded', 'scripted', 'async', '{"after": null, "cancel": {"status": 503, "times": 9}}'))
	FROM generate_series(1, 20000)});
ok(poll('all started', sub { value($node, q{SELECT count(*) FROM nexus.operations WHERE endpoint = 'crowded' AND state = 'started'}) == 20000 }),
	'many are started');
value($node, q{SELECT count(nexus.cancel(id)) FROM nexus.pending_operations WHERE endpoint = 'crowded'});
ok(poll('all asked', sub {
	value($node, q{SELECT count(*) FROM nexus.operations WHERE endpoint = 'crowded' AND cancellation_state IS NULL}) == 0 }), 'and to be canceled');
is(breaker_of('crowded'), 'open', 'their breaker is open');
cmp_ok(cost_of_others(), '<', 2 * $alone + 0.1, 'others do not pay for it');

# --- a call that comes while the worker waits for a lock, which resets its latch, is not lost

value($node, 'SELECT count(nexus.terminate(id)) FROM nexus.pending_operations');
ok($node->poll_query_until('postgres', 'SELECT count(*) FROM nexus.pending_operations', '0'), 'nothing is open, so that nothing else wakes it');
create_endpoint($node, 'called', $handler);
create_endpoint($node, 'mute', $handler, enabled => 'false');
my $session = $node->background_psql('postgres');
for my $round (1 .. 3)
{
	$session->query_safe('BEGIN; LOCK TABLE nexus.request');
	schedule($node, 'mute', 'echo');
	ok(poll('the lock', sub {
		value($node, "SELECT count(*) FROM pg_locks WHERE pid = $worker AND NOT granted") }), 'reading what has arrived waits for a lock');
	my $meanwhile = schedule($node, 'called', 'echo');
	$session->query_safe('COMMIT');
	ok(poll('the operation', sub { state_of($node, $meanwhile) eq 'succeeded' }, 20), 'what is scheduled meanwhile is sent');
}
$session->quit;

is(nexus_pid($node, 'worker'), $worker, 'the worker is the same as before');
$handler->stop;
$node->stop;
done_testing();
