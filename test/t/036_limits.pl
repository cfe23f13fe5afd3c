# What settings and options of endpoints limit or direct, each changed by a
# reload or by ALTER SERVER.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use IO::Socket::INET;
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $CONNECTIONS = 10;
my $node = nexus_node('main');
my $handler = NexusTest::Handler->start;
create_endpoint($node, 'hello', $handler, breaker_failures => 0);

# Change settings and wait until they hold, for the worker too.
sub configure
{
	my (%settings) = @_;
	my $offset = -s $node->logfile;
	$node->append_conf('postgresql.conf', "$_ = '$settings{$_}'") for sort keys %settings;
	$node->reload;
	for my $name (keys %settings)
	{
		ok($node->log_contains(qr/parameter "$name"/, $offset) || poll("$name in the log",
				sub { $node->log_contains(qr/parameter "$name"/, $offset) }), "$name = '$settings{$name}'");
	}
	return;
}

# Execute until the outcome is as wanted: a worker learns of a reload a moment
# later.
sub becomes
{
	my ($name, $wanted, $sql) = @_;
	ok(poll($name, sub { error_of($node, $sql) eq $wanted }), $name);
	return;
}

sub execute
{
	my ($operation, $input) = @_;
	return "SELECT nexus.execute('hello', 'scripted', '$operation', " . quote(json_text($input)) . ", await_timeout => '10 s')";
}

# The worker has read the settings once it has done something after them.
sub worker_goes_on
{
	is(value($node, execute('echo', 1)), '1', 'the worker goes on');
	return;
}

# --- requests at a time: of an endpoint, of a database

create_endpoint($node, 'narrow', $handler, max_in_flight => 2);
my $many = sub {
	my ($endpoints, $count) = @_;
	$handler->forget;
	my $ids = value($node, "SELECT array_agg(nexus.schedule(e, 'scripted', 'echo', '{\"delay\": 60}')) "
		. "FROM unnest('{$endpoints}'::text[]) e, generate_series(1, $count)");
	is(value($node, "SELECT string_agg(DISTINCT state, ' ') FROM nexus.await_all('$ids', '30 s')"), 'succeeded', "$endpoints: all succeed");
	return $handler->stats->{max_in_flight};
};
is($many->('narrow', 10), 2, 'max_in_flight of an endpoint');
cmp_ok($many->('hello', 10), '>', 5, 'without it there are more');
value($node, q{ALTER SERVER narrow OPTIONS (SET max_in_flight '4')});
is($many->('narrow', 12), 4, 'and altered');
configure('nexus_pg.max_in_flight' => 3);
worker_goes_on();
is($many->('hello,narrow', 6), 3, 'nexus_pg.max_in_flight, over all endpoints');
configure('nexus_pg.max_in_flight' => 256);

# --- bytes at a time: large inputs wait in the table, and small ones pass them

create_endpoint($node, 'large', $handler);
create_endpoint($node, 'also_large', $handler);
configure('nexus_pg.max_bytes_in_flight' => '4MB');
worker_goes_on();
my $size = 1_000_000;
my $large = sub {
	my ($endpoints, $count) = @_;
	$handler->forget;
	my $ids = value($node, "SELECT array_agg(nexus.schedule(e, 'scripted', 'empty', jsonb_build_object('delay', 100, 'text', repeat('x', $size)))) "
		. "FROM unnest('{$endpoints}'::text[]) e, generate_series(1, $count)");
	return $ids;
};
my $worker = nexus_pid($node, 'worker');
my $memory = sub { return slurp_file("/proc/$worker/status") =~ /^VmHWM:\s+(\d+) kB/m ? $1 / 1024 : die 'no VmHWM'; };
my $before_large = $memory->();
my $ids = $large->('large', 60);
is(value($node, execute('echo', 1)), '1', 'another endpoint goes on beside them');
is(value($node, "SELECT string_agg(DISTINCT state, ' ') FROM nexus.await_all('$ids', '60 s')"), 'succeeded', '60 MB of inputs are sent');
$ids = $large->('large', 10);
is(value($node, "SELECT string_agg(DISTINCT state, ' ') FROM nexus.await_all('$ids', '60 s')"), 'succeeded', '10 MB more');
is($handler->stats->{max_in_flight}, 2, 'one endpoint has half of nexus_pg.max_bytes_in_flight');
$ids = $large->('large,also_large', 10);
is(value($node, "SELECT string_agg(DISTINCT state, ' ') FROM nexus.await_all('$ids', '60 s')"), 'succeeded', 'two endpoints');
cmp_ok($handler->stats->{max_in_flight}, '<=', 4, 'share it');
cmp_ok($memory->() - $before_large, '<', 24, "the worker's memory is bounded by it, not by what waits");
configure('nexus_pg.max_bytes_in_flight' => '64kB');
worker_goes_on();
$ids = $large->('large', 3);
is(value($node, "SELECT string_agg(DISTINCT state, ' ') FROM nexus.await_all('$ids', '60 s')"), 'succeeded', 'one that is larger than all of it');
is($handler->stats->{max_in_flight}, 1, 'goes alone');
is(value($node, execute('echo', { text => 'x' x 20_000 })), json_text({ text => 'x' x 20_000 }) =~ s/":"/": "/r, 'execute as well');
configure('nexus_pg.max_bytes_in_flight' => '32MB');

# --- endpoints that come and go take no place for ever

for my $round (1 .. 3)
{
	value($node, qq{DO \$\$ BEGIN FOR i IN 1 .. 500 LOOP
		EXECUTE format('CREATE SERVER passing_%s FOREIGN DATA WRAPPER nexus OPTIONS (url %L)', i, '@{[ $handler->url ]}');
	END LOOP; END \$\$});
	value($node, q{SELECT count(nexus.schedule('passing_' || i, 'scripted', 'handler-error', '{"status": 400}')) FROM generate_series(1, 500) i});
	ok($node->poll_query_until('postgres', q{SELECT count(*) FROM nexus.pending_operations WHERE endpoint LIKE 'passing%'}, '0'), 'all are called');
	is(value($node, q{SELECT count(last_failure) FROM nexus.endpoints WHERE endpoint LIKE 'passing%'}), '500',
		"round $round: each of 500 endpoints has live figures");
	value($node, qq{DO \$\$ BEGIN FOR i IN 1 .. 500 LOOP EXECUTE format('DROP SERVER passing_%s', i); END LOOP; END \$\$});
	worker_goes_on();
}

# --- sizes

my $locker = $node->background_psql('postgres');
$locker->query_safe('SELECT pg_advisory_lock(1)');
my $unaware = begin_sql($node, q{DO $$ BEGIN
	PERFORM pg_advisory_xact_lock(1);
	PERFORM nexus.execute('hello', 'scripted', 'empty', to_jsonb(repeat('x', 200000)), await_timeout => '10 s');
	END $$});
ok($node->poll_query_until('postgres', q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}, '1'),
	'a session is within a statement');
configure('nexus_pg.max_payload_size' => '1000B', 'nexus_pg.max_name_length' => '10B', 'nexus_pg.max_header_size' => '20B',
	'nexus_pg.max_token_length' => '12B');
worker_goes_on();
$locker->quit;
is(finish_sql($unaware)->{err}, '', 'a session that has not heard of a lower limit yet is served by the old one');
is(error_of($node, q{SELECT nexus.schedule('hello', 'any', 'o', to_jsonb(repeat('x', 998)))}), '', 'an input of max_payload_size');
is(error_of($node, q{SELECT nexus.schedule('hello', 'any', 'o', to_jsonb(repeat('x', 999)))}), '22023', 'a longer one');
becomes('a reply over max_payload_size', 'NX001', execute('huge', { size => 1001 }));
is(error_of($node, execute('huge', { size => 1000 })), '', 'a reply of max_payload_size');
is(error_of($node, q{SELECT nexus.schedule('hello', 'any', '1234567890')}), '', 'a name of max_name_length');
is(error_of($node, q{SELECT nexus.schedule('hello', 'any', '12345678901')}), '22023', 'a longer one');
is(error_of($node, q{SELECT nexus.schedule('hello', '12345678901', 'o')}), '22023', 'of a service');
is(error_of($node, q{SELECT nexus.schedule('hello', 'any', 'o', headers => '{"x-name": "12345678901234"}')}), '', 'headers of max_header_size');
is(error_of($node, q{SELECT nexus.schedule('hello', 'any', 'o', headers => '{"x-name": "123456789012345"}')}), '22023', 'longer ones');
is(error_of($node, execute('async', { token => 'x' x 12 })), '', 'a token of max_token_length');
is(error_of($node, execute('async', { token => 'x' x 13 })), 'NX001', 'a longer one');
my $id = schedule($node, 'hello', 'async', { after => undef, token => 'short' });
wait_state($node, $id, 'started');
my ($url, $headers) = callback_of($handler, $id);
is(poll('the listener', sub { post($url, $headers, '"' . 'x' x 999 . '"') == 413 && 413 }), 413, 'a callback over max_payload_size');
is(post($url, $headers, '"' . 'x' x 998 . '"'), 200, 'a callback of max_payload_size');
configure('nexus_pg.max_payload_size' => '2MB', 'nexus_pg.max_name_length' => '1000B', 'nexus_pg.max_header_size' => '8kB',
	'nexus_pg.max_token_length' => '4kB');
is(error_of($node, q{SELECT nexus.schedule('hello', 'any', '12345678901', to_jsonb(repeat('x', 999)),
	headers => '{"x-name": "123456789012345"}')}), '', 'greater limits hold after a reload');
becomes('of a token, too', '', execute('async', { token => 'x' x 13 }));
becomes('and of a reply', '', execute('huge', { size => 1001 }));

# --- callback URLs: of the endpoint, of the server, of the listener

sub base_of
{
	my ($endpoint) = @_;
	my $operation = schedule($node, $endpoint, 'echo');
	is(wait_closed($node, $operation), 'succeeded', "$endpoint: sent");
	my ($callback) = callback_of($handler, $operation);
	return $callback =~ m{^(.*)/nexus/callback/[-0-9a-f]+/$operation$} ? $1 : $callback;
}

my $own = 'http://127.0.0.1:' . listener_port($node);
is(base_of('hello'), $own, 'the listener itself');
configure('nexus_pg.callback_url' => 'https://proxy.example/path');
ok(poll('the setting', sub { base_of('hello') eq 'https://proxy.example/path' }), 'nexus_pg.callback_url');
create_endpoint($node, 'behind', $handler, callback_url => 'http://near.example:81/');
is(base_of('behind'), 'http://near.example:81', 'callback_url of an endpoint comes first');
value($node, 'ALTER SERVER behind OPTIONS (DROP callback_url)');
is(base_of('behind'), 'https://proxy.example/path', 'until it is dropped');
configure('nexus_pg.callback_url' => '');
ok(poll('the setting', sub { base_of('hello') eq $own }), 'and the setting again');

# --- no listener

configure('nexus_pg.listen_addresses' => '');
ok($node->poll_query_until('postgres', q{SELECT count(*) FROM nexus.workers WHERE kind = 'listener'}, '0'), 'the listener ends');
$id = schedule($node, 'hello', 'echo');
ok($node->poll_query_until('postgres', "SELECT blocked_reason FROM nexus.pending_operations WHERE id = '$id'", 'no_callback_url'),
	'no callback URL is known');
is(value($node, q{SELECT callback_url IS NULL FROM nexus.endpoints WHERE endpoint = 'hello'}), 't', 'for the endpoint, either');
value($node, q{ALTER SERVER behind OPTIONS (ADD callback_url 'http://near.example:81')});
is(base_of('behind'), 'http://near.example:81', 'an endpoint with one is served');
is(scalar($handler->log(request_id => $id)), 0, 'the other is not');
configure('nexus_pg.listen_addresses' => '127.0.0.1', 'nexus_pg.max_connections' => $CONNECTIONS, 'nexus_pg.request_deadline' => '700ms');
is(wait_closed($node, $id), 'succeeded', 'with a listener it goes on');

# --- the listener's own limits

my $port = listener_port($node);
sub connection { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 5); }

# Seconds until the other side closes; what came before does not matter.
sub seconds_open
{
	my ($socket, $begin) = @_;
	local $SIG{ALRM} = sub { die "still open\n" };
	alarm 20;
	1 while sysread $socket, my $ignored, 1000;
	alarm 0;
	return time() - $begin;
}

my $begin = time();
my $slow = connection();
print $slow "POST /nexus/callback/x HTTP/1.1\r\nHost: localhost\r\n";
$slow->flush;
my $open = seconds_open($slow, $begin);
cmp_ok($open, '>=', 0.6, 'request_deadline: a request may take so long to come');
cmp_ok($open, '<', 5, 'and is cut off then');

configure('nexus_pg.request_deadline' => '20s');
ok(poll('the deadline', sub {
	my $socket = connection();
	print $socket "POST /nexus";
	$socket->flush;
	my $ready = '';
	vec($ready, fileno $socket, 1) = 1;
	return select($ready, undef, undef, 1) == 0;
}), 'a greater one lets it wait');
ok($node->poll_query_until('postgres', q{SELECT in_flight FROM nexus.workers WHERE kind = 'listener'}, '0'), 'all connections are closed');
my $offset = -s $node->logfile;
my @sockets = map { my $socket = connection(); print $socket "POST /nexus"; $socket->flush; $socket } 1 .. $CONNECTIONS;
ok($node->poll_query_until('postgres', q{SELECT in_flight FROM nexus.workers WHERE kind = 'listener'}, $CONNECTIONS),
	"max_connections: $CONNECTIONS requests arrive slowly");
cmp_ok(seconds_open(connection(), time()), '<', 5, 'one more is turned away');
is(scalar(grep { !is_silent($_) } @sockets), 0, 'the others stay');
# of several complaints within a second the first is logged
ok(poll('the log', sub { seconds_open(connection(), time()); $node->log_contains(qr/limit of $CONNECTIONS connections/, $offset) }),
	'the log says so');
close $_ for @sockets;

# --- link-local addresses

# This one has no interface, so that no packet leaves the machine.
my $local = sub {
	my ($name) = @_;
	create_endpoint($node, $name, 'http://[fe80::1]:9/nexus', request_timeout => '100ms', retry_initial_interval => '1h',
		retry_max_interval => '1h');
	my $operation = schedule($node, $name, 'echo');
	my $state = wait_state($node, $operation, 'failed|backing_off');
	my ($attempt) = attempts_of($node, $operation);
	return ("$state " . ($attempt->{retryable} ? 'retryable' : 'final'), $attempt->{failure}{message});
};
my ($what, $message) = $local->('refused');
is($what, 'failed final', 'link-local: fails for good');
like($message, qr/link-local/, 'and says why');
configure('nexus_pg.allow_link_local' => 'on');
worker_goes_on();
($what, $message) = $local->('allowed');
is($what, 'backing_off retryable', 'allow_link_local: it was tried');
unlike($message, qr/link-local/, 'and failed for another reason');

# --- retention

my %kept = map { $_ => schedule($node, 'hello', $_, { times => 1, after => undef }) } qw(flaky async);
wait_closed($node, $kept{flaky});
wait_state($node, $kept{async}, 'started');
is(scalar(attempts_of($node, $kept{flaky})), 1, 'a closed operation with a failed attempt');
configure('nexus_pg.retention' => '1s');
ok($node->poll_query_until('postgres', "SELECT count(*) FROM nexus.operation WHERE id = '$kept{flaky}'", '0'),
	'retention: a closed operation is deleted');
is(value($node, 'SELECT count(*) FROM nexus.failed_attempt a WHERE NOT EXISTS '
	. '(SELECT FROM nexus.operation o WHERE o.id = a.operation_id)'), '0', 'with its failed attempts');
is(state_of($node, $kept{async}), 'started', 'an open one stays');
configure('nexus_pg.retention' => 0);
worker_goes_on();
$id = schedule($node, 'hello', 'echo');
wait_closed($node, $id);
ok($node->poll_query_until('postgres', "SELECT clock_timestamp() > close_time + interval '2 s' FROM nexus.operation WHERE id = '$id'"),
	'0 keeps it longer than the retention of before');

# --- the name of the cluster

$offset = -s $node->logfile;
my $before = $handler->stats->{requests};
value($node, q{ALTER SERVER hello OPTIONS (ADD enabled 'false')});
$id = schedule($node, 'hello', 'echo');
configure('nexus_pg.cluster_identity' => 'another');
ok($node->poll_query_until('postgres', q{SELECT state FROM nexus.workers WHERE kind = 'worker'}, 'paused'), 'cluster_identity: paused');
ok($node->log_contains(qr/WARNING:  this database holds operations of another one/, $offset), 'the log says why');
value($node, q{ALTER SERVER hello OPTIONS (SET enabled 'true')});
is(row_of($node, 'pending_operations', $id)->{blocked_reason}, 'paused', 'an operation is blocked');
$node->restart;
ok($node->poll_query_until('postgres', q{SELECT state FROM nexus.workers WHERE kind = 'worker'}, 'paused'), 'also after a restart');
is($handler->stats->{requests}, $before, 'nothing was sent');
configure('nexus_pg.cluster_identity' => '');
is(wait_closed($node, $id), 'succeeded', 'once it has its name again it is sent');

$handler->stop;
$node->stop;
done_testing();
