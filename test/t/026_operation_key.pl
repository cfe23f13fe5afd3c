# Operation keys: one open operation of each, whoever asks and however.
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

my $node = nexus_node('main', conf => "nexus_pg.await_timeout = 60s\ndeadlock_timeout = 100ms\nrestart_after_crash = on");
my $handler = NexusTest::Handler->start;
create_endpoint($node, 'hello', $handler, breaker_failures => 0);
create_endpoint($node, 'other', $handler, breaker_failures => 0);

my $directory = PostgreSQL::Test::Utils::tempdir();
my $begun = 0;
my $keys = 0;

sub new_key { return 'key ' . ++$keys; }

# An operation that stays open until it is told otherwise.
sub open_one
{
	my ($key, %arguments) = @_;
	return schedule($node, 'hello', 'async', { after => undef }, operation_key => $key, %arguments);
}

sub closed_one
{
	my ($key, $state, %arguments) = @_;
	my $id = open_one($key, %arguments);
	wait_state($node, $id, 'started');
	if ($state eq 'succeeded')
	{
		$handler->complete($id, result => 'first');
	}
	elsif ($state eq 'terminated')
	{
		value($node, "SELECT nexus.terminate('$id')");
	}
	else
	{
		$handler->complete($id, state => $state, failure => { message => 'no' });
	}
	is(wait_closed($node, $id), $state, "one that is $state");
	return $id;
}

sub execute_sql
{
	my ($key, $input, %arguments) = @_;
	my $operation = delete $arguments{operation} || 'echo';
	return "SELECT nexus.execute('hello', 'scripted', '$operation', '$input', operation_key => " . quote($key)
	  . join('', map { ", $_ => " . quote($arguments{$_}) } sort keys %arguments) . ')';
}

# Begin a statement in a session of its own.
sub begin
{
	my ($sql) = @_;
	my %psql = (out => '', err => '');
	my $file = "$directory/" . ++$begun . '.sql';
	append_to_file($file, "\\set VERBOSITY verbose\n$sql;\n");
	$psql{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', $file ],
		'>', \$psql{out}, '2>', \$psql{err});
	return \%psql;
}

sub finish
{
	my ($psql) = @_;
	$psql->{run}->finish;
	chomp $psql->{out};
	return $psql;
}

# Wait until so many sessions wait for another transaction.
sub wait_blocked
{
	my ($count) = @_;
	return $node->poll_query_until('postgres', "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
		. "AND wait_event = 'transactionid' AND query ~ 'operation_key'", $count);
}

# A transaction that has scheduled with this key and stays open, as a prepared one.
sub hold
{
	my ($key, $name) = @_;
	return value($node, "BEGIN; SELECT nexus.schedule('hello', 'scripted', 'echo', '\"held\"', operation_key => "
		. quote($key) . ") AS id \\gset\nSELECT :'id'; PREPARE TRANSACTION '$name'");
}

sub keys_of
{
	my ($key) = @_;
	return value($node, "SELECT string_agg(generation || ' ' || operation_id, ', ' ORDER BY generation) "
		. 'FROM nexus.operation_key WHERE key = ' . quote($key));
}

# --- one open operation, whatever the policy

my $key = new_key();
my $id = open_one($key, summary => 'the first');
for my $policy (qw(allow_duplicate_failed_only allow_duplicate reject_duplicate))
{
	is(open_one($key, key_reuse_policy => $policy, summary => 'another'), $id, "scenario 89: $policy: an open one is the one");
}
is(row_of($node, 'operations', $id)->{summary}, 'the first', 'what came first stands');
is(row_of($node, 'operations', $id)->{operation_key}, $key, 'scenario 88: the view shows the key');
is(value($node, "SELECT count(*) FROM nexus.operations WHERE operation_key = '$key'"), 1, 'one operation');
is(keys_of($key), "1 $id", 'one row of its key');
isnt(schedule($node, 'other', 'async', { after => undef }, operation_key => $key), $id, 'a key of another endpoint is another key');
isnt(schedule($node, 'hello', 'async', { after => undef }, operation_key => $key, service => 'Scripted'), $id, 'and of another service');
isnt(schedule($node, 'hello', 'echo', 1, operation_key => $key), $id, 'and of another operation');
isnt(schedule($node, 'hello', 'async', { after => undef }), schedule($node, 'hello', 'async', { after => undef }), 'no key, no sharing');
is(value($node, "SELECT nexus.schedule_bytes('hello', 'scripted', 'async', 'x', 'text/plain', operation_key => '$key')"), $id,
	'schedule_bytes shares it');
my $caught = begin(execute_sql($key, '{"after": 0}', operation => 'async'));
$node->poll_query_until('postgres', "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%execute%' AND state = 'active' AND pid <> pg_backend_pid()", 1);
$handler->complete($id, result => 'of the first');
is(finish($caught)->{out}, '"of the first"', 'execute awaits the one that is there');
is(value($node, "SELECT count(*) FROM nexus.operations WHERE operation_key = '$key' AND endpoint = 'hello' AND operation = 'async'"
	. " AND service = 'scripted'"), 1, 'and makes none');

# --- closed ones, by policy

my %gives_way = (
	allow_duplicate_failed_only => { succeeded => 0, failed => 1, canceled => 1, terminated => 1 },
	allow_duplicate => { succeeded => 1, failed => 1, canceled => 1, terminated => 1 },
	reject_duplicate => { succeeded => 0, failed => 0, canceled => 0, terminated => 0 });
for my $state (qw(succeeded failed canceled terminated))
{
	for my $policy (sort keys %gives_way)
	{
		my $closed = closed_one(new_key(), $state);
		my $again = open_one("key $keys", key_reuse_policy => $policy);
		if ($gives_way{$policy}{$state})
		{
			isnt($again, $closed, "scenario 89: $policy: $state gives way");
			is(keys_of("key $keys"), "1 $closed, 2 $again", 'the next generation');
			is(open_one("key $keys", key_reuse_policy => $policy), $again, 'which is the one now');
		}
		else
		{
			is($again, $closed, "scenario 89: $policy: $state stands");
			is(keys_of("key $keys"), "1 $closed", 'no generation is added');
		}
	}
}
$key = new_key();
$id = schedule($node, 'hello', 'async', { after => undef }, operation_key => $key, schedule_to_close_timeout => '50ms');
is(wait_closed($node, $id), 'timed_out', 'one that timed out');
isnt(open_one($key), $id, 'allow_duplicate_failed_only: it gives way');

# What execute says of one that stands.
$key = new_key();
is(value($node, execute_sql($key, '{"n": 1}')), '{"n": 1}', 'execute with a new key');
is(value($node, execute_sql($key, '{"n": 2}')), '{"n": 1}', 'again: the result of the first');
is(value($node, execute_sql($key, '{"n": 3}', key_reuse_policy => 'allow_duplicate')), '{"n": 3}', 'unless duplicates are allowed');
$key = new_key();
$id = closed_one($key, 'failed');
my ($code, $said) = error_of($node, execute_sql($key, '{}', operation => 'async', key_reuse_policy => 'reject_duplicate'));
is($code, 'NX001', 'reject_duplicate: execute raises what the first came to');
is(detail_of($said)->{operation_id}, $id, 'and says which that is');

# --- in one transaction

$key = new_key();
is(value($node, <<"SQL"), "t\nt\nt", 'the own one is found, also in and after savepoints');
BEGIN;
SELECT nexus.schedule('hello', 'scripted', 'echo', '1', operation_key => '$key') AS id \\gset
SELECT nexus.schedule('hello', 'scripted', 'echo', '2', operation_key => '$key') = :'id';
SAVEPOINT s;
SELECT nexus.schedule('hello', 'scripted', 'echo', '3', operation_key => '$key') = :'id';
ROLLBACK TO s;
SELECT nexus.schedule('hello', 'scripted', 'echo', '4', operation_key => '$key') = :'id';
COMMIT;
SQL
is(value($node, "SELECT nexus.await(id) FROM nexus.operations WHERE operation_key = '$key'"), '1', 'it is sent, with its own input');
for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	$key = new_key();
	is(value($node, <<"SQL"), '2', "$level: a savepoint that is rolled back takes its key along");
BEGIN ISOLATION LEVEL $level;
SAVEPOINT s;
SELECT nexus.schedule('hello', 'scripted', 'echo', '1', operation_key => '$key') AS id \\gset
ROLLBACK TO s;
SELECT nexus.schedule('hello', 'scripted', 'echo', '2', operation_key => '$key') AS id2 \\gset
COMMIT;
SELECT nexus.await(:'id2');
SQL
	is(value($node, "SELECT count(*) FROM nexus.operations WHERE operation_key = '$key'"), 1, 'there is one');

	# what commits after our snapshot
	my $file = "$directory/snapshot-$keys.sql";
	append_to_file($file, "SELECT nexus.schedule('hello', 'scripted', 'async', '{\"after\": null}', operation_key => '$key b');\n");
	my $connection = $node->connstr('postgres');
	is(value($node, <<"SQL"), 't', "$level: what is committed now counts, not what the snapshot shows");
BEGIN ISOLATION LEVEL $level;
SELECT count(*) AS n FROM nexus.operations \\gset
\\set other `psql -XAtq -d "$connection" -f $file`
SELECT nexus.schedule('hello', 'scripted', 'async', operation_key => '$key b') = :'other';
COMMIT;
SQL
}

# --- while another transaction is at it

for my $end ('COMMIT', 'ROLLBACK')
{
	$key = new_key();
	my $held = hold($key, "s$keys");
	my $waiting = begin("SELECT nexus.schedule('hello', 'scripted', 'echo', '\"mine\"', operation_key => '$key')");
	ok(wait_blocked(1), "schedule waits for a transaction that may $end");
	value($node, "$end PREPARED 's$keys'");
	my $mine = finish($waiting)->{out};
	is($mine eq $held, $end eq 'COMMIT', $end eq 'COMMIT' ? 'the other one is the one' : 'a new one is made');
	is(value($node, "SELECT nexus.await('$mine')"), $end eq 'COMMIT' ? '"held"' : '"mine"', "its result after a $end");

	$key = new_key();
	$held = hold($key, "e$keys");
	my $before = $handler->stats->{requests};
	my @waiting = map { begin(execute_sql($key, "\"executed $_\"")) } 1 .. 3;
	ok(wait_blocked(3), 'execute waits too');
	is($handler->stats->{requests}, $before, 'and sends nothing');
	is(value($node, execute_sql(new_key(), '"not held up"')), '"not held up"', 'the worker does not wait: other keys go on');
	is(value($node, "SELECT nexus.execute('hello', 'scripted', 'echo', '5')"), '5', 'and operations without one');
	value($node, "$end PREPARED 'e" . ($keys - 1) . "'");
	my %results = map { finish($_)->{out} => 1 } @waiting;
	is(scalar keys %results, 1, "all get one result after a $end");
	like((keys %results)[0], $end eq 'COMMIT' ? qr/^"held"$/ : qr/^"executed \d"$/, 'that of the one that was made');
}

# The one way out of waiting for ever.
$key = new_key();
my $held = hold($key, 'held');
my $time = time();
($code, $said) = error_of($node, execute_sql($key, '1', await_timeout => '300ms'));
is($code, 'NX005', 'await_timeout ends waiting for a key');
cmp_ok(time() - $time, '>=', 0.3, 'not before its time');
cmp_ok(time() - $time, '<', 5, 'and soon after');
like($said, qr/$key.*DETAIL:.*transaction.*HINT:.*Nothing was scheduled/s, 'says whom it waited for, and that nothing was scheduled');
is(error_of($node, "SET statement_timeout = '200ms'; " . execute_sql($key, '1')), '57014', 'statement_timeout');
is(error_of($node, "SET lock_timeout = '200ms'; " . execute_sql($key, '1')), '55P03', 'lock_timeout');
is(error_of($node, "SET lock_timeout = '200ms'; " . execute_sql($key, '1', await_timeout => '100ms')), 'NX005', 'whichever ends first');
is(value($node, "SET lock_timeout = '77s'; BEGIN; SAVEPOINT s; \\set ON_ERROR_STOP 0\n" . execute_sql($key, '1', await_timeout => '50ms')
	. "; ROLLBACK TO s; SHOW lock_timeout"), '77s', 'lock_timeout is as it was');
is(error_of($node, "SET statement_timeout = '200ms'; SELECT nexus.schedule('hello', 'scripted', 'echo', operation_key => '$key')"),
	'57014', 'statement_timeout of schedule');
for my $case ([ 'pg_cancel_backend', '57014' ], [ 'pg_terminate_backend', '57P01' ])
{
	my $waiting = begin(execute_sql($key, '1'));
	wait_blocked(1);
	value($node, "SELECT $case->[0](pid) FROM pg_stat_activity WHERE query ~ 'operation_key' AND wait_event_type = 'Lock'");
	like(finish($waiting)->{err}, qr/$case->[1]/, $case->[0]);
}
is(value($node, "SELECT count(*) FROM nexus.operation_key WHERE key = '$key'"), 0, 'none of them left anything');
value($node, "ROLLBACK PREPARED 'held'");

# Its own transaction.
$key = new_key();
($code, $said) = error_of($node, "BEGIN; SELECT nexus.schedule('hello', 'scripted', 'echo', '1', operation_key => '$key'); "
	. execute_sql($key, '2'));
is($code, 'NX009', 'execute behind the own schedule is refused at once');

# Each holds what the other waits for.
my ($one, $two) = (new_key(), new_key());
value($node, "BEGIN; SELECT pg_advisory_xact_lock(1); PREPARE TRANSACTION 'gate'");
my @crossing = map {
	begin("BEGIN; SELECT nexus.schedule('hello', 'scripted', 'echo', operation_key => '$_->[0]'); "
		. "SELECT pg_advisory_lock_shared(1); SELECT nexus.schedule('hello', 'scripted', 'echo', operation_key => '$_->[1]'); COMMIT")
} [ $one, $two ], [ $two, $one ];
$node->poll_query_until('postgres', "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'", 2);
value($node, "COMMIT PREPARED 'gate'");
is(scalar(grep { finish($_)->{err} =~ /40P01/ } @crossing), 1, 'of two that wait crosswise one is told of the deadlock');

# --- who may

$node->safe_psql('postgres', <<'SQL');
CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE boss LOGIN IN ROLE alice;
GRANT USAGE ON FOREIGN SERVER hello TO alice, bob, boss;
SQL
sub as_role
{
	my ($role, $sql) = @_;
	my ($out, $err) = ('', '');
	$node->psql('postgres', $sql, stdout => \$out, stderr => \$err, extra_params => [ '-U', $role ]);
	return $out;
}
$key = new_key();
my $call = "SELECT nexus.schedule('hello', 'scripted', 'async', '{\"after\": null}', operation_key => '$key')";
$id = as_role('alice', $call);
($code, $said) = error_of($node, $call, user => 'bob');
is($code, '42501', 'an operation of a role that one is no member of is not shared');
like($said, qr/$key/, 'the error names the key');
unlike($said, qr/$id/, 'not the operation');
is(error_of($node, execute_sql($key, '1', operation => 'async'), user => 'bob'), '42501', 'neither by execute');
is(as_role('boss', $call), $id, 'a member of the role shares it');
value($node, "SELECT nexus.terminate('$id')");
wait_closed($node, $id);
isnt(as_role('bob', $call), '', 'one that gives way is in nobody\'s way');

# --- the limit of an index row

my $long = join '', map { chr(33 + int rand 90) } 1 .. 1000;
$long =~ tr/'\\/xy/;
is(error_of($node, "SELECT nexus.schedule('hello', 'scripted', 'echo', operation_key => repeat('k', 1001))"), '22023', 'a key that is too long');
($code, $said) = error_of($node, "SELECT nexus.schedule('hello', '$long', '$long', operation_key => '$long')");
is($code, '22023', 'names and key that are too long together');
like($said, qr/operation_key.*3005 bytes.*2600/s, 'it says how long');
isnt(value($node, "SELECT nexus.schedule('hello', '$long', '$long', operation_key => substr('$long', 1, 595))"), '', 'up to the limit they are not');
is(error_of($node, "SELECT nexus.execute('hello', '$long', '$long', operation_key => substr('$long', 1, 596))"), '22023', 'execute: one more');

# --- the worker goes while it is asked

for my $round (1 .. 5)
{
	my @waiting = map { begin(execute_sql("crash $round", '{"delay": 100}')) } 1 .. 4;
	poll('a session that asks, or has been answered already', sub {
		value($node, "SELECT (SELECT count(*) FROM pg_stat_activity WHERE query ~ 'crash $round' AND pid <> pg_backend_pid()) "
			. "+ (SELECT count(*) FROM nexus.operations WHERE operation_key = 'crash $round')") });
	my $pid = nexus_pid($node, 'worker');
	kill 'KILL', $pid;
	# the server restarts: what was not committed is lost, but nothing is there twice
	finish($_) for @waiting;
	wait_restarted($node, $pid);
	is(value($node, "SELECT count(*) <= 1 FROM nexus.operations WHERE operation_key = 'crash $round'"), 't', "round $round: at most one");
	is(value($node, execute_sql("crash $round", '{"delay": 0}')) =~ /delay/, 1, 'and the key works');
	is(value($node, "SELECT count(*) FROM nexus.operations o JOIN nexus.operation_key k ON k.operation_id = o.id AND k.key = o.operation_key "
		. "WHERE o.operation_key = 'crash $round'"), 1, 'one operation, one key');
}

# --- many sessions, few keys: never two open operations of one

my $schedule = "$directory/schedule.sql";
my $execute = "$directory/execute.sql";
my $mixed = "(ARRAY['allow_duplicate_failed_only', 'allow_duplicate', 'reject_duplicate'])[:p]";
append_to_file($schedule, <<"SQL");
\\set k random(1, 50)
\\set p random(1, 6)
\\set o random(1, 3)
SELECT nexus.schedule('other', 'scripted', (ARRAY['echo', 'operation-error', 'async'])[:o], '{"state": "failed", "after": 5}',
	operation_key => 'stress ' || :k, key_reuse_policy => $mixed);
SQL
append_to_file($execute, <<"SQL");
\\set k random(1, 50)
\\set p random(1, 2)
SELECT nexus.execute('other', 'scripted', 'echo', '1', operation_key => 'stress ' || :k, key_reuse_policy => $mixed);
SQL
for my $retention ('7d', '1s')
{
	$node->append_conf('postgresql.conf', "nexus_pg.retention = $retention");
	$node->reload;
	my ($out, $err) = ('', '');
	my $pgbench = IPC::Run::start([ 'pgbench', '-n', '-c', 8, '-j', 2, '-T', 5, '-f', "$schedule\@3", '-f', $execute,
		$node->connstr('postgres') ], '>', \$out, '2>', \$err);
	my ($looks, $doubles) = (0, 0);
	while ($pgbench->pumpable)
	{
		$doubles += value($node, "SELECT count(*) FROM (SELECT 1 FROM nexus.operation WHERE close_time IS NULL "
			. "AND operation_key LIKE 'stress %' GROUP BY endpoint, service, operation, operation_key HAVING count(*) > 1) d");
		$looks++;
		$pgbench->pump_nb;
	}
	$pgbench->finish;
	like($out, qr/number of failed transactions: 0 /, "retention $retention: all of them did something") or diag($err);
	is($doubles, 0, "never two open operations of one key in $looks looks");
	cmp_ok($looks, '>', 10, 'there were some');
	ok($node->poll_query_until('postgres', "SELECT count(*) FROM nexus.operation WHERE close_time IS NULL AND operation_key LIKE 'stress %'", 0),
		'all of them closed');
	is(value($node, "SELECT count(*) FROM nexus.operation o FULL JOIN nexus.operation_key k ON k.operation_id = o.id "
		. "AND (k.endpoint, k.service, k.operation, k.key) = (o.endpoint, o.service, o.operation, o.operation_key) "
		. "WHERE (o.operation_key LIKE 'stress %' OR k.key LIKE 'stress %') AND (o.id IS NULL OR k.operation_id IS NULL)"), 0,
		'each operation has its key and each key its operation');
}
ok($node->poll_query_until('postgres', "SELECT (SELECT count(*) FROM nexus.operation_key WHERE key LIKE 'stress %')", 0),
	'retention takes the keys along');

$handler->stop;
$node->stop;
done_testing();
