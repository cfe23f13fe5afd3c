# How long closed operations are kept: by the setting and by each endpoint's
# option; what goes with them, what stays, and what a late callback is told.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $node = nexus_node('main', conf => "nexus_pg.port = $port\nnexus_pg.retention = 0\nautovacuum = off");
my $handler = NexusTest::Handler->start;
create_endpoint($node, 'plain', $handler);
create_endpoint($node, 'brief', $handler, retention => '200ms');
create_endpoint($node, 'other', $handler, retention => '200ms');
create_endpoint($node, 'kept', $handler, retention => 0);

sub is_there { return value($node, "SELECT count(*) FROM nexus.operation WHERE id = '$_[0]'"); }

sub is_deleted
{
	my ($id, $name) = @_;
	ok($node->poll_query_until('postgres', "SELECT count(*) FROM nexus.operation WHERE id = '$id'", '0'), $name);
	return;
}

sub closed
{
	my ($endpoint, $operation, $input) = @_;
	my $id = schedule($node, $endpoint, $operation || 'echo', $input);
	wait_closed($node, $id);
	return $id;
}

# Once this one has gone, all of the class that closed before it has been looked at.
sub pass { is_deleted(closed($_[0]), "$_[0]: a bite later"); return; }

sub set_retention
{
	my ($value) = @_;
	my $offset = -s $node->logfile;
	$node->append_conf('postgresql.conf', "nexus_pg.retention = '$value'");
	$node->reload;
	ok(poll('the reload', sub { $node->log_contains(qr/parameter "nexus_pg.retention"/, $offset) }), "nexus_pg.retention = $value");
	return;
}

# --- options and the setting

my %id = map { $_ => closed($_) } qw(plain brief other kept);
my $open = schedule($node, 'brief', 'async', { after => undef });
wait_state($node, $open, 'started');
is_deleted($id{$_}, "$_: its own retention") for qw(brief other);
pass('brief');
is(is_there($id{plain}), '1', 'plain: the setting keeps it for ever');
is(is_there($id{kept}), '1', 'kept: 0 is for ever');
is(state_of($node, $open), 'started', 'what is open stays');

value($node, q{ALTER SERVER plain OPTIONS (ADD retention '200ms')});
is_deleted($id{plain}, 'an option set later takes what closed before');
value($node, q{ALTER SERVER plain OPTIONS (SET retention '1 day')});
$id{plain} = closed('plain');
pass('brief');
is(is_there($id{plain}), '1', 'a longer one keeps');
value($node, q{ALTER SERVER plain OPTIONS (DROP retention)});

set_retention('1s');
is_deleted($id{plain}, 'the setting is for those without an option');
pass('brief');
is(is_there($id{kept}), '1', 'an option stands against the setting');
set_retention(0);

create_endpoint($node, 'dropped', $handler, retention => '1 day');
$id{dropped} = closed('dropped');
value($node, 'DROP SERVER dropped');
pass('brief');
is(is_there($id{dropped}), '1', 'rows of a dropped server follow the setting: for ever');
set_retention('1s');
is_deleted($id{dropped}, 'and a second');
set_retention(0);

# --- what goes with it

$id{parts} = schedule($node, 'plain', 'flaky', { times => 2 });
wait_closed($node, $id{parts});
is(scalar(attempts_of($node, $id{parts})), 2, 'it has failed attempts');
my $twin = closed('kept');
# what nothing writes yet, and a request that came too late
value($node, qq{
	UPDATE nexus.operation SET operation_key = 'key-1' WHERE id = '$id{parts}';
	INSERT INTO nexus.operation_key VALUES ('plain', 'scripted', 'flaky', 'key-1', 1, '$id{parts}'),
		('plain', 'scripted', 'flaky', 'key-1', 2, '$twin'), ('plain', 'scripted', 'flaky', 'key-2', 1, '$twin');
	INSERT INTO nexus.request (id, xid, incarnation, kind, operation_id, requested_time, identity)
		SELECT gen_random_uuid(), '3', gen_random_uuid(), k, o, now(), 'me'
		FROM unnest('{cancel,terminate}'::text[]) k, unnest('{$id{parts},$twin}'::uuid[]) o;
	INSERT INTO nexus.completion (operation_id, owner, function, due_time)
		SELECT o, 'postgres', 'f', 'infinity' FROM unnest('{$id{parts},$twin}'::uuid[]) o;
	INSERT INTO nexus.failed_attempt SELECT '$twin', kind, attempt, started_time, duration, http_status, retryable, failure
		FROM nexus.failed_attempt WHERE operation_id = '$id{parts}';
});
my $parts = sub {
	return value($node, join ' UNION ALL ', map { "SELECT '$_', count(*) FROM nexus.$_ WHERE operation_id = '$_[0]'" }
		qw(operation_key request completion failed_attempt));
};
is($parts->($id{parts}), "operation_key|1\nrequest|2\ncompletion|1\nfailed_attempt|2", 'it has rows everywhere');
value($node, q{ALTER SERVER plain OPTIONS (ADD retention '200ms')});
is_deleted($id{parts}, 'it goes');
is($parts->($id{parts}), "operation_key|0\nrequest|0\ncompletion|0\nfailed_attempt|0", 'and all of it');
is($parts->($twin), "operation_key|2\nrequest|2\ncompletion|1\nfailed_attempt|2", "nothing of another's");

# --- somebody has locked a row

my $session = $node->background_psql('postgres');
for my $case (
	[ 'the operation', 'SELECT 1 FROM nexus.operation WHERE id = %s FOR UPDATE' ],
	[ 'the operation, by a weaker lock', 'SELECT 1 FROM nexus.operation WHERE id = %s FOR KEY SHARE' ],
	[ 'a failed attempt', 'SELECT 1 FROM nexus.failed_attempt WHERE operation_id = %s FOR UPDATE' ])
{
	my ($name, $sql) = @$case;
	value($node, q{ALTER SERVER brief OPTIONS (SET retention '1 day')});
	my $locked = closed('brief', 'flaky', { times => 1 });
	$session->query_safe('BEGIN; ' . sprintf($sql, quote($locked)));
	value($node, q{ALTER SERVER brief OPTIONS (SET retention '200ms')});
	pass('brief');
	pass('brief');
	is(is_there($locked), '1', "locked, $name: it stays");
	is(value($node, 'SELECT count(*) FROM nexus.failed_attempt a WHERE operation_id = ' . quote($locked)), '1', "locked, $name: whole");
	$session->query_safe('COMMIT');
	is_deleted($locked, "locked, $name: it goes once it is free");
	is(value($node, 'SELECT count(*) FROM nexus.failed_attempt a WHERE operation_id = ' . quote($locked)), '0', "locked, $name: with its attempts");
}

# --- an outcome that waits for a lock holds nothing up

$session->query_safe("BEGIN; SELECT 1 FROM nexus.operation WHERE id = '$open' FOR UPDATE");
$handler->complete($open);
ok($node->poll_query_until('postgres', q{SELECT last_error LIKE '%lock timeout%' FROM nexus.workers WHERE kind = 'worker'}),
	'the outcome of a locked row waits');
pass('brief');
$session->query_safe('COMMIT');
is(wait_closed($node, $open), 'succeeded', 'and is written in the end');

# --- a long snapshot elsewhere: dead rows cannot be removed, and are not looked at again

my $many = 6000;
$session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM nexus.operation');
value($node, "SELECT count(nexus.schedule('brief', 'any', 'echo')) FROM generate_series(1, $many)");
ok($node->poll_query_until('postgres', q{SELECT count(*) FROM nexus.operation WHERE endpoint = 'brief' AND service = 'any'}, '0'),
	"$many go while a snapshot is held");
my $entries = sub { return value($node, q{SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'operation_closed'}); };
ok(poll('the statistics', sub { pass('brief'); $entries->() >= $many }), 'each was looked at once');
my $before = $entries->();
pass('brief') for 1 .. 4;
ok(poll('the statistics', sub { $entries->() > $before }), 'a few more, the snapshot still held');
cmp_ok($entries->() - $before, '<', 1000, 'those before are not looked at again');
my $worker = nexus_pid($node, 'worker');
value($node, "SELECT pg_terminate_backend($worker)");
ok(wait_new_pid($node, 'worker', $worker), 'a new worker begins at the left end');
pass('brief');
$session->query_safe('COMMIT');
$session->quit;

# --- a callback for what has gone

my $gone = schedule($node, 'brief', 'async', { after => undef });
wait_state($node, $gone, 'started');
my ($url, $headers) = callback_of($handler, $gone);
value($node, "SELECT nexus.terminate('$gone')");
is_deleted($gone, 'an operation that its handler has not completed');
is(post($url, $headers, '1'), 200, 'a callback for it: a duplicate');
value($node, "ALTER SERVER $_ OPTIONS (SET retention '1 day')") for qw(brief other plain);
is(post($url, $headers, '1'), 200, 'also when the retention is longer again');
kill_server($node);
$node->start;
wait_running($node);
is(poll('the worker', sub { my $status = post($url, $headers, '1'); $status != 503 && $status }), 200, 'and after a crash');

# 404 is final for handlers: only when nothing so young was ever deleted
my $lost = schedule($node, 'brief', 'async', { after => undef });
wait_state($node, $lost, 'started');
($url, $headers) = callback_of($handler, $lost);
value($node, "SELECT nexus.terminate('$lost')");
wait_closed($node, $lost);
value($node, "DELETE FROM nexus.operation WHERE id = '$lost'");
is(post($url, $headers, '1'), 404, 'an operation that is missing for another reason: not found');

$handler->stop;
$node->stop;
done_testing();
