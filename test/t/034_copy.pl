# A copy of a database with open operations sends nothing; the original goes on.
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
$node->safe_psql('postgres', 'CREATE DATABASE origin');
create_extension($node, 'origin');
create_endpoint($node, 'hello', $handler, database => 'origin', retry_initial_interval => '300ms', retry_max_interval => '300ms');

sub in { my ($database, $sql) = @_; return value($node, $sql, $database); }

sub worker_state
{
	my ($database) = @_;
	return value($node, "SELECT state FROM nexus.workers WHERE kind = 'worker' AND database = '$database'");
}

# Open operations of every kind.
# a dump ends with its grants, which is when a worker looks at a restored database
in('origin', 'CREATE ROLE app; GRANT USAGE ON FOREIGN SERVER hello TO app');
my $started = schedule($node, 'hello', 'async', { after => undef, result => 1 }, database => 'origin');
wait_state($node, $started, 'started', 'origin');
my $backing = schedule($node, 'hello', 'flaky', { times => 3 }, database => 'origin');
wait_state($node, $backing, 'backing_off', 'origin');
in('origin', q{ALTER SERVER hello OPTIONS (ADD enabled 'false')});
my $waiting = schedule($node, 'hello', 'echo', undef, database => 'origin');
my $canceled = schedule($node, 'hello', 'async', { after => undef }, database => 'origin');

sub is_inert
{
	my ($database, $how) = @_;
	ok(poll("the worker of $database", sub { worker_state($database) eq 'paused' }), "$how: the worker is paused")
		or diag(worker_state($database));
	is(in($database, "SELECT count(*) FROM nexus.operations WHERE state IN ('scheduled', 'backing_off', 'started')"), '4',
		"$how: the operations are there");
	my $before = $handler->stats->{requests};
	in($database, q{ALTER SERVER hello OPTIONS (SET enabled 'true')});
	is(in($database, q{SELECT count(*) FROM nexus.pending_operations WHERE blocked_reason = 'paused'}) > 0, 1, "$how: blocked, paused")
		or diag(in($database, 'SELECT state, blocked_reason FROM nexus.pending_operations'));
	in($database, q{SELECT nexus.schedule('hello', 'any', 'new')});
	is(value($node, q{SELECT 1}), '1', "$how: the server is well");
	ok(poll('a while', sub { in($database, "SELECT clock_timestamp() > max(scheduled_time) + interval '700 ms' FROM nexus.operations") }),
		"$how: after a while");
	is($handler->stats->{requests}, $before, "$how: nothing was sent");
	return;
}

# --- a template

my $offset = -s $node->logfile;
$node->safe_psql('postgres', 'CREATE DATABASE twin TEMPLATE origin');
is_inert('twin', 'template');
like(slurp_file($node->logfile, $offset), qr/WARNING:  this database holds operations of another one/, 'template: the log says why');

# --- dump and restore

$node->safe_psql('postgres', 'CREATE DATABASE restored');
my $file = PostgreSQL::Test::Utils::tempdir() . '/dump';
command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr('origin') ], 'pg_dump');
$offset = -s $node->logfile;
command_ok([ 'pg_restore', '-d', $node->connstr('restored'), $file ], 'pg_restore');
is_inert('restored', 'restore');
like(slurp_file($node->logfile, $offset), qr/WARNING:  this database holds operations of another one/, 'restore: the log says why');

# --- a copy is not confused with the original by callbacks either

my ($url, $headers) = callback_of($handler, $started);
is(worker_state('origin'), 'running', 'the worker of the original runs');
in('origin', q{ALTER SERVER hello OPTIONS (SET enabled 'true')});
is(post($url, $headers, '"done"'), 200, 'a callback');
is(state_of($node, $started, 'origin'), 'succeeded', 'reaches the original');
is(state_of($node, $started, 'twin'), 'started', 'and not the template copy');
is(state_of($node, $started, 'restored'), 'started', 'nor the restored one');
is(wait_closed($node, $backing, 'origin'), 'succeeded', 'the original goes on with what backed off');
is(wait_closed($node, $waiting, 'origin'), 'succeeded', 'and with what waited');
is(in('origin', q{SELECT nexus.execute('hello', 'any', 'o', '1')}), '1', 'and with new ones');

# --- after a restart as before it

$node->restart;
wait_running($node, 'origin');
ok(poll('the copies', sub { worker_state('twin') eq 'paused' && worker_state('restored') eq 'paused' }), 'copies are paused after a restart');
is(in('origin', q{SELECT nexus.execute('hello', 'any', 'o', '1')}), '1', 'the original runs');

# --- a rename is no copy

$node->safe_psql('postgres', 'ALTER DATABASE origin RENAME TO renamed');
wait_running($node, 'renamed');
is(in('renamed', q{SELECT nexus.execute('hello', 'any', 'o', '2')}), '2', 'the original runs under another name');

# --- the same dump in a database that has begun to work by itself

$node->safe_psql('postgres', 'CREATE DATABASE fresh');
create_extension($node, 'fresh');
create_endpoint($node, 'own', $handler, database => 'fresh');
is(in('fresh', q{SELECT nexus.execute('own', 'any', 'o', '3')}), '3', 'a fresh database');

$handler->stop;
$node->stop;
done_testing();
