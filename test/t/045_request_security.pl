# What no request does, whatever its caller, its handler or the server's
# surroundings try: follow, leak, inject, or reach link-local addresses.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $handler = NexusTest::Handler->start;
my $stranger = NexusTest::Handler->start;

# --- a server in surroundings that are full of traps

my $home = PostgreSQL::Test::Utils::tempdir();
append_to_file("$home/.netrc", "machine 127.0.0.1 login ambient password credentials\ndefault login ambient password credentials\n");
chmod 0600, "$home/.netrc";
append_to_file("$home/.curlrc", "header = \"X-Curlrc: yes\"\nproxy = \"" . $stranger->base . "\"\nnetrc\nlocation\n");

# Names that lead where no name of this machine does.
my $library = "$home/resolve.so";
append_to_file("$home/resolve.c", <<'C');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>

static const struct { const char *name, *address; } names[] = {
	{"linklocal4.test", "169.254.0.0"}, {"linklocal6.test", "fe80::1"}, {"mapped.test", "::ffff:169.254.0.0"},
	{"metadata6.test", "fd00:ec2::254"}, {"plain.test", "127.0.0.1"}
};

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
	int (*next) (const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");

	for (size_t i = 0; node != NULL && i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(node, names[i].name) == 0)
			return next(names[i].address, service, hints, result);
	if (node != NULL && strcmp(node, "unknown.test") == 0)
		return EAI_NONAME;
	return next(node, service, hints, result);
}
C
system_or_bail('cc', '-shared', '-fPIC', '-o', $library, "$home/resolve.c", '-ldl');

my $node = nexus_node('main', start => 0);
{
	local @ENV{qw(HOME CURL_HOME XDG_CONFIG_HOME NETRC)} = ($home, $home, $home, "$home/.netrc");
	local @ENV{qw(http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY)} = ($stranger->base) x 6;
	local @ENV{qw(no_proxy NO_PROXY)} = ('elsewhere.example') x 2;
	local $ENV{LD_PRELOAD} = $library;
	$node->start;
}
create_extension($node);
create_endpoint($node, 'hello', $handler);
# what fails here is not tried again while the test looks at it
my %once = (retry_initial_interval => '1h', retry_max_interval => '1h');
create_endpoint($node, 'once', $handler, %once);
my $worker = nexus_pid($node, 'worker');
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
my %environment = map { split /=/, $_, 2 } grep { /=/ } split /\0/, slurp_file("/proc/$postmaster/environ");
is($environment{$_}, $stranger->base, "$_ is in the server's environment") for qw(http_proxy https_proxy ALL_PROXY);
is($environment{HOME}, $home, "HOME is in the server's environment");

# The SQLSTATE of each statement, and what it said; '' where it went well.
value($node, <<'SQL');
CREATE FUNCTION code_of(statement text, OUT code text, OUT message text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	code := '';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
END $$;
SQL

sub codes_of
{
	my (@statements) = @_;
	return @{ json_of(value($node, 'SELECT json_agg(code_of(s) ORDER BY n) FROM unnest(ARRAY[' . join(', ', map { quote($_) } @statements)
		. ']) WITH ORDINALITY AS u (s, n)')) };
}

# Each is [ name, statement ].
sub all_refused
{
	my (@cases) = @_;
	my @codes = codes_of(map { $_->[1] } @cases);
	is($codes[$_]{code}, '22023', $cases[$_][0]) or diag($cases[$_][1]) for 0 .. $#cases;
	return @codes;
}

my $seen = json_of(value($node, q{SELECT nexus.execute('hello', 'scripted', 'headers')}));
is($seen->{authorization}, undef, 'no credentials from netrc');
is($seen->{'x-curlrc'}, undef, 'nothing from curlrc');
is($seen->{'proxy-connection'}, undef, 'no word to a proxy');
is($seen->{cookie}, undef, 'no cookie');
is($seen->{referer}, undef, 'no referer');
is($seen->{'accept-encoding'}, undef, 'no compression asked for');
is($stranger->stats->{connections}, 1, 'nobody has called the proxy but this test');
create_endpoint($node, 'named', 'http://plain.test:' . $handler->port . '/nexus');
is(value($node, q{SELECT nexus.execute('named', 'any', 'o', '1')}), '1', 'the trap for names works');
create_endpoint($node, 'secure', 'https://127.0.0.1:' . $handler->port . '/nexus', %once);
my $id = schedule($node, 'secure', 'echo', 1);
is(wait_state($node, $id, 'backing_off'), 'backing_off', 'https to who speaks http fails');
value($node, "SELECT nexus.terminate('$id')");
is($stranger->stats->{connections}, 1, 'and uses no proxy, either');

# --- redirects

for my $status (301, 302, 303, 307, 308)
{
	$id = schedule($node, 'once', 'redirect', { status => $status, location => $stranger->url . '/any/o' });
	is(wait_state($node, $id, 'backing_off'), 'backing_off', "$status (scenario 22, item 35): tried again");
	my ($attempt) = attempts_of($node, $id);
	is("$attempt->{http_status} $attempt->{retryable}", "$status 1", "$status: as a failed attempt");
	value($node, "SELECT nexus.terminate('$id')");
	wait_closed($node, $id);
	is(value($node, q{SELECT nexus.execute('once', 'any', 'o', '1')}), '1', "$status: others go on");
}
$id = schedule($node, 'once', 'async', { after => undef, cancel => { status => 307, headers => { Location => $stranger->url . '/any/o/cancel' } } });
wait_state($node, $id, 'started');
value($node, "SELECT nexus.cancel('$id')");
ok(poll('the cancel', sub { (row_of($node, 'operations', $id)->{cancellation_state} // '') eq 'backing_off' }), 'of a cancel request: tried again');
value($node, "SELECT nexus.terminate('$id')");
is($stranger->stats->{requests}, 0, 'nothing has reached where they point');

# --- a name that nobody knows

create_endpoint($node, 'unknown', 'http://unknown.test:9/nexus', %once);
$id = schedule($node, 'unknown', 'echo', 1);
is(wait_state($node, $id, 'failed|backing_off'), 'backing_off', 'scenario 23: a host without an address: tried again');
like((attempts_of($node, $id))[0]{failure}{message}, qr/resolve host.*unknown\.test/i, 'scenario 23: says which');
value($node, "SELECT nexus.terminate('$id')");

# --- link-local addresses

my $number = 0;
my @local = ('169.254.0.0', '169.254.169.254', '0xa9fe0000', '0xA9.0xFE.0.0', '0251.0376.0.0', '025177400000', '2851995648', '169.254.0', '169.16646144',
	'[fe80::1]', '[febf::1]', '[::ffff:169.254.0.0]', '[::ffff:a9fe:0]', '[::169.254.0.0]', '[64:ff9b::169.254.0.0]', '[fd00:ec2::254]',
	'linklocal4.test', 'linklocal6.test', 'mapped.test', 'metadata6.test');
for my $host (@local)
{
	my $name = 'local' . $number++;
	create_endpoint($node, $name, "http://$host:9/nexus", request_timeout => '5s', %once,
		callback_url => 'http://127.0.0.1:1');
	$id = schedule($node, $name, 'echo', 1);
	is(wait_state($node, $id, 'failed|backing_off'), 'failed', "link-local $host: refused for good");
	like((attempts_of($node, $id))[0]{failure}{message}, qr/^address \S+ is link-local, which is not allowed$/, 'and says why');
}
$node->append_conf('postgresql.conf', 'nexus_pg.allow_link_local = on');
$node->reload;
# These have no route, so no packet leaves the machine.
for my $host ('[fe80::1]', 'linklocal6.test')
{
	my $message;
	ok(poll('the setting', sub {
		my $name = 'allowed' . $number++;
		create_endpoint($node, $name, "http://$host:9/nexus", request_timeout => '300ms', %once,
			callback_url => 'http://127.0.0.1:1');
		$id = schedule($node, $name, 'echo', 1);
		my $state = wait_state($node, $id, 'failed|backing_off');
		$message = (attempts_of($node, $id))[0]{failure}{message};
		return $state eq 'backing_off';
	}), "allow_link_local: $host is tried");
	unlike($message, qr/link-local/, 'and failed for another reason');
}
$node->append_conf('postgresql.conf', 'nexus_pg.allow_link_local = off');
$node->reload;

# --- URLs of endpoints

for my $case ([ 'another scheme (item 11)', 'smtp://127.0.0.1/' ], [ 'a file', 'file:///etc/passwd' ], [ 'ftp', 'ftp://127.0.0.1/' ], [ 'gopher', 'gopher://127.0.0.1/' ],
	[ 'a socket', 'unix:///tmp/x' ], [ 'no scheme', '127.0.0.1:80/' ], [ 'no host', 'http:///x' ], [ 'nothing (item 10)', '' ], [ 'a user', 'http://a@127.0.0.1/' ],
	[ 'a user and password', 'http://a:b@127.0.0.1/' ], [ 'port 0', 'http://127.0.0.1:0/' ], [ 'port 65536', 'http://127.0.0.1:65536/' ],
	[ 'port 99999999999999999999', 'http://127.0.0.1:99999999999999999999/' ], [ 'a port of letters', 'http://127.0.0.1:http/' ], [ 'no port', 'http://127.0.0.1:/' ],
	[ 'a negative port', 'http://127.0.0.1:-1/' ], [ 'a broken IPv6 address', 'http://[::1/' ], [ 'no IPv6 address', 'http://[x]/' ],
	[ 'a zone', 'http://[fe80::1%25eth0]/' ], [ 'IPv6 without brackets', 'http://::1/' ], [ 'a fragment', 'http://127.0.0.1/#x' ], [ 'a blank', 'http://127.0.0.1/ x' ],
	[ 'a line break', "http://127.0.0.1/\r\nX: y" ], [ 'a backslash', 'http://127.0.0.1\\@b/' ], [ 'letters beyond ASCII', "http://h\xc3\xa9/" ],
	[ 'a broken escape', 'http://127.0.0.1/%zz' ], [ 'an escaped host', 'http://127.0.0.1%2f@b/' ])
{
	my ($name, $url) = @$case;
	my $value = quote($url);
	my @said = all_refused([ "a URL with $name is refused", "CREATE SERVER refused FOREIGN DATA WRAPPER nexus OPTIONS (url $value)" ],
		[ 'also later', "ALTER SERVER hello OPTIONS (SET url $value)" ],
		[ 'also as a callback URL', "ALTER SERVER hello OPTIONS (ADD callback_url $value)" ]);
	unlike(join(' ', map { $_->{message} } @said), qr/a:b\@/, 'without repeating a password') if $name =~ /password/;
}
is(error_of($node, q{CREATE SERVER six FOREIGN DATA WRAPPER nexus OPTIONS (url 'http://[::1]:65535/a?b=c')}), '', 'an IPv6 address and the last port are taken');
is(error_of($node, q{CREATE SERVER one FOREIGN DATA WRAPPER nexus OPTIONS (url 'HTTP://127.0.0.1:1/')}), '', 'and the first');

# --- headers of callers

my @refused;	# [ name, statement ]

sub refused
{
	my ($name, $headers) = @_;
	push @refused, map { [ "$_: $name", "SELECT nexus.$_('hello', 'any', 'o', headers => " . quote(json_text($headers)) . ')' ] } qw(schedule execute);
	return;
}

my @forbidden = ('Host', 'Content-Length', 'Content-Type', 'Content-Encoding', 'Content-Own', 'Transfer-Encoding', 'Connection', 'Keep-Alive', 'Proxy-Connection',
	'Proxy-Authorization', 'Proxy-Authenticate', 'TE', 'Trailer', 'Upgrade', 'Expect', 'Authorization', 'Request-Timeout', 'Nexus-Request-Id', 'Nexus-Link',
	'Nexus-Callback-Token', 'Nexus-Callback-Own', 'Nexus-Operation-Token', 'Nexus-Operation-State', 'Nexus-Own', 'Temporal-Nexus-Failure-Support');
my @disallowed = qw(xdc-redirection xdc-redirection-api xdc-redirection-source-cell caller-name caller-type call-initiation temporal-principal-type
	temporal-principal-name);
refused("header $_", { $_ => 'x' }) for @forbidden, map { lc } @forbidden;
refused("header $_ (scenario 75, scenario 77)", { $_ => 'x' }) for @disallowed, map { uc } @disallowed;
my %controls = (CR => "\r", LF => "\n", 'a folded line' => "\r\n ", 'another header' => "\r\nHost: evil", DEL => "\x7f", ESC => "\x1b", SOH => "\x01");
for my $control (sort keys %controls)
{
	refused("$control in a value", { 'x-own' => "a$controls{$control}b" });
	refused("$control at the end of a value", { 'x-own' => "a$controls{$control}" });
	refused("$control in a name", { "x$controls{$control}own" => 'a' });
}
is(error_of($node, q{SELECT nexus.schedule('hello', 'any', 'o', headers => '{"x-own": "a\u0000b"}')}), '22P05', 'NUL in a value is no jsonb');
refused("the name \"$_\"", { $_ => 'x' }) for '', ' ', 'a b', 'a:', ':a', 'a,b', "\"a\"", "a\xe9", "a\t", '(a)';
refused('a value that is no string', { 'x-own' => $_ }) for 1, [], {}, undef;
all_refused(@refused);
is(error_of($node, q{SELECT nexus.schedule('hello', 'any', 'o', headers => '{"x-own": ["a"], "x-own": "a"}')}), '', 'of two the last counts, as in any jsonb');
$seen = json_of(value($node, q{SELECT nexus.execute('hello', 'scripted', 'headers', headers => '{"X-Own": " a\tb ", "operation-timeout": "5ms", "user-agent": "me", "accept": "x"}')}));
is($seen->{'x-own'}, "a\tb", 'a tab is allowed');
is($seen->{'operation-timeout'}, '5ms', "a caller's own Operation-Timeout stands (scenario 15)");
my $before = value($node, 'SELECT count(*) FROM nexus.operations');

# --- what else goes into a request

is(error_of($node, q{SELECT nexus.schedule_bytes('hello', 'any', 'o', '\x31', } . quote($_) . ')'), '22023', 'a content type with a control character')
	for "a/b\r\nX: y", "a/b\n", "a\rb", "a\x7f";
is(error_of($node, "SELECT nexus.schedule('hello', '.', 'o')"), '22023', 'a service named .');
is(error_of($node, "SELECT nexus.schedule('hello', 's', '..')"), '22023', 'an operation named ..');
is(value($node, 'SELECT count(*) FROM nexus.operations'), $before, 'nothing of all that is stored');

# Names are escaped whatever they are, so they cannot leave the path; a summary
# is not sent.
my $evil = "a/../b?c=d#e HTTP/1.1\r\nX-Evil: yes\r\n\r\n%2f;,\\";
$id = value($node, 'SELECT nexus.schedule(' . join(', ', "'hello'", "'any'", quote($evil)) . ', summary => ' . quote($evil) . ')');
is(wait_closed($node, $id), 'succeeded', 'a name full of what means something elsewhere');
my ($start) = $handler->log(request_id => $id);
like($start->{path}, qr{^/nexus/any/a%2F\.\.%2Fb%3Fc=d%23e%20HTTP%2F1\.1%0D%0AX-Evil:%20yes%0D%0A%0D%0A%252f%3B%2C%5C\?callback=}, 'is one segment of the path (item 1)');
is($start->{headers}{'x-evil'}, undef, 'and no header');
unlike(json_text($start->{header_list}), qr/X-Evil/, 'nor in one');

# Tokens come from handlers and go back in a header.
for my $case ([ 'a header', "t\r\nX-Evil: yes" ], [ 'CR', "t\r" ], [ 'LF', "t\nx" ], [ 'DEL', "t\x7f" ])
{
	my ($name, $token) = @$case;
	$handler->forget;
	$id = schedule($node, 'hello', 'async', { after => undef, token => $token });
	wait_state($node, $id, 'started');
	is(row_of($node, 'operations', $id)->{operation_token}, $token, "a token with $name is kept");
	value($node, "SELECT nexus.cancel('$id')");
	ok(poll('the cancel', sub { (row_of($node, 'operations', $id)->{cancellation_state} // '') eq 'failed' }), 'but cannot be sent back');
	is($handler->stats->{cancels}, 0, 'nothing is sent');
	is(state_of($node, $id), 'started', 'and the operation goes on');
	my ($url, $headers) = callback_of($handler, $id);
	is(post($url, $headers, '1'), 200, 'until its callback comes');
}
$id = schedule($node, 'once', 'bad-started', { body => '{"token": "t\u0000", "state": "running"}' });
is(wait_state($node, $id, 'backing_off'), 'backing_off', 'a token with NUL is none');
value($node, "SELECT nexus.terminate('$id')");

# --- user mappings

my $mapping = 0;
all_refused(map { [ "a mapping with $_->[0] is refused", "CREATE USER MAPPING FOR PUBLIC SERVER hello OPTIONS ($_->[1])" ] } ([ 'CR LF in a token', "bearer_token E'a\\r\\nX: y'" ], [ 'a blank in a token', "bearer_token 'a b'" ], [ 'an empty token', "bearer_token ''" ],
	[ 'letters beyond ASCII in a token', "bearer_token 'caf\xc3\xa9'" ], [ 'a line break in a user name', "username E'a\\nb', password 'x'" ],
	[ 'a colon in a user name', "username 'a:b', password 'x'" ], [ 'a line break in a password', "username 'a', password E'x\\r\\ny'" ],
	[ 'a line break in a header', "headers '{\"X-Own\": \"a\\r\\nb\"}'" ], [ 'a folded line in a header', "headers '{\"X-Own\": \"a\\r\\n b\"}'" ],
	[ 'a NUL in a header', "headers '{\"X-Own\": \"a\\u0000\"}'" ], [ 'a blank in the name of a header', "headers '{\"X Own\": \"a\"}'" ],
	[ 'a header that is no string', "headers '{\"X-Own\": 1}'" ], [ 'no object', "headers '[]'" ], [ 'two kinds of authorization', "bearer_token 'a', headers '{\"Authorization\": \"b\"}'" ],
	map { [ "header $_", "headers '{\"$_\": \"x\"}'" ] } grep { $_ ne 'Authorization' } @forbidden, @disallowed));
value($node, q{CREATE USER MAPPING FOR PUBLIC SERVER hello OPTIONS (headers '{"Authorization": "Own scheme", "X-Mapped": "mapping"}')});
$seen = json_of(value($node, q{SELECT nexus.execute('hello', 'scripted', 'headers', headers => '{"x-own": "caller"}')}));
is("$seen->{authorization} $seen->{'x-mapped'} $seen->{'x-own'}", 'Own scheme mapping caller', 'Authorization is the mapping\'s to set');
all_refused([ 'not the caller\'s', q{SELECT nexus.schedule('hello', 'any', 'o', headers => '{"authorization": "x"}')} ]);
value($node, 'DROP USER MAPPING FOR PUBLIC SERVER hello');
my $secrets = PostgreSQL::Test::Utils::tempdir();
for my $content ("a\r\nX-Evil: yes\n", "a b\n", "\n", "a\0b")
{
	unlink "$secrets/token";
	append_to_file("$secrets/token", $content);
	create_endpoint($node, 'filed' . ++$mapping, $handler, %once);
	value($node, "CREATE USER MAPPING FOR PUBLIC SERVER filed$mapping OPTIONS (bearer_token_file '$secrets/token')");
	$id = schedule($node, "filed$mapping", 'echo', 1);
	my $state = wait_state($node, $id, 'backing_off|succeeded');
	my ($sent) = $handler->log(request_id => $id);
	ok($state eq 'backing_off' && !$sent, 'a file whose content is no token: nothing is sent') or diag(json_text($sent));
	value($node, "SELECT nexus.terminate('$id')") if $state eq 'backing_off';
}

is($stranger->stats->{requests}, 0, 'in all this nothing went elsewhere');
is(nexus_pid($node, 'worker'), $worker, 'the worker is the same');
unlike(slurp_file($node->logfile), qr/X-Evil/, 'and nothing is in the log');

$handler->stop;
$stranger->stop;
$node->stop;
done_testing();
