# Who may do and see what, what requests carry, and where they go.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use MIME::Base64 qw(encode_base64);
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $handler = NexusTest::Handler->start;
my $stranger = NexusTest::Handler->start;

# What a server may find around it and must not use.
my $home = PostgreSQL::Test::Utils::tempdir();
append_to_file("$home/.netrc", "machine 127.0.0.1 login ambient password credentials\n");
chmod 0600, "$home/.netrc";
my $node = nexus_node('main', start => 0);
{
	local @ENV{qw(HOME http_proxy HTTP_PROXY all_proxy ALL_PROXY)} = ($home, ($stranger->base) x 4);
	local $ENV{PGHOST} = $ENV{PGHOST};
	$node->start;
}
create_extension($node);
create_endpoint($node, 'hello', $handler, breaker_failures => 0);
value($node, 'CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE watcher LOGIN IN ROLE pg_monitor');

sub as
{
	my ($user, $sql) = @_;
	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $user ]);
}

# The headers that the handler saw of an operation that alice executes.
sub headers_seen
{
	my ($endpoint, $more) = @_;
	return json_of(as('alice', "SELECT nexus.execute('$endpoint', 'scripted', 'headers'" . ($more ? ", $more" : '') . ')'));
}

# --- USAGE

my ($code, $said) = error_of($node, q{SELECT nexus.schedule('hello', 'any', 'o')}, user => 'alice');
is($code, '42501', 'scheduling needs USAGE on the endpoint');
is(error_of($node, q{SELECT nexus.execute('hello', 'any', 'o')}, user => 'alice'), '42501', 'and so does execute');
value($node, 'GRANT USAGE ON FOREIGN SERVER hello TO alice');
my $id = as('alice', q{SELECT nexus.schedule('hello', 'scripted', 'flaky', '{"times": 2}')});
is(wait_closed($node, $id), 'succeeded', 'with USAGE it is sent');

create_endpoint($node, 'guarded', $handler, retry_initial_interval => '300ms', retry_max_interval => '300ms');
value($node, 'GRANT USAGE ON FOREIGN SERVER guarded TO alice');
$id = as('alice', q{SELECT nexus.schedule('guarded', 'scripted', 'flaky', '{"times": 1}')});
wait_state($node, $id, 'backing_off');
value($node, 'REVOKE USAGE ON FOREIGN SERVER guarded FROM alice');
my $other = value($node, q{SELECT nexus.schedule('guarded', 'any', 'o')});
is(wait_closed($node, $other), 'succeeded', 'REVOKE: the operations of others go on');
ok($node->poll_query_until('postgres', "SELECT clock_timestamp() > next_attempt_schedule_time + interval '200 ms' "
	. "FROM nexus.operations WHERE id = '$id'"), 'the time of the next attempt passes');
my $row = row_of($node, 'pending_operations', $id);
is("$row->{state} $row->{blocked_reason}", 'blocked no_usage', 'REVOKE blocks it');
is(scalar($handler->log(request_id => $id)), 1, 'and nothing is sent');
value($node, 'GRANT USAGE ON FOREIGN SERVER guarded TO alice');
is(wait_closed($node, $id), 'succeeded', 'GRANT lets it go on');

# --- who sees what

$id = as('alice', q{SELECT nexus.schedule('hello', 'any', 'o', '{"private": "input"}', summary => 'private summary',
	headers => '{"x-private": "header"}')});
wait_closed($node, $id);
my $failed = as('alice', q{SELECT nexus.schedule('hello', 'scripted', 'handler-error', '{"status": 400, "message": "private failure"}')});
wait_closed($node, $failed);
my $open = as('alice', q{SELECT nexus.schedule('hello', 'scripted', 'async', '{"after": null, "token": "private token"}', summary => 'private')});
wait_state($node, $open, 'started');
for my $view (qw(operations pending_operations operation_history failed_attempts))
{
	my $key = $view =~ /operations$/ ? 'id' : 'operation_id';
	my $all = "SELECT string_agg(v::text, ' ') FROM nexus.$view v WHERE $key IN ('$id', '$failed', '$open')";
	like(as('alice', $all), qr/private/, "$view: the owner sees all");
	is(as('bob', $all), '', "$view: others see nothing");
	my $seen = as('watcher', $all);
	like($seen, qr/$failed|$open/, "$view: pg_monitor sees that there is something");
	unlike($seen, qr/private|70726976617465/, "$view: but not what");
}
value($node, 'GRANT USAGE ON FOREIGN SERVER hello TO bob');
is(as('bob', 'SELECT endpoint, last_failure, last_failure_time FROM nexus.endpoints'), 'hello||', 'endpoints: nor the failures of others');
value($node, 'REVOKE USAGE ON FOREIGN SERVER hello FROM bob');
is(value($node, q{SELECT last_failure FROM nexus.endpoints WHERE endpoint = 'hello'}), 'private failure', 'endpoints: its owner sees them');
for my $call ("nexus.state('$id')", "nexus.result('$id')", "nexus.await('$id')", "nexus.cancel('$open')", "nexus.terminate('$open')")
{
	is(error_of($node, "SELECT $call", user => 'bob'), '42704', "others: $call");
	is(error_of($node, "SELECT $call", user => 'watcher'), '42704', "pg_monitor: $call");
}
value($node, 'GRANT alice TO bob');
is(as('bob', "SELECT nexus.state('$id')"), 'succeeded', 'a member of the role may');
value($node, 'REVOKE alice FROM bob');
for my $table (qw(operation request failed_attempt incarnation))
{
	is(error_of($node, "SELECT * FROM nexus.$table", user => 'watcher'), '42501', "nobody reads the table $table");
}

# --- requests carry nothing ambient and go nowhere else

my $headers = headers_seen('hello');
is($headers->{authorization}, undef, 'no credentials from ~/.netrc');
is($stranger->stats->{requests}, 0, 'no proxy from the environment');
like($headers->{'user-agent'}, qr{^nexus_pg}, 'User-Agent') if exists $headers->{'user-agent'};
is($headers->{cookie}, undef, 'no cookie');
$id = as('alice', q{SELECT nexus.schedule('hello', 'scripted', 'redirect', } . quote(json_text({ location => $stranger->url . '/scripted/echo' })) . ')');
wait_state($node, $id, 'backing_off');
is($stranger->stats->{requests}, 0, 'redirects are not followed');
value($node, "SELECT nexus.terminate('$id')");
wait_closed($node, $id);

# addresses that nobody has, should one of them not be refused
for my $host ('169.254.0.0', '[fe80::1]', '2851995648', '[::ffff:169.254.0.0]')
{
	(my $name = "local$host") =~ s/\W//g;
	my $refused = error_of($node, "CREATE SERVER $name FOREIGN DATA WRAPPER nexus OPTIONS (url 'http://$host/nexus', callback_url 'http://127.0.0.1:1')");
	if ($refused)
	{
		is($refused, '22023', "link-local $host is refused as an option");
		next;
	}
	$id = value($node, "SELECT nexus.schedule('$name', 's', 'o', schedule_to_close_timeout => '20 s')");
	is(wait_state($node, $id, 'failed|backing_off|timed_out'), 'failed', "link-local $host is refused");
	like((attempts_of($node, $id))[0]{failure}{message}, qr/link-local/, 'and the failure says why');
}

# --- credentials

my $secrets = PostgreSQL::Test::Utils::tempdir();
append_to_file("$secrets/token", "first-token\n");
value($node, "CREATE USER MAPPING FOR PUBLIC SERVER hello OPTIONS (bearer_token_file '$secrets/token')");
is(headers_seen('hello')->{authorization}, 'Bearer first-token', "PUBLIC's mapping, from a file");
unlink "$secrets/token";
append_to_file("$secrets/token", 'second-token');
ok(poll('the new token', sub { headers_seen('hello')->{authorization} eq 'Bearer second-token' }),
	'the file is read again when it changed');
unlink "$secrets/token";
ok(poll('its loss', sub {
	$id = as('alice', q{SELECT nexus.schedule('hello', 'any', 'o')});
	return wait_state($node, $id, 'succeeded|backing_off') eq 'backing_off';
}), 'and missed when it is gone');
is(scalar($handler->log(request_id => $id)), 0, 'without the file nothing is sent');
append_to_file("$secrets/token", 'third-token');
is(wait_closed($node, $id), 'succeeded', 'until it is back');
value($node, q{CREATE USER MAPPING FOR alice SERVER hello OPTIONS (bearer_token 'own-token', headers '{"X-Mapped": "yes"}')});
$headers = headers_seen('hello');
is($headers->{authorization}, 'Bearer own-token', "the role's own mapping comes first");
is($headers->{'x-mapped'}, 'yes', 'and its headers');
is(value($node, q{SELECT nexus.execute('hello', 'scripted', 'headers') ->> 'authorization'}), 'Bearer third-token',
	'others have that of PUBLIC');
value($node, q{ALTER USER MAPPING FOR alice SERVER hello OPTIONS (SET bearer_token 'new-token')});
is(headers_seen('hello')->{authorization}, 'Bearer new-token', 'an altered mapping holds at once');
value($node, q{DROP USER MAPPING FOR alice SERVER hello;
	CREATE USER MAPPING FOR alice SERVER hello OPTIONS (username 'ada', password 'pass word')});
is(headers_seen('hello')->{authorization}, 'Basic ' . encode_base64('ada:pass word', ''), 'basic authentication');
$id = as('alice', q{SELECT nexus.schedule('hello', 'scripted', 'async', '{"after": null}')});
wait_state($node, $id, 'started');
as('alice', "SELECT nexus.cancel('$id')");
ok($node->poll_query_until('postgres', "SELECT cancellation_state FROM nexus.operations WHERE id = '$id'", 'succeeded'), 'a cancel');
is(($handler->log(kind => 'cancel'))[-1]{headers}{authorization}, 'Basic ' . encode_base64('ada:pass word', ''), 'carries them, too');
is(error_of($node, "CREATE USER MAPPING FOR bob SERVER hello OPTIONS (bearer_token_file '$secrets/token')", user => 'bob'), '42501',
	'files are for superusers');
unlike(slurp_file($node->logfile), qr/(?:first|second|third)-token/, 'what was read from files is not in the log');
is(value($node, "SELECT count(*) FROM nexus.failed_attempt a WHERE a::text ~ '-token|pass word'"), '0', 'nor in failed attempts');

# --- what a caller may not set

for my $name (qw(Host Content-Length Transfer-Encoding Connection Authorization Nexus-Request-Id Nexus-Operation-Token
	Nexus-Callback-Token Nexus-Operation-State Request-Timeout Content-Type Upgrade TE Trailer Expect))
{
	is(error_of($node, "SELECT nexus.schedule('hello', 'any', 'o', headers => '{\"\L$name\": \"x\"}')"), '22023', "header $name");
}
for my $headers ('{"a": 1}', '{"a b": "x"}', '{"a": "x\ny"}', '{"": "x"}', '[]', '{"a": "x\r\nHost: evil"}')
{
	is(error_of($node, 'SELECT nexus.schedule(\'hello\', \'any\', \'o\', headers => ' . quote($headers) . ')'), '22023', "headers $headers");
}
for my $name ('.', '..', '')
{
	is(error_of($node, "SELECT nexus.schedule('hello', 'any', '$name')"), '22023', "operation '$name'");
}

# --- functions, operators and casts that lie in wait

value($node, q{CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO alice; GRANT CREATE ON DATABASE postgres TO alice});
my @types = qw(uuid text bytea jsonb xid8 timestamptz interval integer bigint boolean regrole oid);
my $trap = 'CREATE FUNCTION evil.spring() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN '
	. 'IF current_user <> \'alice\' THEN RAISE WARNING \'the trap caught %\', current_user; END IF; RETURN true; END $$;';
for my $type (@types)
{
	$trap .= "CREATE FUNCTION evil.compare(a $type, b $type) RETURNS boolean LANGUAGE sql AS 'SELECT evil.spring()';";
	$trap .= "CREATE OPERATOR evil.$_ (LEFTARG = $type, RIGHTARG = $type, FUNCTION = evil.compare);" for qw(= <> < > <= >=);
	$trap .= "CREATE FUNCTION evil.coalesce(a $type) RETURNS $type LANGUAGE sql AS 'SELECT a WHERE evil.spring()';";
}
for my $name (qw(now clock_timestamp gen_random_uuid convert_from))
{
	$trap .= "CREATE FUNCTION evil.$name() RETURNS timestamptz LANGUAGE sql AS 'SELECT pg_catalog.now() WHERE evil.spring()';";
}
$trap .= 'CREATE FUNCTION evil.unnest(anyarray) RETURNS SETOF anyelement LANGUAGE sql AS '
	. '$$ SELECT pg_catalog.unnest($1) WHERE evil.spring() $$;';
as('alice', $trap);
my $worker = nexus_pid($node, 'worker');
value($node, 'ALTER DATABASE postgres SET search_path = evil, pg_catalog; ALTER ROLE ALL SET search_path = evil, pg_catalog');
my $use = q{SELECT nexus.execute('hello', 'any', 'o', '1'); SELECT nexus.schedule('hello', 'scripted', 'async', '{"after": null}') AS id \gset
	SELECT nexus.state(:'id'); SELECT nexus.cancel(:'id'); SELECT nexus.terminate(:'id');
	SELECT count(*) FROM nexus.await_all(ARRAY[:'id']::pg_catalog.uuid[], '10 s'); SELECT nexus.result(:'id');};
$node->psql('postgres', "$use $use", stderr => \my $first);
unlike($first, qr/trap/, 'nothing is caught with the worker of before');
{
	local $ENV{PGOPTIONS} = '-c search_path=pg_catalog';	# the test's own queries would be caught
	value($node, "SELECT pg_terminate_backend($worker)");
	wait_new_pid($node, 'worker', $worker);
}
$node->psql('postgres', "$use $use", stderr => \my $second);
unlike($second, qr/trap|ERROR/, 'nor in a session or worker that begins so');
as('alice', q{SELECT nexus.execute('hello', 'scripted', 'flaky', '{"times": 2}')});
unlike(slurp_file($node->logfile), qr/WARNING:  the trap caught/, 'the log says so, too');
is(value($node, "SELECT pg_catalog.count(*) FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) 'alice' AND rolsuper"), '0', 'nobody has gained anything');

$handler->stop;
$stranger->stop;
$node->stop;
done_testing();
