# Handlers whose HTTP is broken: what an operation becomes of it, and that the
# worker, the views and the next operation do not mind.
use strict;
use warnings;

use Compress::Zlib qw(memGzip);
use FindBin;
use IO::Socket::INET;
use JSON::PP ();
use lib "$FindBin::RealBin/lib";
use MIME::Base64 qw(decode_base64);
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $TIMEOUT_MS = 700;
my $MAX_PAYLOAD = 100_000;
my $MAX_HEAD = 64 * 1024;
my $JSON = 'Content-Type: application/json';
my $node = nexus_node('main', conf => "nexus_pg.max_payload_size = ${MAX_PAYLOAD}B");
my $handler = NexusTest::Handler->start;
my $broken = NexusTest::Handler->start(program => 'broken_http.py');
my $elsewhere = NexusTest::Handler->start;
my $worker = nexus_pid($node, 'worker');
my $ascii = JSON::PP->new->ascii->canonical;	# a header's value
create_endpoint($node, 'good', $handler);

# --- answers, as bytes

sub head
{
	my ($status, @headers) = @_;
	return join("\r\n", "HTTP/1.1 $status Status", @headers, '', '');
}

sub answer
{
	my ($status, $headers, $body) = @_;
	return head($status, @$headers, 'Content-Length: ' . length $body) . $body;
}

sub chunk { return sprintf "%x\r\n%s\r\n", length $_[0], $_[0]; }

my $ok = answer(200, [$JSON], '7');
my $started = '{"token": "t", "state": "running"}';

sub started_with { my ($token) = @_; return answer(201, [$JSON], qq({"token": "$token", "state": "running"})); }

# --- the cases: [name, what is sent and how it ends, the state, the status and
# --- whether it is retryable in failed_attempts, what its failure says]; where
# --- there is no failed attempt, [name, what is sent, the state, the result as bytes]

sub case_of { my %case; @case{qw(state name script status says)} = @_; return \%case; }
sub backs_off { return case_of('backing_off', @_); }
sub ends { return case_of('failed', @_); }
sub becomes { my ($name, $script, $state, $result) = @_; return { %{ case_of($state, $name, $script) }, result => $result }; }
sub says { return { send => [@_] }; }

my @gone = (
	backs_off('scenario 23: reset before the answer', { end => 'reset' }, undef, qr/reset/i),
	backs_off('reset within the head', { send => [ "HTTP/1.1 200 OK\r\nConte", { wait => 50 } ], end => 'reset' }, 200, qr/reset/i),
	backs_off('reset within the body', { send => [ head(200, $JSON, 'Content-Length: 100'), '"', { wait => 50 } ], end => 'reset' }, 200, qr/reset/i),
	backs_off('closed before the answer', { end => 'close' }, undef, qr/empty reply/i),
	backs_off('closed within the head', { send => ["HTTP/1.1 200 OK\r\nConte"], end => 'close' }, 200, qr/closed within/),
	backs_off('closed within the head, between two lines', { send => ["HTTP/1.1 200 OK\r\n$JSON\r\n"], end => 'close' }, 200, qr/closed within/),
	backs_off('closed after 100', { send => [ head(100) ], end => 'close' }, undef, qr/empty reply/),
	backs_off('closed within the body', { send => [ head(200, 'Content-Length: 100'), '"' ], end => 'close' }, 200, qr/bytes remaining/),
	backs_off('closed within a chunk', { send => [ head(200, 'Transfer-Encoding: chunked'), "9\r\n12" ], end => 'close' }, 200, qr/./),
	backs_off('closed before the last chunk', { send => [ head(200, 'Transfer-Encoding: chunked'), chunk('"') ], end => 'close' }, 200, qr/./),
	backs_off('scenario 11: hangs', { end => 'hang' }, undef, qr/^request timed out$/),
	backs_off('hangs within the head', { send => ["HTTP/1.1 200 OK\r\nA: b\r\n"], end => 'hang' }, 200, qr/^request timed out$/),
	backs_off('hangs within the body', { send => [ head(200, 'Content-Length: 9'), '1' ], end => 'hang' }, 200, qr/^request timed out$/),
	backs_off('hangs after 100', says(head(100), { wait => 60_000 }), undef, qr/^request timed out$/),
	backs_off('a byte a second in the head', says({ text => $ok, every => 1000 }), undef, qr/^request timed out$/),
	backs_off('a byte a second in the body', says(head(200, 'Content-Length: 9'), { text => '123456789', every => 1000 }), 200, qr/^request timed out$/),
);

my @endless = (
	ends('item 38: an endless body', says(head(200, $JSON), { repeat => 'x' x 1000 }), 200, qr/larger/),
	ends('endless chunks', says(head(200, 'Transfer-Encoding: chunked'), { repeat => chunk('x' x 1000) }), 200, qr/larger/),
	ends('one endless chunk', says(head(200, 'Transfer-Encoding: chunked'), "fffffffff\r\n", { repeat => 'x' x 1000 }), 200, qr/larger/),
	ends('a length of 1 TB', says(head(200, 'Content-Length: 1099511627776'), { repeat => 'x' x 1000 }), 200, qr/larger/),
	ends('scenario 20: one byte over the limit',
		says(head(200, "Content-Length: @{[ $MAX_PAYLOAD + 1 ]}"), { size => $MAX_PAYLOAD + 1 }), 200, qr/larger/),
	becomes('at the limit', says(head(200, "Content-Length: $MAX_PAYLOAD"), { size => $MAX_PAYLOAD }), 'succeeded', 'x' x $MAX_PAYLOAD),
	ends('an endless body of an error', says(head(500, $JSON), { repeat => 'x' x 1000 }), 500, qr/larger/),
	backs_off('endless headers', says("HTTP/1.1 200 OK\r\n", { repeat => "A: b\r\n" }), 200, qr/headers are too large/),
	backs_off('one endless header', says("HTTP/1.1 200 OK\r\nA: ", { repeat => 'b' x 1000 }), 200, qr/headers are too large/),
	backs_off('an endless status line', says('HTTP/1.1 200 ', { repeat => 'O' x 1000 }), undef, qr/headers are too large/),
	backs_off('endless 100', says({ repeat => head(100) }), undef, qr/headers are too large/),
	backs_off('endless 103', says({ repeat => head(103, 'Link: </a>') }), undef, qr/headers are too large/),
	backs_off('endless trailers',
		says(head(200, 'Transfer-Encoding: chunked'), chunk('7'), "0\r\n", { repeat => "A: b\r\n" }), 200, qr/headers are too large/),
	backs_off('endless blank lines', says({ repeat => "\r\n" }), undef, qr/./),
);

my @framing = (
	becomes('two equal lengths', says(head(200, $JSON, 'Content-Length: 1', 'Content-Length: 1'), '7'), 'succeeded', '7'),
	backs_off('two different lengths', says(head(200, $JSON, 'Content-Length: 2', 'Content-Length: 1'), '77'), 200, qr/contradictory Content-Length/),
	backs_off('two different lengths in one header', says(head(200, $JSON, 'Content-Length: 1, 2'), '77'), 200, qr/Content-Length/),
	backs_off('a negative length', { send => [ head(200, $JSON, 'Content-Length: -1'), '7' ], end => 'close' }, 200, qr/length/i),
	backs_off('a length that is no number', { send => [ head(200, $JSON, 'Content-Length: x'), '7' ], end => 'close' }, 200, qr/length/i),
	backs_off('a length over 64 bits',
		{ send => [ head(200, $JSON, 'Content-Length: 99999999999999999999'), '7' ], end => 'close' }, 200, qr/invalid or contradictory Content-Length/),
	becomes('length and chunks: chunks count',
		says(head(200, $JSON, 'Content-Length: 3', 'Transfer-Encoding: chunked'), chunk('7') . "0\r\n\r\n"), 'succeeded', '7'),
	backs_off('a chunk of no size', says(head(200, 'Transfer-Encoding: chunked'), "zz\r\n7\r\n0\r\n\r\n"), 200, qr/chunk/i),
	backs_off('a chunk of a negative size', says(head(200, 'Transfer-Encoding: chunked'), "-1\r\n7\r\n0\r\n\r\n"), 200, qr/chunk/i),
	backs_off('a chunk without its end', says(head(200, 'Transfer-Encoding: chunked'), "1\r\n7x\r\n0\r\n\r\n"), 200, qr/chunk/i),
	backs_off('a chunk size of 20 digits', says(head(200, 'Transfer-Encoding: chunked'), "ffffffffffffffffffff\r\n7\r\n0\r\n\r\n"), 200, qr/chunk/i),
	becomes('item 39: chunks', says(head(200, $JSON, 'Transfer-Encoding: chunked'), chunk('[1,') . chunk('2]') . "0\r\n\r\n"), 'succeeded', '[1,2]'),
	becomes('item 39: until the connection is closed', { send => [ head(200, $JSON), '[1,2]' ], end => 'close' }, 'succeeded', '[1,2]'),
	becomes('trailers are not headers',
		says(head(200, 'Transfer-Encoding: chunked'), chunk('7') . "0\r\n$JSON\r\nNexus-Link: x\r\n\r\n"), 'succeeded', '7'),
	backs_off('HTTP/0.9', { send => ['7'], end => 'close' }, undef, qr/HTTP/),
	backs_off('TLS', { send => ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc"], end => 'close' }, undef, qr/HTTP/),
	backs_off('garbage', { send => [ join '', map { chr } 0 .. 255 ], end => 'close' }, undef, qr/HTTP/),
	backs_off('HTTP/2 nobody asked for', { send => ["\0\0\0\4\0\0\0\0\0"], end => 'close' }, undef, qr/HTTP/),
	backs_off('a status of two digits', { send => ["HTTP/1.1 20 OK\r\n\r\n"], end => 'close' }, undef, qr/./),
	backs_off('status 999', says(answer(999, [], '')), 999, qr/unexpected response status: 999/),
	backs_off('status 101', { send => [ head(101, 'Upgrade: h2c') ], end => 'close' }, undef, qr/./),
	becomes('103 before the answer', says(head(103, 'Nexus-Link: x', 'Content-Type: text/plain') . $ok), 'succeeded', '7'),
	becomes('lines that end in LF', says("HTTP/1.1 200 OK\nContent-Length: 1\n$JSON\n\n7"), 'succeeded', '7'),
	becomes('headers of no name and with blanks in it', says(head(200, ': x', 'a b: c', $JSON, 'Content-Length: 1') . '7'), 'succeeded', '7'),
	becomes('a header over two lines', says(head(200, "$JSON;", ' charset=utf-8', 'Content-Length: 1') . '7'), 'succeeded', '7'),
	backs_off('a header without a colon', says(head(200, 'nonsense', $JSON, 'Content-Length: 1') . '7'), 200, qr/colon/),
	backs_off('a header with a NUL', says(head(200, "A: b\0c", $JSON, 'Content-Length: 1') . '7'), 200, qr/nul/i),
	becomes('an answer before the body was read', { read => 'head', send => [$ok], end => 'close' }, 'succeeded', '7'),
);

my @redirects = map {
	my $status = $_;
	map {
		backs_off("scenario 22, item 35: $status to $_->[0]",
			says(answer($status, [ "Location: $_->[1]" ], '')), $status, qr/unexpected response status: $status/)
	} [ 'another server', $elsewhere->url . '/stolen' ], [ 'a file', 'file:///etc/passwd' ]
} 301, 302, 303, 307, 308;

my $gzip = memGzip('7');
my $bomb = memGzip('x' x 1_000_000);
my @contents = (
	becomes('truncated JSON, 200', says(answer(200, [$JSON], '{"a": [1')), 'succeeded', '{"a": [1'),
	backs_off('item 21: truncated JSON, 201', says(answer(201, [$JSON], '{"token": "t"')), 201, qr/not a JSON object/),
	backs_off('truncated JSON, 424', says(answer(424, [ $JSON, 'Nexus-Operation-State: failed' ], '{"message": "m')), 424, qr/./),
	backs_off('truncated JSON, 500', says(answer(500, [$JSON], '{"message": "m')), 500, qr/internal/),
	ends('item 34: truncated JSON, 400', says(answer(400, [$JSON], '{"message": "m')), 400, qr/bad request/),
	becomes('item 14: octets, 200', says(answer(200, ['Content-Type: application/octet-stream'], "\0\1\xff")), 'succeeded', "\0\1\xff"),
	becomes('no type, 200', says(answer(200, [], 'seven')), 'succeeded', 'seven'),
	becomes('an unreadable type, 200', says(answer(200, ["Content-Type: \xff\x01;;=\"", ], 'seven')), 'succeeded', 'seven'),
	backs_off('scenario 22, item 21: text, 201', says(answer(201, ['Content-Type: text/plain'], $started)), 201, qr{content type "text/plain"}),
	backs_off('no type, 201', says(answer(201, [], $started)), 201, qr/no content type/),
	backs_off('item 26: text, 424',
		says(answer(424, [ 'Content-Type: text/plain', 'Nexus-Operation-State: failed' ], '{"message": "m"}')), 424, qr{content type "text/plain"}),
	backs_off('item 25: no state, 424', says(answer(424, [$JSON], '{"message": "m"}')), 424, qr/state/),
	backs_off('item 25: a bogus state, 424', says(answer(424, [ $JSON, 'Nexus-Operation-State: exploded' ], '{"message": "m"}')), 424, qr/state/),
	backs_off('item 35: 418', says(answer(418, [], 'short and stout')), 418, qr/unexpected response status: 418/),
	backs_off('item 35: 204', says(head(204)), 204, qr/unexpected response status: 204/),
	backs_off('item 35: 202', says(answer(202, [], '')), 202, qr/unexpected response status: 202/),
	becomes('gzip nobody asked for, 200', says(answer(200, [ $JSON, 'Content-Encoding: gzip' ], $gzip)), 'succeeded', $gzip),
	backs_off('gzip nobody asked for, 201', says(answer(201, [ $JSON, 'Content-Encoding: gzip' ], $gzip)), 201, qr/not a JSON object/),
	becomes('a transfer coding nobody asked for',
		says(head(200, $JSON, 'Transfer-Encoding: gzip, chunked'), chunk($gzip) . "0\r\n\r\n"), 'succeeded', '7'),
	backs_off('a transfer coding of no name', says(head(200, $JSON, 'Transfer-Encoding: xyz, chunked'), chunk('7') . "0\r\n\r\n"), 200, qr/encoding/i),
	backs_off('a hundred transfer codings', says(head(200, $JSON, 'Transfer-Encoding: ' . 'gzip, ' x 100 . 'chunked'), chunk($gzip) . "0\r\n\r\n"), 200, qr/encoding/i),
	ends('a transfer coding that hides much', says(head(200, 'Transfer-Encoding: gzip, chunked'), chunk($bomb) . "0\r\n\r\n"), 200, qr/larger/),
	becomes('a content coding that hides much', says(answer(200, [ $JSON, 'Content-Encoding: gzip' ], $bomb)), 'succeeded', $bomb),
);

my @tokens = (
	backs_off('item 21: no token', says(answer(201, [$JSON], '{"state": "running"}')), 201, qr/no operation token/),
	backs_off('item 21: an empty token', says(started_with('')), 201, qr/no operation token/),
	backs_off('a token that is a number', says(answer(201, [$JSON], '{"token": 7, "state": "running"}')), 201, qr/no operation token/),
	backs_off('item 21: state succeeded', says(answer(201, [$JSON], '{"token": "t", "state": "succeeded"}')), 201, qr/state is not "running"/),
	backs_off('an array', says(answer(201, [$JSON], '[]')), 201, qr/not a JSON object/),
	becomes('control characters in a token', says(started_with('\u0001\u001b[2J\u007f')), 'started'),
	becomes('line ends in a token', says(started_with('t\r\nX-Evil: 1')), 'started'),
	backs_off('a NUL in a token', says(started_with('a\u0000b')), 201, qr/./),
	backs_off('a lone surrogate in a token', says(started_with('a\ud800b')), 201, qr/./),
	backs_off('a token that is not UTF-8', says(started_with("a\xffb")), 201, qr/./),
	becomes('the longest token', says(started_with('t' x 4096)), 'started'),
	ends('scenario 19: a longer token', says(started_with('t' x 4097)), 201, qr{4097/4096}),
	backs_off('scenario 22: a bad link', says(answer(201, [ $JSON, 'Nexus-Link: <x' ], $started)), 201, qr/[Ll]ink/),
);

my @twice = (
	becomes('Content-Type twice: the first counts', says(answer(200, [ $JSON, 'Content-Type: text/plain' ], '7')), 'succeeded', '7'),
	backs_off('Content-Type twice, 201', says(answer(201, [ 'Content-Type: text/plain', $JSON ], $started)), 201, qr{content type "text/plain"}),
	becomes('Nexus-Operation-State twice: the first counts',
		says(answer(424, [ $JSON, 'Nexus-Operation-State: canceled', 'Nexus-Operation-State: failed' ], '{"message": "m"}')), 'canceled'),
	becomes('item 22: Nexus-Link twice', says(answer(200, [ $JSON, map { "Nexus-Link: <https://e.com/$_>; type=\"t\"" } 1, 2 ], '7')), 'succeeded', '7'),
	backs_off('Nexus-Link twice, one of them bad',
		says(answer(200, [ $JSON, 'Nexus-Link: <https://e.com/1>; type="t"', 'Nexus-Link: nonsense' ], '7')), 200, qr/[Ll]ink/),
);

# --- all of them at once, each at an endpoint of its own, so that none is kept
# --- waiting for the others' failures

my @cases = (@gone, @endless, @framing, @redirects, @contents, @tokens, @twice);
my $sql = '';
for my $n (0 .. $#cases)
{
	(my $script = $ascii->encode($cases[$n]{script})) =~ s/\x7f/\\u007f/g;
	my $headers = json_text({ 'X-Script' => $script });
	$sql .= "CREATE SERVER case$n FOREIGN DATA WRAPPER nexus OPTIONS (url '" . $broken->url . "', request_timeout '${TIMEOUT_MS}ms', "
		. "retry_initial_interval '1h', retry_max_interval '1h');\n"
		. "SELECT nexus.schedule('case$n', 'any', 'o', '{\"some\": \"input\"}', headers => " . quote($headers) . ", summary => '$n');\n";
}
value($node, $sql);
ok($node->poll_query_until('postgres', q{SELECT count(*) FROM nexus.operations WHERE state = 'scheduled'}, '0'), 'each comes to something');

my %row = map { ($_->{n} => $_) } @{ json_of(value($node, <<'SQL')) };
SELECT json_agg(r) FROM (
	SELECT o.summary AS n, o.state, o.attempt, encode(o.result_bytes, 'base64') AS result, a.http_status AS status, a.retryable,
		a.kind, a.failure->>'message' AS message, o.links
	FROM nexus.operations o LEFT JOIN nexus.failed_attempts a ON a.operation_id = o.id) r
SQL

for my $n (0 .. $#cases)
{
	my ($case, $row) = ($cases[$n], $row{$n});
	my $expected = $case->{state};
	$expected .= ' ' . ($case->{status} // '-') . ($expected eq 'failed' ? ' final' : ' retryable') if defined $case->{says};
	my $found = $row->{state};
	$found .= ' ' . ($row->{status} // '-') . ($row->{retryable} ? ' retryable' : ' final') if defined $row->{kind};
	is($found, $expected, "$case->{name}: $expected") or diag(json_text($row));
	like($row->{message}, $case->{says}, "$case->{name}: and says so") if defined $case->{says};
	next unless defined $case->{result};
	my $result = decode_base64($row->{result} // '');
	ok($result eq $case->{result}, "$case->{name}: with the bytes that came")
		or diag('got ' . length($result) . ' bytes: ' . quote(substr $result, 0, 100));
}


# --- what is left of them

is($elsewhere->stats->{requests}, 0, 'nothing was sent where redirects point');
my $is_gzip = 'result_bytes = ' . quote('\x' . unpack('H*', $gzip));
is(value($node, "SELECT result IS NULL AND result_content_type = 'application/json; content-encoding=\"gzip\"' FROM nexus.operations WHERE $is_gzip"), 't',
	'what is compressed is no jsonb');
is(error_of($node, "SELECT nexus.await(id) FROM nexus.operations WHERE result_bytes = " . quote('{"a": [1')), 'NX008', 'truncated JSON: no jsonb');
is(error_of($node, "SELECT nexus.await(id) FROM nexus.operations WHERE $is_gzip"), 'NX008', 'compressed: no jsonb');
my ($sqlstate, $said) = error_of($node, "SELECT nexus.await(id) FROM nexus.operations WHERE summary = '" . number_of('scenario 20') . "'");
is($sqlstate, 'NX001', 'too large: NX001');
like($said, qr/failed: the reply is larger than nexus_pg.max_payload_size \($MAX_PAYLOAD bytes\)/, 'and says which limit');
is(json_text([ map { $_->{url} } @{ $row{ number_of('item 22: Nexus-Link') }{links} } ]), '["https://e.com/1","https://e.com/2"]', 'item 22: both links');

sub number_of
{
	my ($name) = @_;
	my ($number) = grep { index($cases[$_]{name}, $name) == 0 } 0 .. $#cases;
	return $number;
}

# The handler's token goes back to it in a header.
my $evil = value($node, "SELECT id FROM nexus.operations WHERE summary = '" . number_of('line ends') . "'");
is(row_of($node, 'operations', $evil)->{operation_token}, "t\r\nX-Evil: 1", 'a token is kept as it came');
my $before = $broken->stats->{requests};
value($node, "SELECT nexus.cancel('$evil')");
ok($node->poll_query_until('postgres', "SELECT cancellation_state FROM nexus.operations WHERE id = '$evil'", 'failed'),
	'but not sent where it would begin another header');
is($broken->stats->{requests}, $before, 'nor is anything else');
is(history_of($node, $evil), 'Scheduled Started CancelRequested CancelRequestFailed', 'which the history shows');

# --- cancel requests are answered by the same peers

my @cancels = (
	[ 'reset', { end => 'reset' }, '-', 'backing_off' ],
	[ 'scenario 64: hangs', { end => 'hang' }, '-', 'backing_off' ],
	[ 'closed within the head', { send => ["HTTP/1.1 202 Accepted\r\n"], end => 'close' }, 202, 'backing_off' ],
	[ 'an endless body', says(head(202), { repeat => 'x' x 1000 }), 202, 'backing_off' ],
	[ 'an endless body of an error', says(head(400, $JSON), { repeat => 'x' x 1000 }), 400, 'backing_off' ],
	[ 'item 41: 200', says(answer(200, [], '')), 200, 'backing_off' ],
	[ 'item 41: 204', says(head(204)), 204, 'backing_off' ],
	[ 'a redirect', says(answer(307, [ 'Location: ' . $elsewhere->url ], '')), 307, 'backing_off' ],
	[ 'garbage', says("\0\xff\r\n\r\n"), '-', 'backing_off' ],
	[ 'item 43: truncated JSON, 404', says(answer(404, [$JSON], '{"message": "m')), 404, 'failed' ]);
my @canceled = map {
	my $script = { %{ says(started_with('t')) }, cancel => $cancels[$_][1] };
	create_endpoint($node, "cancel$_", $broken, request_timeout => "${TIMEOUT_MS}ms", retry_initial_interval => '1h', retry_max_interval => '1h');
	schedule($node, "cancel$_", 'o', 'input', headers => json_text({ 'X-Script' => $ascii->encode($script) }));
} 0 .. $#cancels;
wait_state($node, $_, 'started') for @canceled;
value($node, "SELECT nexus.cancel('$_')") for @canceled;
for my $n (0 .. $#cancels)
{
	my ($name, undef, $status, $state) = @{ $cancels[$n] };
	ok($node->poll_query_until('postgres', "SELECT cancellation_state FROM nexus.operations WHERE id = '$canceled[$n]'", $state),
		"cancel, $name: $state");
	my ($attempt) = attempts_of($node, $canceled[$n]);
	is("$attempt->{kind} " . ($attempt->{http_status} // '-'), "cancel $status", 'with its failed attempt');
	is(state_of($node, $canceled[$n]), 'started', 'and the operation goes on');
}
is($elsewhere->stats->{requests}, 0, 'nothing was sent where the redirect points');

# --- no answer at all, at other stages

my $full = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "listen: $!";
my @crowd = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $full->sockport, Blocking => 0) } 1 .. 4;
for my $case (
	[ 'who does not accept', 'http://127.0.0.1:' . $full->sockport, qr/^request timed out while connecting$/ ],
	[ 'who waits within the handshake of TLS', 'https://127.0.0.1:' . $broken->port, qr/^request timed out while connecting$/ ])
{
	my ($name, $url, $says) = @$case;
	create_endpoint($node, 'silent', $url, request_timeout => "${TIMEOUT_MS}ms", retry_initial_interval => '1h', retry_max_interval => '1h');
	my $id = schedule($node, 'silent', 'o');
	is(wait_state($node, $id, 'backing_off|failed'), 'backing_off', "$name: tried again");
	like((attempts_of($node, $id))[0]{failure}{message}, $says, 'and says so');
	value($node, "SELECT nexus.terminate('$id')");
	wait_closed($node, $id);
	value($node, 'DROP SERVER silent');
}

# --- after all that

for my $view (qw(operations pending_operations operation_history failed_attempts endpoints stat_endpoints workers))
{
	my ($status, $out, $err) = $node->psql('postgres', "SELECT count(v::text) > 0 FROM nexus.$view v");
	is("$out$err", 't', "nexus.$view can be read");
}
is(value($node, "SELECT nexus.execute('good', 'any', 'o', '1', await_timeout => '10 s')"), '1', 'a good handler is served');
is(nexus_pid($node, 'worker'), $worker, 'by the same worker');
unlike(slurp_file($node->logfile), qr/PANIC|FATAL|was terminated by signal/, 'nothing of it is in the log');

$_->stop for $handler, $broken, $elsewhere;
$node->stop;
done_testing();
