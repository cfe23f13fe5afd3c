# Await: who wakes up, what they see, and what ends the waiting only.
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

my $SLEEPERS = 100;
my $MB = 1024 * 1024;
my $SHARED_BUFFERS = 16;	# MB; they count as a session's memory, too
my $node = nexus_node('main', conf => "max_connections = 130\nnexus_pg.await_timeout = 20s\nshared_buffers = ${SHARED_BUFFERS}MB");
my $handler = NexusTest::Handler->start;
create_endpoint($node, 'hello', $handler);

sub started
{
	my $id = schedule($node, 'hello', 'async', { after => undef });
	wait_state($node, $id, 'started');
	return $id;
}

# Wait until so many sessions sleep in an await.
sub wait_sleeping
{
	my ($count) = @_;
	return $node->poll_query_until('postgres', "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND "
		. "wait_event_type IN ('Extension', 'Client', 'IPC', 'Timeout') AND query ~* 'nexus\\.(await|wait)' "
		. "AND pid <> pg_backend_pid()", $count);
}

sub begin { return begin_sql($node, @_); }
sub finish { return finish_sql(@_); }

# --- from another session

my $id = started();
my $waiting = begin("SELECT nexus.await('$id')");
ok(wait_sleeping(1), 'a session sleeps');
$handler->complete($id, result => { n => 1 });
is(finish($waiting)->{out}, '{"n": 1}', 'scenarios 44 and 92: the result wakes it');

$id = started();
$waiting = begin("SELECT nexus.await('$id')");
wait_sleeping(1);
my $time = time();
value($node, "SELECT nexus.terminate('$id')");
like(finish($waiting)->{err}, qr/ERROR:  NX004/, 'scenario 92: and so does any other end');
cmp_ok(time() - $time, '<', 2, 'soon');

for my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	$id = started();
	$waiting = begin("BEGIN ISOLATION LEVEL $level; SELECT 1 FROM pg_class LIMIT 1; SELECT nexus.await('$id'); COMMIT");
	wait_sleeping(1);
	$handler->complete($id, result => 2);
	is(finish($waiting)->{out}, "1\n2", "$level");
}

# --- the waiting ends, the operation goes on

$id = started();
$time = time();
my ($code, $said) = error_of($node, "SELECT nexus.await('$id', '300 ms')");
is($code, 'NX005', 'the timeout of await');
cmp_ok(time() - $time, '>=', 0.3, 'not before its time');
cmp_ok(time() - $time, '<', 2, 'and soon after');
is(detail_of($said)->{operation_id}, $id, 'DETAIL has the id');
like($said, qr/HINT:.*goes on/, 'HINT says that it goes on');
is(error_of($node, "SET nexus_pg.await_timeout = '200ms'; SELECT nexus.await('$id')"), 'NX005', 'its default is a setting');
($code, $said) = error_of($node, "SET statement_timeout = '200ms'; SELECT nexus.await('$id')");
is($code, '57014', 'statement_timeout');
like($said, qr/CONTEXT:  awaiting operation $id$/m, 'CONTEXT has the id');
($code, $said) = error_of($node, q{SET statement_timeout = '500ms'; SELECT nexus.execute('hello', 'scripted', 'async', '{"after": null}')});
is($code, '57014', 'statement_timeout of execute');
my ($executed) = $said =~ /CONTEXT:  awaiting operation (\S+)$/m;
is(value($node, "SELECT nexus.terminate('$executed')"), 't', 'CONTEXT has its id, by which it is reached');
is(error_of($node, "CALL nexus.wait('$id', '200 ms')"), 'NX005', 'the timeout of wait');

my $stop = "FROM pg_stat_activity WHERE query LIKE 'SELECT nexus.await%' AND pid <> pg_backend_pid()";
for my $case ([ 'pg_cancel_backend', '57014' ], [ 'pg_terminate_backend', '57P01' ])
{
	$waiting = begin("SELECT nexus.await('$id')");
	wait_sleeping(1);
	value($node, "SELECT $case->[0](pid) $stop AND state = 'active'");
	like(finish($waiting)->{err}, qr/$case->[1]/, $case->[0]);
}
is(state_of($node, $id), 'started', 'it still goes on');
$waiting = begin("BEGIN; SAVEPOINT a; SELECT nexus.await('$id', '100 ms'); ROLLBACK TO a; SELECT nexus.await('$id', '20 s'); COMMIT");
$node->poll_query_until('postgres', "SELECT count(*) FROM pg_stat_activity WHERE query ~ '20 s' AND pid <> pg_backend_pid()", '1');
$handler->complete($id, result => 3);
is(finish($waiting)->{out}, '3', 'a session may wait again after its time-out');

# --- many sessions, one operation

$id = started();
my $script = PostgreSQL::Test::Utils::tempdir() . '/await.sql';
append_to_file($script, "SELECT nexus.await('$id');\n");
my ($out, $err) = ('', '');
my $pgbench = IPC::Run::start([ 'pgbench', '-n', '-c', $SLEEPERS, '-j', 2, '-t', 1, '-f', $script, $node->connstr('postgres') ],
	'>', \$out, '2>', \$err);
ok(wait_sleeping($SLEEPERS), "$SLEEPERS sessions sleep");
$time = time();
$handler->complete($id, result => 4);
$pgbench->finish;
like($out, qr{actually processed: $SLEEPERS/$SLEEPERS}, 'one callback wakes them all') or diag($err);
cmp_ok(time() - $time, '<', 5, 'soon');

# --- many operations, one session

my @ids = map { started() } 1 .. 4;
my $array = "ARRAY['" . join("', '", @ids) . "']::uuid[]";
$waiting = begin("SELECT operation_id, state, result, failure->>'message' FROM nexus.await_all($array)");
wait_sleeping(1);
$handler->complete($ids[2], result => 1);
$handler->complete($ids[1], state => 'failed', failure => { message => 'operation error', metadata => { type => 'nexus.OperationError' },
	details => { state => 'failed' }, cause => { message => 'm' } });
value($node, "SELECT nexus.terminate('$ids[3]', 'enough')");
wait_closed($node, $ids[3]);
wait_closed($node, $ids[1]);
ok(wait_sleeping(1), 'await_all waits for the last');
$handler->complete($ids[0], result => 2);
is(finish($waiting)->{out}, "$ids[0]|succeeded|2|\n$ids[1]|failed||operation error\n$ids[2]|succeeded|1|\n$ids[3]|terminated||enough",
	'one row each, in the order given');
$id = started();
$time = time();
is(value($node, "SELECT state, result IS NULL FROM nexus.await_all(ARRAY['$ids[0]', '$id']::uuid[], '200 ms')"),
	"succeeded|f\nstarted|t", 'at its timeout: what is');
cmp_ok(time() - $time, '<', 2, 'soon');
is(value($node, "SELECT count(*) FROM nexus.await_all('{}')"), '0', 'of nothing');
is(value($node, "SELECT count(*) FROM nexus.await_all(NULL)"), '0', 'of NULL');

# What is read of one operation is given back before the next one is read.
my $large = value($node, "SELECT string_agg(quote_literal(nexus.schedule('hello', 'scripted', 'huge', '{\"size\": $MB}')), ', ') "
	. 'FROM generate_series(1, 60)');
my $reader = $node->background_psql('postgres');
my $pid = $reader->query_safe('SELECT pg_backend_pid()');
for my $what ('at first', 'once they are closed')
{
	is($reader->query_safe("SELECT count(result) FROM nexus.await_all(ARRAY[$large]::uuid[])"), '60', "60 MB of results, $what");
	my ($most) = slurp_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+) kB/m;
	cmp_ok($most / 1024, '<', $SHARED_BUFFERS + 80, 'without holding all of them in memory');
}
$reader->quit;

# --- wait holds nothing back

$waiting = begin("CALL nexus.wait('$id')");
wait_sleeping(1);
is(value($node, "SELECT backend_xmin IS NULL AND backend_xid IS NULL FROM pg_stat_activity WHERE query LIKE 'CALL nexus.wait%'"), 't',
	'a sleeping CALL wait holds no snapshot');
is(value($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND pid = "
	. "(SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL nexus.wait%')"), '0', 'and no lock');
$handler->complete($id, result => 5);
is(finish($waiting)->{out}, '5', 'and yields the result');
$id = started();
$waiting = begin("BEGIN; CALL nexus.wait('$id'); COMMIT");
wait_sleeping(1);
$handler->complete($id, result => 6);
is(finish($waiting)->{out}, '6', 'in a transaction block it works, too');

# --- what cannot end well

is(error_of($node, q{BEGIN; SELECT nexus.schedule('hello', 's', 'o') AS id \gset
	SELECT nexus.await(:'id')}), 'NX009', 'awaiting what this transaction schedules');
is(error_of($node, q{BEGIN; SAVEPOINT a; SELECT nexus.schedule('hello', 's', 'o') AS id \gset
	RELEASE a; CALL nexus.wait(:'id')}), 'NX009', 'and in a subtransaction, by wait');
is(error_of($node, q{BEGIN; SELECT nexus.schedule('hello', 's', 'o') AS id \gset
	SELECT * FROM nexus.await_all(ARRAY[:'id']::uuid[])}), 'NX009', 'and by await_all');
is(error_of($node, 'SELECT nexus.await(gen_random_uuid())'), '42704', 'scenario 90: an unknown operation');
is(value($node, 'SELECT nexus.await(NULL) IS NULL AND nexus.state(NULL) IS NULL AND nexus.result(NULL) IS NULL'), 't', 'of NULL');
$id = started();
is(value($node, "SELECT nexus.result('$id') IS NULL"), 't', 'result() of an open one');
is(error_of($node, "BEGIN READ ONLY; SELECT nexus.await('$id', '1 s')"), '25006', 'in a read-only transaction');

# A function that says of itself, wrongly, that parallel workers may run it.
for my $function (qw(state result await))
{
	my ($code, $said) = error_of($node, "CREATE FUNCTION pg_temp.hasty(id uuid) RETURNS text LANGUAGE plpgsql PARALLEL SAFE AS "
		. "'BEGIN RETURN nexus.$function(id); END'; "
		. "SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query'); "
		. "SELECT pg_temp.hasty('$id')");
	is($code, '25000', "$function() in a parallel worker");
	like($said, qr/cannot execute nexus\.$function\(\) during a parallel operation/, 'the error says so');
}

# --- the operation is scheduled by a transaction that commits later

my $session = $node->background_psql('postgres');
$id = $session->query_safe("BEGIN; SELECT nexus.schedule('hello', 'any', 'echo', '7')");
is(error_of($node, "SELECT nexus.await('$id')"), '42704', 'before the commit it does not exist for others');
$session->query_safe('COMMIT');
is(value($node, "SELECT nexus.await('$id')"), '7', 'after it, it does');
$session->quit;

# --- execute

is(error_of($node, q{SELECT nexus.execute('hello', 'scripted', 'async', '{"after": null}', await_timeout => '200 ms')}), 'NX005',
	'the await_timeout of execute');
$waiting = begin(q{SELECT nexus.execute('hello', 'scripted', 'async', '{"after": null}')});
ok($node->poll_query_until('postgres', "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT nexus.execute%' "
	. "AND pid <> pg_backend_pid()", '1'), 'execute waits');
value($node, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT nexus.execute%' AND pid <> pg_backend_pid()");
like(finish($waiting)->{err}, qr/57014/, 'it can be canceled');

$handler->stop;
$node->stop;
done_testing();
