# A reader that follows close_time sees each closed operation once, in order,
# while eight sessions schedule, and whatever becomes of the worker meanwhile.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run ();
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $node = nexus_node('main', conf => "nexus_pg.port = $port\nrestart_after_crash = on\nnexus_pg.retention = 0");
my $handler = NexusTest::Handler->start;
create_endpoint($node, 'hello', $handler, breaker_failures => 0);
create_endpoint($node, 'second', $handler, breaker_failures => 0);
create_endpoint($node, 'idle', $handler, breaker_failures => 0);

# --- the sessions: scripts of pgbench, chosen at random

my %script = (
	sync => [ 4, q{SELECT nexus.schedule('hello', 'scripted', 'echo', '{}');} ],
	async => [ 3, q{SELECT nexus.schedule('second', 'scripted', 'async', '{"after": 5}');} ],
	several => [ 2, q{
BEGIN;
SELECT nexus.schedule('hello', 'scripted', 'async', '{"early": true}');
SELECT nexus.schedule('second', 'scripted', 'flaky', '{"times": 1}');
SELECT nexus.schedule('hello', 'scripted', 'operation-error', '{"state": "failed"}');
\sleep 3 ms
COMMIT;} ],
	rollback => [ 2, q{
BEGIN;
SELECT nexus.schedule('hello', 'scripted', 'rolled-back');
\sleep 2 ms
ROLLBACK;} ],
	savepoint => [ 1, q{
BEGIN;
SAVEPOINT a;
SELECT nexus.schedule('hello', 'scripted', 'rolled-back');
ROLLBACK TO a;
SELECT nexus.schedule('hello', 'scripted', 'echo', '{}');
COMMIT;} ],
	timeout => [ 1, q{SELECT nexus.schedule('second', 'scripted', 'async', '{"after": null}', start_to_close_timeout => '50 ms');} ],
	terminate => [ 1, q{SELECT nexus.terminate(nexus.schedule('second', 'scripted', 'async', '{"after": null}'));} ],
	execute => [ 1, q{SELECT nexus.execute('hello', 'scripted', 'echo', '{}');} ]);
my @files;
for my $name (sort keys %script)
{
	my $file = PostgreSQL::Test::Utils::tempdir_short() . "/$name.sql";
	append_to_file($file, "$script{$name}[1]\n");
	push @files, '-f', "$file\@$script{$name}[0]";
}

sub begin_load
{
	my ($seconds) = @_;
	my %load = (out => '', err => '');
	$load{handle} = IPC::Run::start([ 'pgbench', '-n', '-c', 8, '-j', 2, '-T', $seconds, '--rate=250', @files,
		'-h', $node->host, '-p', $node->port, 'postgres' ], '>', \$load{out}, '2>', \$load{err});
	return \%load;
}

sub end_load
{
	my ($load, $name) = @_;
	ok($load->{handle}->finish, $name) or diag($load->{err});
	like($load->{out}, qr/number of clients: 8/, "$name: eight sessions");
	return;
}

# --- the reader: it keeps its place in the transaction that stores what it saw

value($node, q{
	CREATE TABLE seen (number bigserial, id uuid, close_time timestamptz);
	CREATE TABLE place (close_time timestamptz);
	INSERT INTO place VALUES ('-infinity');
	CREATE TABLE stop (n int);
	CREATE PROCEDURE follow() LANGUAGE plpgsql AS $$
	DECLARE
		n bigint;
	BEGIN
		LOOP
			WITH new AS (SELECT o.id, o.close_time FROM nexus.operations o
				WHERE o.close_time > (SELECT p.close_time FROM place p) ORDER BY o.close_time LIMIT 100)
			INSERT INTO seen (id, close_time) SELECT id, close_time FROM new ORDER BY close_time;
			UPDATE place p SET close_time = m.last FROM (SELECT max(s.close_time) AS last FROM seen s) m
				WHERE p.close_time < m.last;
			GET DIAGNOSTICS n = ROW_COUNT;
			COMMIT;
			EXIT WHEN n = 0 AND EXISTS (SELECT FROM stop);
			PERFORM pg_sleep(CASE n WHEN 0 THEN 0.002 ELSE 0 END);
		END LOOP;
	END $$;
	CREATE INDEX ON seen (close_time);
});

sub begin_reader
{
	my %reader = (out => '', err => '');
	$reader{handle} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', 'CALL follow()' ],
		'>', \$reader{out}, '2>', \$reader{err});
	return \%reader;
}

my $reader = begin_reader();

sub all_closed
{
	my ($name) = @_;
	ok($node->poll_query_until('postgres', 'SELECT count(*) FROM nexus.pending_operations', '0'), "$name: all close");
	return;
}

# Let the reader come to the end, and compare.
sub check
{
	my ($name) = @_;
	value($node, 'INSERT INTO stop VALUES (1)');
	ok($reader->{handle}->finish, "$name: the reader comes to an end") or diag($reader->{err});
	value($node, 'DELETE FROM stop');
	is(value($node, 'SELECT count(*) FROM nexus.operations o WHERE NOT EXISTS (SELECT FROM seen s WHERE s.id = o.id)'), '0', "$name: nothing missed");
	is(value($node, 'SELECT count(*) - count(DISTINCT id) FROM seen'), '0', "$name: nothing twice");
	is(value($node, 'SELECT count(*) FROM (SELECT close_time - lag(close_time) OVER (ORDER BY number) AS step FROM seen) s '
		. "WHERE step <= '0'"), '0', "$name: strictly in order");
	is(value($node, 'SELECT count(*) FROM seen s JOIN nexus.operations o USING (id) WHERE o.close_time <> s.close_time'), '0',
		"$name: no close time has changed");
	$reader = begin_reader();
	return;
}

# --- sessions that schedule, and a worker that comes and goes

my $load = begin_load(4);
end_load($load, 'load');
all_closed('load');
cmp_ok(value($node, 'SELECT count(*) FROM nexus.operations'), '>', 500, 'there was something to see');
is(value($node, q{SELECT string_agg(DISTINCT state, ' ' ORDER BY state) FROM nexus.operations}), 'failed succeeded terminated timed_out', 'of all kinds');
is(value($node, q{SELECT count(*) FROM nexus.operations WHERE operation = 'rolled-back'}), '0', 'nothing that was rolled back');
check('load');

$load = begin_load(5);
for my $round (1, 2)
{
	my $worker = nexus_pid($node, 'worker');
	value($node, "SELECT pg_terminate_backend($worker)");
	ok(wait_new_pid($node, 'worker', $worker), "another worker, $round");
}
value($node, q{ALTER SERVER hello OPTIONS (ADD enabled 'false')});
ok($node->poll_query_until('postgres', q{SELECT count(*) > 20 FROM nexus.pending_operations WHERE blocked_reason = 'endpoint_disabled'}), 'an endpoint is disabled');
value($node, q{ALTER SERVER hello OPTIONS (DROP enabled)});
end_load($load, 'workers that end');
all_closed('workers that end');
check('workers that end');

# --- outcomes that wait for a locked row, while others go past them

my @held = map { schedule($node, 'idle', 'async', { after => undef }) } 1 .. 3;
wait_state($node, $_, 'started') for @held;
my $session = $node->background_psql('postgres');
my $list = join ', ', map { quote($_) } @held;
$session->query_safe("BEGIN; SELECT id FROM nexus.operation WHERE id IN ($list) FOR UPDATE");
$load = begin_load(4);
$handler->complete($_) for @held;
ok($node->poll_query_until('postgres', q{SELECT last_error LIKE '%lock timeout%' FROM nexus.workers WHERE kind = 'worker'}), 'outcomes are set aside');
my $since = value($node, 'SELECT max(close_time) FROM nexus.operations');
ok($node->poll_query_until('postgres', "SELECT count(*) > 50 FROM nexus.operations WHERE close_time > '$since'"), 'others close meanwhile');
my $last = value($node, 'SELECT max(close_time) FROM nexus.operations');
$session->query_safe('COMMIT');
$session->quit;
wait_closed($node, $_) for @held;
is(value($node, "SELECT count(*) FROM nexus.operations WHERE id IN ($list) AND close_time > '$last'"), '3', 'they close after those');
end_load($load, 'locked rows');
all_closed('locked rows');
check('locked rows');

# --- kill -9: sessions and reader are thrown out, too

for my $round (1, 2)
{
	$load = begin_load(30);
	my $seen = value($node, 'SELECT count(*) FROM seen');
	$node->poll_query_until('postgres', "SELECT count(*) > $seen + 200 FROM seen");
	my $worker = nexus_pid($node, 'worker');
	kill 'KILL', $worker;
	ok(!$load->{handle}->finish, "crash $round: the sessions end");
	$reader->{handle}->finish;
	ok(wait_restarted($node, $worker), "crash $round: another worker");
	$reader = begin_reader();
}
# callbacks that were under way may have been given up
poll('the end of all', sub { $handler->release; value($node, q{SELECT count(nexus.terminate(id)) FROM nexus.pending_operations
	WHERE state = 'started' AND started_time < clock_timestamp() - interval '5 s'});
	value($node, 'SELECT count(*) FROM nexus.pending_operations') eq '0' });
all_closed('crashes');
check('crashes');

# --- the greatest close time is known when all rows have gone, even to a clock that was set back

sub next_close_time
{
	my $id = schedule($node, 'idle', 'echo');
	wait_closed($node, $id);
	return "(SELECT close_time FROM nexus.operations WHERE id = '$id')";
}

sub restart_worker
{
	my $worker = nexus_pid($node, 'worker');
	value($node, "SELECT pg_terminate_backend($worker)");
	return wait_new_pid($node, 'worker', $worker);
}

value($node, q{UPDATE nexus.operation SET close_time = close_time + interval '1 hour'
	WHERE close_time = (SELECT max(close_time) FROM nexus.operation)});
restart_worker();
is(value($node, q{SELECT c > clock_timestamp() + interval '59 min' FROM } . next_close_time() . ' AS t (c)'), 't', 'a close time in the future: the next one is behind it');
ok($node->poll_query_until('postgres', 'SELECT close_time > clock_timestamp() FROM place'), 'the reader is there');
value($node, q{ALTER SERVER idle OPTIONS (ADD retention '100ms')});
value($node, q{UPDATE nexus.operation SET close_time = close_time - interval '2 hours' WHERE close_time > clock_timestamp()});
restart_worker();
ok($node->poll_query_until('postgres', q{SELECT count(*) FROM nexus.operations WHERE endpoint = 'idle'}, '0'), 'retention has deleted the newest');
is(value($node, q{SELECT deleted_close_time IS NOT NULL FROM nexus.endpoint_stat WHERE endpoint = 'idle'}), 't', 'and kept the time');
value($node, q{UPDATE nexus.endpoint_stat SET deleted_close_time = clock_timestamp() + interval '2 hours' WHERE endpoint = 'idle'});
value($node, q{ALTER SERVER idle OPTIONS (DROP retention)});
restart_worker();
is(value($node, q{SELECT c > clock_timestamp() + interval '119 min' FROM } . next_close_time() . ' AS t (c)'), 't', 'the next one is behind that');

value($node, 'INSERT INTO stop VALUES (1)');
$reader->{handle}->finish;
$handler->stop;
$node->stop;
done_testing();
