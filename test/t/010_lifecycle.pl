# Workers come and go with extension and database, never stand in the way of a
# command that wants a database for itself, and come back after errors.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $IDLE_SECONDS = 2;
my $LEAVE_SECONDS = 4;

my $node = nexus_node('main', conf => 'restart_after_crash = on');

# As nexus.workers has it; "postgres" always has the extension.
sub workers
{
	my ($column) = @_;
	return $node->safe_psql('postgres',
		"SELECT coalesce(string_agg($column, ' ' ORDER BY database), '') FROM nexus.workers WHERE kind = 'worker'");
}

sub wait_workers
{
	my ($expected, $what) = @_;
	my $seen = '';
	poll($what, sub { $seen = workers("database || ':' || state"); $seen eq $expected });
	is($seen, $expected, $what);
	return;
}

sub socket_files
{
	my ($oid) = @_;
	return scalar(grep { m{/$oid(\D|$)} } glob($node->data_dir . '/pgsql_tmp_nexus/*'));
}

# --- one worker for each database with the extension

wait_workers('postgres:running', 'CREATE EXTENSION starts a worker');
ok(nexus_pid($node, 'launcher'), 'the launcher runs');

$node->safe_psql('postgres', 'CREATE DATABASE plain');
$node->safe_psql('postgres', 'CREATE DATABASE one');
create_extension($node, 'one');
wait_workers('one:running postgres:running', 'a database without the extension has no worker');

# --- commands that want a database for themselves

$node->safe_psql('postgres', 'CREATE DATABASE two TEMPLATE one');
wait_workers('one:running postgres:running two:running', 'template and copy have a worker after CREATE DATABASE');

$node->safe_psql('postgres', 'ALTER DATABASE two RENAME TO three');
wait_workers('one:running postgres:running three:running', 'the worker is back after RENAME');

my $tablespace = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$tablespace'");
$node->safe_psql('postgres', 'ALTER DATABASE three SET TABLESPACE elsewhere');
wait_workers('one:running postgres:running three:running', 'the worker is back after SET TABLESPACE');

$node->safe_psql('postgres', 'BEGIN; ALTER DATABASE three RENAME TO four; ROLLBACK');
wait_workers('one:running postgres:running three:running', 'the worker is back after a RENAME that was rolled back');

my $oid = $node->safe_psql('postgres', "SELECT oid FROM pg_database WHERE datname = 'three'");
my $start = time();
$node->safe_psql('postgres', 'DROP DATABASE three');
cmp_ok(time() - $start, '<', $LEAVE_SECONDS, 'DROP DATABASE does not wait for the worker');
wait_workers('one:running postgres:running', 'the worker is gone with its database');
is(socket_files($oid), 0, 'and so are its sockets');

# --- somebody who may not run the command cannot send the worker away

$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN CREATEDB');
my $pid = nexus_pid($node, 'worker', 'one');
for my $sql ('DROP DATABASE one', 'CREATE DATABASE stolen TEMPLATE one', 'ALTER DATABASE one RENAME TO mine',
	'ALTER DATABASE one SET TABLESPACE elsewhere')
{
	isnt(error_of($node, $sql, user => 'mallory'), '', "refused: $sql");
}
is(nexus_pid($node, 'worker', 'one'), $pid, 'the worker stayed');

# --- a command that fails gives the database back

my $session = $node->background_psql('one');
$session->query_safe('SELECT 1');
is(error_of($node, 'DROP DATABASE one'), '55006', 'another session is in the way of DROP DATABASE');
$session->quit;
wait_workers('one:running postgres:running', 'the worker is back after a DROP DATABASE that failed');
wait_running($node, 'one');

# --- the extension comes and goes

$node->safe_psql('one', "DROP EXTENSION nexus_pg;\nCREATE EXTENSION nexus_pg;\n" x 5);
wait_workers('one:running postgres:running', 'one worker after DROP and CREATE in quick succession');
$node->safe_psql('one', 'BEGIN; DROP EXTENSION nexus_pg; CREATE EXTENSION nexus_pg; COMMIT');
wait_workers('one:running postgres:running', 'and in one transaction');
$node->safe_psql('one', 'DROP EXTENSION nexus_pg');
wait_workers('postgres:running', 'no worker after DROP EXTENSION');
$node->safe_psql('one', "BEGIN; CREATE EXTENSION nexus_pg; PREPARE TRANSACTION 'extension'");
is(workers('database'), 'postgres', 'no worker while CREATE EXTENSION is prepared');
$node->safe_psql('one', "COMMIT PREPARED 'extension'");
wait_workers('one:running postgres:running', 'COMMIT PREPARED starts it');

# --- processes that end

$pid = nexus_pid($node, 'worker');
my $launcher = nexus_pid($node, 'launcher');
kill 'TERM', $launcher;
ok(wait_new_pid($node, 'launcher', $launcher), 'another launcher after SIGTERM');
is(nexus_pid($node, 'worker'), $pid, 'it keeps the workers that run');

kill 'TERM', $pid;
ok(wait_new_pid($node, 'worker', $pid), 'another worker after SIGTERM');

$node->safe_psql('one', 'ALTER TABLE nexus.operation RENAME close_time TO renamed');
kill 'TERM', nexus_pid($node, 'worker', 'one');
wait_workers('one:failed postgres:running', 'failed where a worker cannot go on');
my $error = "SELECT last_error IS NOT NULL FROM nexus.workers WHERE kind = 'worker' AND database = 'one'";
is($node->safe_psql('postgres', $error), 't', 'nexus.workers says why');
is($node->safe_psql('postgres', "SET ROLE mallory; $error"), 'f', 'but not to everybody');
$node->safe_psql('one', 'ALTER TABLE nexus.operation RENAME renamed TO close_time');
wait_workers('one:running postgres:running', 'and it is tried again');

$pid = nexus_pid($node, 'worker');
kill 'KILL', $pid;
ok(wait_restarted($node, $pid), 'a worker that is killed restarts the server, as any backend does');
wait_workers('one:running postgres:running', 'and all workers');

# --- nothing runs while there is nothing to do

sub switches
{
	my ($process) = @_;
	return slurp_file("/proc/$process/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m ? $1 : -1;
}

# The count of wake-ups of a process during a while; it may have to settle.
sub wakes_while_idle
{
	my ($process) = @_;
	my $before = switches($process);
	my $end = time() + $IDLE_SECONDS;
	poll('the while to pass', sub { time() > $end });
	return switches($process) - $before;
}

for my $kind (qw(launcher listener worker))
{
	my $process = nexus_pid($node, $kind);
	ok(poll("the $kind to sleep", sub { wakes_while_idle($process) == 0 }), "an idle $kind never wakes up");
}

# --- endpoints with open operations

create_endpoint($node, 'busy', 'http://127.0.0.1:1/nexus');
create_endpoint($node, 'free', 'http://127.0.0.1:1/nexus');
$node->safe_psql('postgres', <<'SQL');
INSERT INTO nexus.operation (id, incarnation, endpoint, service, operation, owner, state, scheduled_time, cancellation_type)
	SELECT gen_random_uuid(), gen_random_uuid(), 'busy', 's', 'o', 'postgres'::regrole, 'started', now(), 'try_cancel'
SQL
my ($state, $said) = error_of($node, 'DROP SERVER busy CASCADE');
is($state, '55006', 'scenario 18: DROP SERVER with an open operation is refused');
like($said, qr/HINT:.*nexus\.terminate/, 'with a hint');
is(error_of($node, 'ALTER SERVER busy RENAME TO calm'), '55006', 'scenario 18: and so is RENAME');
is(error_of($node, "ALTER SERVER busy OPTIONS (SET url 'http://127.0.0.1:2/nexus')"), '', 'but not ALTER');
is(error_of($node, 'ALTER SERVER free RENAME TO freed'), '', 'an endpoint without operations can be renamed');
is(error_of($node, 'DROP SERVER freed'), '', 'and dropped');
my $id = value($node, "SELECT id FROM nexus.operation WHERE endpoint = 'busy'");
my $sleeper = $node->background_psql('postgres', on_error_stop => 0);
$sleeper->query_until(qr/calls/, "\\echo calls\nCALL nexus.wait('$id', '0');\n");
my $sleepers = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL nexus.wait%' AND state = 'active' AND wait_event IS NOT NULL";
ok($node->poll_query_until('postgres', $sleepers, '1'), 'somebody waits for its operation');
is(error_of($node, 'DROP EXTENSION nexus_pg CASCADE'), '', 'DROP EXTENSION takes its endpoints along');
ok($node->poll_query_until('postgres', $sleepers, '0'), 'and wakes who waits for their operations');
$sleeper->quit;
create_extension($node);

# --- shutdown

my @pids = map { nexus_pid($node, $_) } qw(launcher listener worker);
$start = time();
$node->stop('fast');
cmp_ok(time() - $start, '<', $LEAVE_SECONDS, 'a fast shutdown is fast');
is(scalar(grep { is_alive($_) } @pids), 0, 'and leaves no process');
$node->start;
wait_workers('one:running postgres:running', 'all workers are back after a start');
@pids = map { nexus_pid($node, $_) } qw(launcher listener worker);
$node->stop('immediate');
ok(poll('processes to end', sub { !grep { is_alive($_) } @pids }), 'an immediate shutdown leaves no process');

# --- too few worker processes: logical replication's launcher has one of three

my $small = nexus_node('small', conf => 'max_worker_processes = 3');
$small->safe_psql('postgres', 'CREATE DATABASE other');
$small->safe_psql('other', 'CREATE EXTENSION nexus_pg');
my $other = "SELECT state FROM nexus.workers WHERE database = 'other'";
ok($small->poll_query_until('postgres', $other, 'no_slot'), 'no_slot where no process is left');
my $log = slurp_file($small->logfile);
is(() = $log =~ /WARNING:  could not start the nexus worker for database "other"/g, 1, 'one warning');
like($log, qr/HINT:.*max_worker_processes/, 'that names the setting');
$small->safe_psql('other', 'CREATE TABLE t (); DROP TABLE t');
kill 'TERM', nexus_pid($small, 'worker');
ok($small->poll_query_until('postgres', $other, 'running'), 'it starts when another has ended');
$small->stop;

# --- not preloaded

my $plain = PostgreSQL::Test::Cluster->new('plain');
$plain->init;
$plain->start;
my ($status, $out, $err) = $plain->psql('postgres', 'CREATE EXTENSION nexus_pg');
is($status, 0, 'CREATE EXTENSION works without preloading');
like($err, qr/WARNING:.*not preloaded/, 'and warns');
like($err, qr/^shared_preload_libraries = 'nexus_pg'\nmax_worker_processes = \d+$/m, 'with the lines to add');
is($plain->safe_psql('postgres', 'SELECT count(*) FROM nexus.workers'), '0', 'nobody is there');
$plain->stop;

done_testing();
