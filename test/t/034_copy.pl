# A copy of a database with open operations sends nothing until it is said what
# becomes of them; the original goes on.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# callbacks find it after a restart
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $node = nexus_node('main', conf => "nexus_pg.port = $port\n");
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

# --- resume has to say what becomes of them

my $open = q{state IN ('scheduled', 'backing_off', 'started')};
sub count { my ($database, $where) = @_; return in($database, "SELECT count(*) FROM nexus.operations WHERE $where"); }
sub stat_of { my ($database, $column) = @_; return in($database, "SELECT coalesce(sum($column), 0) FROM nexus.stat_endpoints"); }

my ($sqlstate, $said) = error_of($node, 'SELECT nexus.resume()', database => 'twin');
is($sqlstate, '55000', 'resume alone is refused');
like($said, qr/ERROR: .* 4 open operations/, 'the error has their number');
like($said, qr/DETAIL: .*resume\('adopt'\).*resume\('terminate'\)/, 'and the choices');
is(error_of($node, q{SELECT nexus.resume('all')}, database => 'twin'), '22023', 'there is no other');
($sqlstate, $said) = error_of($node, q{SELECT nexus.resume('adopt')}, database => 'twin');
is($sqlstate, '55000', 'what its original has cannot be adopted');
like($said, qr/database "renamed"/, 'the error names that');
in('twin', q{BEGIN; SELECT nexus.resume('terminate'); ROLLBACK});
is(worker_state('twin'), 'paused', 'a resume that was rolled back did not happen');

# --- terminate: the copy becomes a database of its own

my $requests = $handler->stats->{requests};
my $terminated = stat_of('twin', 'terminated');
my $session = $node->background_psql('twin', on_error_stop => 0);
$session->query_until(qr/begun/, "\\echo begun\nSELECT state FROM nexus.await_all(ARRAY['$started']::uuid[]);\n");
my $locker = $node->background_psql('twin');
$locker->query_safe("BEGIN; SELECT 1 FROM nexus.operation WHERE id = '$canceled' FOR UPDATE");
in('twin', 'SELECT nexus.pause()');
in('twin', q{SELECT nexus.cancel(id) FROM nexus.operations WHERE id <> '} . $canceled . q{' AND close_time IS NULL});
in('twin', q{SELECT nexus.resume('terminate'), nexus.resume('terminate')});
like($session->query_safe('SELECT 1'), qr/^terminated$/m, 'who awaits one is woken');
$session->quit;
is(state_of($node, $canceled, 'twin'), 'scheduled', 'one that is locked has to wait');
is(worker_state('twin'), 'paused', 'and the worker with it');
$locker->query_safe('COMMIT');
$locker->quit;
wait_running($node, 'twin');
is(join(' ', map { state_of($node, $_, 'twin') } $started, $backing, $waiting, $canceled), join(' ', ('terminated') x 4), 'terminate');
is(stat_of('twin', 'terminated') - $terminated, 4, 'is counted');
is(in('twin', "SELECT count(DISTINCT close_time) FROM nexus.operations WHERE state = 'terminated'"), '4', 'each at its own time');
my $attributes = json_of(in('twin', "SELECT attributes FROM nexus.operation_history WHERE operation_id = '$started'
	AND event_type = 'NexusOperationTerminated'"));
like($attributes->{reason}, qr/copy/, 'the history has the reason');
is($attributes->{identity}, in('twin', 'SELECT session_user'), 'and who it was');
is(in('twin', 'SELECT count(*), count(adopted_by) FROM nexus.incarnation'), '1|0', 'the keys of the original are gone');
is(in('twin', 'SELECT count(*) FROM nexus.request'), '0', 'and so are requests');
ok($node->poll_query_until('twin', "SELECT count(*) FROM nexus.operations WHERE $open", '0'), 'what was scheduled in the copy itself is sent');
is(in('twin', q{SELECT nexus.execute('hello', 'any', 'o', '5')}), '5', 'as are new ones');
is(scalar(grep { $_->{kind} eq 'cancel' } $handler->log), 0, 'handlers were told nothing');
is(state_of($node, $started, 'renamed'), 'succeeded', 'the original is as it was');
is(in('twin', 'SELECT nexus.resume()'), '', 'now it is resumed like any other');

# --- adopt: the original is gone

in('renamed', "SELECT nexus.terminate('$canceled')");
$canceled = schedule($node, 'hello', 'async', { after => undef, cancel => { complete => 'canceled', after => 0 } }, database => 'renamed');
$started = schedule($node, 'hello', 'async', { after => undef, result => 1 }, database => 'renamed');
my $cancel_later = schedule($node, 'hello', 'async', { after => undef, cancel => { complete => 'canceled', after => 0 } }, database => 'renamed');
wait_state($node, $_, 'started', 'renamed') for $canceled, $started, $cancel_later;
$backing = schedule($node, 'hello', 'flaky', { times => 3 }, database => 'renamed', schedule_to_close_timeout => '1 hour');
in('renamed', q{ALTER SERVER hello OPTIONS (SET enabled 'false')});
$waiting = schedule($node, 'hello', 'echo', undef, database => 'renamed');
my $late = schedule($node, 'hello', 'echo', undef, database => 'renamed', schedule_to_close_timeout => '1s');
in('renamed', "SELECT nexus.cancel('$canceled')");
ok($node->poll_query_until('renamed', 'SELECT count(*) FROM nexus.request', '0'), 'a cancel is recorded');
# frozen, so that the dump has requests that nobody took
kill 'STOP', my $frozen = nexus_pid($node, 'worker', 'renamed');
my $unsent = in('renamed', q{BEGIN; SELECT id, nexus.cancel(id) FROM nexus.schedule('hello', 'any', 'o') AS id; COMMIT});
$unsent =~ s/\|.*//s;
in('renamed', "SELECT nexus.cancel('$cancel_later'); SELECT nexus.pause()");
command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr('renamed') ], 'pg_dump');
kill 'CONT', $frozen;
my %url_of = map { $_ => [ callback_of($handler, $_) ] } $started, $cancel_later;

$node->safe_psql('postgres', 'CREATE DATABASE heir');
command_ok([ 'pg_restore', '-d', $node->connstr('heir'), $file ], 'pg_restore');
in('heir', q{SELECT nexus.schedule('hello', 'any', 'of the heir')});
ok(poll('the worker', sub { worker_state('heir') eq 'paused' }), 'the heir is paused');
is(error_of($node, q{SELECT nexus.resume('adopt')}, database => 'heir'), '55000', 'while the original is there');
# a hook could make it send before it goes
in('renamed', 'DELETE FROM nexus.operation');
$node->safe_psql('postgres', 'DROP DATABASE renamed');
$node->restart;
ok(poll('the worker', sub { worker_state('heir') eq 'paused' }), 'paused after a restart');
listener_port($node);
is(post(@{ $url_of{$started} }, '7'), 503, 'callbacks have to come again');
is(post($url_of{$started}[0], { %{ $url_of{$started}[1] }, 'Nexus-Pg-Token' => '1.1.' . 'A' x 43 }, '7'), 401, 'with a good token');

my %sent = map { $_ => scalar $handler->log(request_id => $_, kind => 'start') } $started, $canceled, $cancel_later, $backing;
$locker = $node->background_psql('heir');
$locker->query_safe("BEGIN; SELECT 1 FROM nexus.operation WHERE id = '$waiting' FOR UPDATE");
in('heir', 'SELECT nexus.pause()');
in('heir', q{SELECT nexus.resume('adopt')});
ok($node->poll_query_until('heir', 'SELECT count(DISTINCT incarnation) = 2 AND count(*) FILTER (WHERE incarnation <>
	(SELECT id FROM nexus.incarnation WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database()))) = 1
	FROM nexus.operation WHERE close_time IS NULL'), 'all but the locked one are adopted');
is(worker_state('heir'), 'paused', 'the worker is not done');
kill_server($node);
$locker->{run}->finish;
$node->start;
wait_running($node, 'heir');
is(in('heir', 'SELECT count(*), count(adopted_by) FROM nexus.incarnation'), '2|1', 'after a crash it is done');
is(in('heir', 'SELECT count(*) FROM nexus.incarnation WHERE paused AND adopted_by IS NULL'), '0', 'and nothing is paused any more');
in('heir', q{ALTER SERVER hello OPTIONS (SET enabled 'true')});
is(wait_closed($node, $late, 'heir'), 'timed_out', 'deadlines are those of the original');
is(wait_closed($node, $waiting, 'heir'), 'succeeded', 'what waited is sent');
is(wait_closed($node, $backing, 'heir'), 'succeeded', 'and what backed off');
is(scalar $handler->log(request_id => $backing, kind => 'start'), 4, 'under its old request id');
is(wait_closed($node, $canceled, 'heir'), 'canceled', 'a cancel request is sent');
is(wait_closed($node, $cancel_later, 'heir'), 'canceled', 'and one that nobody had taken');
is(wait_closed($node, $unsent, 'heir'), 'canceled', 'and not where it came with its operation');
ok(!$handler->log(request_id => $unsent), 'which nobody has heard of');
is(post(@{ $url_of{$started} }, '7'), 200, 'a callback of the original is accepted');
is(in('heir', "SELECT nexus.result('$started')"), '7', 'and has its effect');
is(scalar $handler->log(request_id => $_, kind => 'start'), $sent{$_}, 'started once') for $started, $canceled, $cancel_later;
is(in('heir', 'SELECT count(*) FROM nexus.request'), '0', 'no request is left');
in('heir', q{SELECT nexus.resume('adopt')});
is(in('heir', q{SELECT nexus.execute('hello', 'any', 'o', '6')}), '6', 'adopting once more changes nothing');
is(worker_state('heir'), 'running', 'it runs');
$node->restart;
wait_running($node, 'heir');
listener_port($node);
is(post(@{ $url_of{$cancel_later} }, '8'), 200, 'old callbacks find it after a restart');

# --- a copy of the heir is a copy of both

command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr('heir') ], 'pg_dump');
my $cluster = nexus_node('second');
$cluster->safe_psql('postgres', 'CREATE ROLE app; CREATE DATABASE heir');
command_ok([ 'pg_restore', '-d', $cluster->connstr('heir'), $file ], 'pg_restore into another cluster');
ok(poll('the worker', sub { value($cluster, q{SELECT state FROM nexus.workers WHERE database = 'heir'}, 'heir') eq 'paused' }), 'paused');
like((error_of($cluster, 'SELECT nexus.resume()', database => 'heir'))[1], qr/with 0 open operations/, 'even where none is open');
value($cluster, q{SELECT nexus.resume('adopt')}, 'heir');
wait_running($cluster, 'heir');
is(value($cluster, 'SELECT count(*), count(DISTINCT adopted_by) FROM nexus.incarnation', 'heir'), '3|1', 'it adopts all of them');
is(value($cluster, q{SELECT nexus.execute('hello', 'any', 'o', '9')}, 'heir'), '9', 'and sends');
$port = listener_port($cluster);
is(post($url_of{$started}[0] =~ s/:\d+/:$port/r, $url_of{$started}[1], '8'), 200, 'callbacks of the first one are answered there');
$cluster->stop;

# --- the same dump in a database that has begun to work by itself

$node->safe_psql('postgres', 'CREATE DATABASE fresh');
create_extension($node, 'fresh');
create_endpoint($node, 'own', $handler, database => 'fresh');
is(in('fresh', q{SELECT nexus.execute('own', 'any', 'o', '3')}), '3', 'a fresh database');
in('restored', q{SELECT nexus.resume('terminate')});
wait_running($node, 'restored');
in('restored', q{ALTER SERVER hello OPTIONS (SET enabled 'false')});
in('restored', q{SELECT nexus.schedule('hello', 'any', 'o')});
command_ok([ 'pg_dump', '-a', '-t', 'nexus.*', '-f', $file, '-d', $node->connstr('restored') ], 'pg_dump of data');
$node->safe_psql('postgres', 'DROP DATABASE restored');
command_ok([ 'psql', '-q', '-d', $node->connstr('fresh'), '-f', $file ], 'which is loaded');
is(in('fresh', q{SELECT nexus.execute('own', 'any', 'o', '4')}), '4', 'goes on for a while');
is(error_of($node, 'SELECT nexus.resume()', database => 'fresh'), '55000', 'but resume sees it');
create_endpoint($node, 'hello', $handler, database => 'fresh');
in('fresh', q{SELECT nexus.resume('adopt')});
ok($node->poll_query_until('fresh', "SELECT count(*) FROM nexus.operations WHERE $open", '0'), 'and adopts it');

# --- many

$node->safe_psql('postgres', 'CREATE DATABASE many');
create_extension($node, 'many');
create_endpoint($node, 'hello', $handler, database => 'many', enabled => 'false');
in('many', q{SELECT count(nexus.schedule('hello', 'any', 'o')) FROM generate_series(1, 20000)});
$node->safe_psql('postgres', 'CREATE DATABASE many_too TEMPLATE many');
in('many_too', q{SELECT nexus.resume('terminate')});
wait_running($node, 'many_too');
is(in('many_too', "SELECT count(*), count(DISTINCT close_time) FROM nexus.operations WHERE state = 'terminated'"), '20000|20000', 'terminate 20,000');
$node->safe_psql('postgres', 'CREATE DATABASE many_now TEMPLATE many');
$node->safe_psql('postgres', 'DROP DATABASE many');
in('many_now', q{SELECT nexus.resume('adopt')});
wait_running($node, 'many_now');
$requests = $handler->stats->{starts};
in('many_now', q{ALTER SERVER hello OPTIONS (SET enabled 'true')});
ok($node->poll_query_until('many_now', "SELECT count(*) FROM nexus.operations WHERE state = 'succeeded'", '20000'), 'adopt 20,000');
is($handler->stats->{starts} - $requests, 20000, 'each is sent once');

$handler->stop;
$node->stop;
done_testing();
