# Callers that are slow, too long or no HTTP, many at a time: each is held to
# its limit, while good callbacks are taken.  A handshake of TCP that is never
# finished is the kernel's to bear; the nearest here is a request without end.
use strict;
use warnings;

use Errno qw(EAGAIN EWOULDBLOCK);
use FindBin;
use IO::Socket::INET;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $CONNECTIONS = 60;
my $BAD = 40;		# of them
my $DEADLINE = 0.5;	# seconds
my $PATIENCE = 3;	# until somebody counts as not held to the deadline
my $MAX_PAYLOAD = 50_000;
my $node = nexus_node('main', conf => "nexus_pg.max_connections = $CONNECTIONS\nnexus_pg.request_deadline = '${DEADLINE}s'\n"
	. "nexus_pg.max_payload_size = ${MAX_PAYLOAD}B");
my $handler = NexusTest::Handler->start;
my $port = listener_port($node);
my %pid = map { $_ => nexus_pid($node, $_) } qw(worker listener);
my $log = -s $node->logfile;
create_endpoint($node, 'hello', $handler, max_in_flight => 200);

# --- operations that wait for good callbacks

my @good = split /\n/, value($node, q{SELECT nexus.schedule('hello', 'scripted', 'async', '{"after": null}') FROM generate_series(1, 300)});
ok($node->poll_query_until('postgres', q{SELECT count(*) FROM nexus.operations WHERE state = 'started'}, '300'), '300 operations wait');
my %start = map { ($_->{request_id} => $_) } $handler->log(kind => 'start');

# The URL's path and the token of one that nobody has completed.
sub next_good
{
	my $id = shift @good;
	my ($url) = $start{$id}{path} =~ /[?&]callback=([^&]+)/;
	$url =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
	return ($url =~ s{^http://[^/]+}{}r, $start{$id}{headers}{'nexus-callback-nexus-pg-token'}, $id);
}

sub head
{
	my ($path, $token, @more) = @_;
	return join("\r\n", "POST $path HTTP/1.1", 'Host: localhost', 'Content-Type: application/json', 'Nexus-Operation-State: succeeded',
		defined $token ? "Nexus-Pg-Token: $token" : (), @more) . "\r\n";
}

sub request { my ($path, $token, $body, @more) = @_; return head($path, $token, 'Content-Length: ' . length $body, @more) . "\r\n$body"; }
sub chunk { return sprintf "%x\r\n%s\r\n", length $_[0], $_[0]; }
sub connection { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 5) || die "connect: $!"; }

# Send a request and return the status; "closed" where none comes.
sub ask
{
	my ($socket, $bytes) = @_;
	local $SIG{PIPE} = 'IGNORE';
	local $SIG{ALRM} = sub { die "no answer\n" };
	alarm 20;
	my ($sent, $head) = (0, '');
	while ($sent < length $bytes) { $sent += syswrite($socket, $bytes, 65536, $sent) // last; }
	while ($head !~ /\r\n\r\n/) { sysread($socket, $head, 1, length $head) or last; }
	my ($length) = $head =~ /^content-length: (\d+)/mi;
	while ($length) { $length -= sysread($socket, my $ignored, $length) || last; }
	alarm 0;
	return $head =~ m{^HTTP/1\.1 (\d+)} ? $1 : 'closed';
}

# Seconds until a good callback was taken, over a new connection.
sub serve
{
	my ($path, $token) = next_good();
	my $begin = time();
	my $status = ask(connection(), request($path, $token, '1'));
	return $status eq '200' ? time() - $begin : 1000;
}

# Many connections at a time that all send "first", and then "drip" again and
# again, until they are closed.  Returns what the first of them got, how long
# the last was open, and how long a good callback took at most.
sub attack
{
	my ($first, $drip, $count) = @_;
	local $SIG{PIPE} = 'IGNORE';
	my @bad = map { { socket => connection(), out => ref $first ? $first->() : $first, in => '' } } 1 .. $count || $BAD;
	$_->{socket}->blocking(0) for @bad;
	my ($begin, $slowest, $served) = (time(), 0, 0);
	my @open = @bad;
	while (@open && time() < $begin + $PATIENCE)
	{
		for my $peer (@open)
		{
			my $sent = length $peer->{out} ? syswrite($peer->{socket}, $peer->{out}) : 0;
			substr($peer->{out}, 0, $sent) = '' if $sent;
			$peer->{out} = $drip if $drip ne '' && $peer->{out} eq '';
			my $got = sysread $peer->{socket}, $peer->{in}, 65536, length $peer->{in};
			$peer->{is_closed} = defined $got ? $got == 0 : $! != EAGAIN && $! != EWOULDBLOCK;
		}
		@open = grep { !$_->{is_closed} } @open;
		if (time() > $begin + 0.3 * $served)
		{
			my $seconds = serve();
			$slowest = $seconds if $seconds > $slowest;
			$served++;
		}
		sleep 0.01;
	}
	my ($status) = $bad[0]{in} =~ m{^HTTP/1\.1 (\d+)};
	return ($status // 'closed', @open ? 1000 : time() - $begin, $slowest);
}

# --- one kind after the other

my ($path, $token) = next_good();
(my $wrong = $token) =~ s/(.)$/$1 eq 'A' ? 'E' : 'A'/e;
my $chunked = 'Transfer-Encoding: chunked';
my $room = $CONNECTIONS - 5;

# [name, what is sent at first, what again and again, what comes back]; a
# request that is refused by its head is answered before its end.
for my $case (
	[ 'nothing', '', '', 'closed' ],
	[ 'one byte', 'P', '', 'closed' ],
	[ 'a head without end', head($path, $token), '', 'closed' ],
	[ 'a header now and then', head($path, $token), "A: b\r\n", 'closed|4\d\d' ],
	[ 'a head byte by byte', 'POST ', '/', 'closed|4\d\d' ],
	[ 'half a body', head($path, $token, 'Content-Length: 9') . "\r\n1", '', 'closed' ],
	[ 'a body byte by byte', head($path, $token, 'Content-Length: 49999') . "\r\n", '1', 'closed' ],
	[ 'chunks of a byte', head($path, $token, $chunked) . "\r\n", chunk('1'), 'closed' ],
	[ 'half a chunk', head($path, $token, $chunked) . "\r\n9\r\n1", '', 'closed' ],
	[ 'no last chunk', head($path, $token, $chunked) . "\r\n" . chunk('1'), '', 'closed' ],
	[ 'endless chunks', head($path, $token, $chunked) . "\r\n", chunk('1' x 5000), 'closed' ],
	[ 'an endless extension of a chunk', head($path, $token, $chunked) . "\r\n1;", 'x' x 1000, 'closed|4\d\d' ],
	[ 'endless trailers', head($path, $token, $chunked) . "\r\n" . chunk('1') . "0\r\n", 'A: ' . 'b' x 1000 . "\r\n", 'closed|4\d\d' ],
	[ 'a chunk without a size', head($path, $token, $chunked) . "\r\nzz\r\n", '', 'closed|400' ],
	[ 'a chunk of a negative size', head($path, $token, $chunked) . "\r\n-1\r\n", '', 'closed|400' ],
	[ 'a chunk of 2^64 bytes', head($path, $token, $chunked) . "\r\n10000000000000000\r\n", '', 'closed|4\d\d' ],
	[ 'endless headers', head($path, $token), 'A: ' . 'b' x 2000 . "\r\n", '431|413|closed' ],
	[ 'thousands of tiny headers', head($path, $token) . "A:\r\n" x 20_000, '', '431|413|closed' ],
	[ 'one endless header', head($path, $token) . 'A: ', 'b' x 2000, '431|413|closed' ],
	[ 'an endless request line', 'POST /', 'x' x 2000, '414|431|413|closed' ],
	[ 'endless blank lines', '', "\r\n" x 100, 'closed|4\d\d' ],
	[ 'a length over the limit', head($path, $token, 'Content-Length: ' . ($MAX_PAYLOAD + 1)) . "\r\n", '', '413' ],
	[ 'a negative length', head($path, $token, 'Content-Length: -1') . "\r\n", '', 'closed|400' ],
	[ 'a length over 64 bits', head($path, $token, 'Content-Length: 99999999999999999999') . "\r\n", '', 'closed|4\d\d' ],
	[ 'lengths that differ', head($path, $token, 'Content-Length: 1', 'Content-Length: 2') . "\r\n1", '', 'closed|400' ],
	[ 'length and chunks', head($path, $token, 'Content-Length: 1', $chunked) . "\r\n" . chunk('1') . "0\r\n\r\n", '', 'closed|400' ],
	[ 'a body for no token', head($path, undef, 'Content-Length: 40000') . "\r\n", 'x' x 1000, '401' ],
	[ 'chunks for no token', head($path, undef, $chunked) . "\r\n", chunk('x' x 1000), '401' ],
	[ '100-continue for no token', head($path, undef, 'Content-Length: 40000', 'Expect: 100-continue') . "\r\n", '', '401' ],
	[ 'HTTP/2', "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", '', 'closed|4\d\d|505' ],
	[ 'TLS', "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" . 'x' x 500, '', 'closed|4\d\d' ],
	[ 'garbage', join('', map { chr } 0 .. 255) . "\r\n\r\n", '', 'closed|4\d\d' ])
{
	my ($name, $first, $drip, $wanted) = @$case;
	my ($got, $open, $slowest) = attack($first, $drip);
	like($got, qr/^(?:$wanted)$/, "$name: $wanted");
	cmp_ok($open, '<', $PATIENCE, "$name: closed soon after the deadline");
	cmp_ok($slowest, '<', 1, "$name: good callbacks are taken meanwhile");
}

# --- all connections taken by those who send nothing

my @silent = map { connection() } 1 .. $CONNECTIONS;
is(ask(connection(), ''), 'closed', 'no connection is left');
my $begin = time();
ok(poll('a good callback', sub { serve() < 1 }), 'a good callback is taken again');
cmp_ok(time() - $begin, '<', $DEADLINE + 1, 'as soon as they are held to their deadline');
is(scalar(grep { $_ ne 'closed' } map { ask($_, '') } @silent), 0, 'all of them are closed');

# Of those that have sent a whole request, the one idle longest makes room.
my ($idle_path) = next_good();
my @idle = map { connection() } 1 .. $CONNECTIONS;
is(join(' ', map { ask($_, request($idle_path, $wrong, '1')) } @idle), join(' ', (401) x $CONNECTIONS), 'all connections are idle');
cmp_ok(serve(), '<', 1, 'a good callback is taken at once');
is(ask($idle[0], request($idle_path, $wrong, '1')), 'closed', 'in place of the oldest');
is(ask($idle[-1], request($idle_path, $wrong, '1')), '401', 'the newest stays');
close $_ for @idle;

# --- what is no attack

my $socket = connection();
($path, $token) = next_good();
is(ask($socket, request($path, $wrong, '1')), '401', 'a wrong token: 401');
is(ask($socket, request($path, $token, '1', 'Nexus-Operation-Start-Time: x')), '400', 'a bad start time: 400, on the same connection');
is(ask($socket, request($path =~ s/[^\/]+$/01234567-89ab-7cde-8f01-23456789abcd/r, $token, '1')), '401', "another's token: 401, on the same connection");
is(ask($socket, request($path, $token, '1')), '200', 'the right one: 200, on the same connection');
is(ask($socket, request($path, $token, '1')), '200', 'item 57: and again');
is(ask($socket, head($path, $token, 'Content-Length: 1', 'Expect: 100-continue') . "\r\n"), '100', '100-continue: 100');
is(ask($socket, '1'), '200', 'then 200');
($path, $token, my $id) = next_good();
is(ask($socket, request($path, $token, 'x' x ($MAX_PAYLOAD + 1))), '413', 'item 61: one byte over the limit: 413');
$socket = connection();
is(ask($socket, request($path, $token, '"' . 'x' x ($MAX_PAYLOAD - 2) . '"')), '200', 'item 61: at the limit: 200');
is(wait_closed($node, $id), 'succeeded', 'which succeeds');
my @pipe = map { [ next_good() ] } 1 .. 20;
syswrite $socket, join '', map { request(@$_[ 0, 1 ], '1') } @pipe;
is(join(' ', map { ask($socket, '') } @pipe), join(' ', (200) x 20), 'twenty requests in one piece: 200 each');
($path, $token, $id) = next_good();
$socket = connection();
syswrite $socket, request($path, $token, '1');
shutdown $socket, 1;
is(ask($socket, ''), '200', 'one who sends no more, but listens: 200');
($path, $token, $id) = next_good();
$socket = connection();
syswrite $socket, request($path, $token, '1');
close $socket;
is(wait_closed($node, $id), 'succeeded', 'one who is gone before the answer: succeeded all the same');

# --- after all that

ok(poll('the log', sub { $node->log_contains(qr/limit of $CONNECTIONS connections/, $log) }), 'the log tells of the limit');
is(nexus_pid($node, $_), $pid{$_}, "the $_ is the same") for qw(worker listener);
my ($most) = slurp_file("/proc/$pid{listener}/status") =~ /^VmHWM:\s+(\d+) kB/m;
cmp_ok($most, '<', 32 * 1024, 'the listener has never had 32 MB');
is(value($node, q{SELECT count(*) FROM nexus.operations WHERE state NOT IN ('started', 'succeeded')}), '0', 'no operation has minded');
my @lines = split /\n/, substr slurp_file($node->logfile), $log;
cmp_ok(scalar(@lines), '<', 20, 'the log is not flooded') or diag(join "\n", @lines[0 .. 20]);

$handler->stop;
$node->stop;
done_testing();
