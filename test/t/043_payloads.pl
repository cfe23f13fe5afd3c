# Inputs and results of every kind, byte by byte: what handlers get, what is
# stored and shown of what they answer, and what await says of it.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Compress::Zlib ();
use Digest::MD5 qw(md5_hex);
use Encode qw(encode_utf8);
use MIME::Base64 qw(encode_base64 decode_base64);
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $JSON = 'application/json';
my $OCTETS = 'application/octet-stream';
my $TEMPORAL = 'application/x-temporal-payload';
my $MAX = 2 * 1024 * 1024;
my $ALL_BYTES = join '', map { chr } 0 .. 255;
my $DEEP = '[' x 10_000 . ']' x 10_000;

my $node = nexus_node('main');
my $handler = NexusTest::Handler->start;
create_endpoint($node, 'hello', $handler, max_in_flight => 20);
my $worker = nexus_pid($node, 'worker');

sub literal { return "'\\x" . unpack('H*', $_[0]) . "'::bytea"; }

# --- inputs

# The body and the Content-Type of the start request.
sub sent
{
	my ($id) = @_;
	my ($start) = $handler->log(request_id => $id, kind => 'start');
	my $body = defined $start->{body_base64} ? decode_base64($start->{body_base64}) : encode_utf8($start->{body});
	return ($body, $start->{headers}{'content-type'}, $start->{headers}{'content-length'});
}

# Schedule it, and compare what came there and what the views show of it.
sub input
{
	my ($name, $call, $body, $type, $shown) = @_;
	my $id = value($node, "SELECT nexus.$call");
	is(wait_closed($node, $id), 'succeeded', "input $name: is sent");
	my ($came, $came_type, $length) = sent($id);
	ok($came eq $body, "input $name: body") or diag(unpack 'H*', substr($came, 0, 100));
	is($came_type, $type, "input $name: content type");
	is($length, length $body, "input $name: length");
	is(value($node, "SELECT concat_ws(' ', coalesce(input::text, '-'), coalesce(md5(input_bytes), '-'), coalesce(input_content_type, '-')) "
		. "FROM nexus.operations WHERE id = '$id'"),
		join(' ', $shown, defined $type || length $body ? md5_hex($body) : '-', $type // '-'), "input $name: shown and kept");
	return $id;
}

sub input_bytes
{
	my ($name, $body, $type, $shown) = @_;
	return input("$name as bytes", "schedule_bytes('hello', 'any', 'o', " . literal($body) . ', ' . quote($type) . ')', $body, $type, $shown // '-');
}

input('NULL (scenario 21, item 9)', q{schedule('hello', 'any', 'o', NULL)}, '', undef, '-');
input('JSON null', q{schedule('hello', 'any', 'o', 'null')}, 'null', $JSON, 'null');
input('JSON (item 9)', q{schedule('hello', 'any', 'o', '{"a": [1, "\u00e9\ud83d\ude00"]}')}, encode_utf8("{\"a\": [1, \"\x{e9}\x{1f600}\"]}"), $JSON,
	encode_utf8("{\"a\": [1, \"\x{e9}\x{1f600}\"]}"));
input('JSON nested deep', "schedule('hello', 'any', 'o', '" . '[' x 900 . ']' x 900 . "')", '[' x 900 . ']' x 900, $JSON, '[' x 900 . ']' x 900);
input('NULL bytes', q{schedule_bytes('hello', 'any', 'o', NULL)}, '', undef, '-');
input_bytes('all 256 values (item 9)', $ALL_BYTES, $OCTETS);
input_bytes('nothing', '', $OCTETS);
input_bytes('JSON', '{"a":1}', "$JSON; charset=utf-8", '{"a": 1}');
input_bytes('a Temporal payload', "\x12\x011", $TEMPORAL);
input_bytes('protobuf', "\x08\x01", 'application/x-protobuf; message-type="a.B"');
input_bytes('JSON of protobuf', '{"b": 1}', "$JSON; format=protobuf; message-type=\"a.B\"", '{"b": 1}');
for my $case ([ 'a NUL escape', '"\u0000"' ], [ 'a number out of range', '1e999999' ], [ '10,000 levels', $DEEP ], [ 'half a surrogate pair', '"\ud800"' ],
	[ 'a byte order mark', "\xef\xbb\xbf1" ], [ 'invalid UTF-8', "\"\xff\"" ], [ 'no JSON', '{' ], [ 'nothing', '' ])
{
	input_bytes("JSON type, but $case->[0]", $case->[1], $JSON);
}
input_bytes('duplicate keys', '{"a":1,"a":2}', $JSON, '{"a": 2}');
my $id = input('bytes without a type', q{schedule_bytes('hello', 'any', 'o', '\x78', NULL)}, 'x', undef, '-');
is(value($node, "SELECT encode(result_bytes, 'escape') FROM nexus.operations WHERE id = '$id'"), 'x', 'and come back');

my $longest = '"' . 'x' x ($MAX - 2) . '"';
is(md5_hex((sent(value($node, qq{SELECT nexus.schedule('hello', 'scripted', 'empty', to_jsonb(repeat('x', $MAX - 2)))
	AS id \\gset\nSELECT nexus.await(:'id') \\gset\nSELECT :'id'})))[0]), md5_hex(substr $longest, 0, 65536),
	'input of exactly max_payload_size: sent');
is($handler->stats->{requests} && ($handler->log(kind => 'start'))[-1]{body_bytes}, $MAX, 'whole');
for my $call ("schedule('hello', 'any', 'o', to_jsonb(repeat('x', $MAX - 1)))", "execute('hello', 'any', 'o', to_jsonb(repeat('x', $MAX - 1)))",
	"schedule_bytes('hello', 'any', 'o', convert_to(repeat('x', $MAX + 1), 'UTF8'))")
{
	my ($code, $said) = error_of($node, "SELECT nexus.$call");
	is($code, '22023', 'one byte more (scenario 75): refused by ' . substr($call, 0, 8));
	like($said, qr/It has 2097153 bytes, the limit is 2097152/, 'with the numbers');
}

# --- results, in the reply and by callback

# What a call raises, or returns.
value($node, <<'SQL');
CREATE FUNCTION said(call text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	answer text; code text; message text; hint text;
BEGIN
	EXECUTE 'SELECT (' || call || ')::text' INTO answer;
	RETURN jsonb_build_object('code', '', 'answer', answer);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	RETURN jsonb_build_object('code', code, 'message', message, 'hint', hint);
END $$;
SQL

my @cases;	# [ name, operation, script, what is kept ]

# headers: Content-Type, or a list of pairs, or undef for none.  bytes: what is
# kept (default: the body), type: its type (default: that of the headers).
sub result
{
	my ($name, $headers, $body, %expect) = @_;
	my @pairs = ref $headers ? @$headers : defined $headers ? ([ 'Content-Type', $headers ]) : ();
	my %first = map { lc $_->[0] => $_->[1] } reverse @pairs;
	my %kept = (bytes => $body, type => $first{'content-type'}, json => undef, %expect);
	my %script = (headers => \@pairs, body_base64 => encode_base64($body, ''));

	push @cases, [ "$name, in the reply", 'reply', {%script}, \%kept ];
	$script{headers} = [ [ 'Content-Type', undef ], @pairs ] unless exists $first{'content-type'};
	push @cases, [ "$name, by callback", 'async', { %script, after => 0 }, \%kept ];
	return;
}

# Schedule them all, and look at each once all are closed; their ids.
sub check_results
{
	my $scheduled = join ";\n", map { "SELECT nexus.schedule('hello', 'scripted', '$_->[1]', " . quote(json_text($_->[2])) . ')' } @cases;
	my @ids = split /\n/, value($node, $scheduled);
	my $list = "'{" . join(',', @ids) . "}'::uuid[]";
	is(value($node, "SELECT count(*) FROM nexus.await_all($list, '60 s') WHERE state = 'succeeded'"), scalar @ids, 'all succeed');
	my @rows = @{ json_of(value($node, <<"SQL")) };
SELECT json_agg(json_build_object('state', a.state, 'all', a.result::text, 'result', o.result::text, 'bytes', md5(o.result_bytes),
	'type', o.result_content_type, 'await', said(format('nexus.await(%L)', o.id)), 'function', said(format('nexus.result(%L)', o.id)))
	ORDER BY a.ordinality)
FROM nexus.await_all($list, '60 s') WITH ORDINALITY a JOIN nexus.operations o ON o.id = a.operation_id
SQL
	for my $i (0 .. $#cases)
	{
		my ($name, undef, undef, $kept) = @{ $cases[$i] };
		my $row = $rows[$i];
		is($row->{state}, 'succeeded', "$name: succeeded");
		is($row->{bytes}, defined $kept->{bytes} ? md5_hex($kept->{bytes}) : undef, "$name: bytes");
		is($row->{type}, $kept->{type}, "$name: content type");
		is($row->{result}, $kept->{json}, "$name: jsonb");
		is($row->{all}, $kept->{json}, "$name: await_all never raises");
		my $is_bytes = defined $kept->{bytes} && !defined $kept->{json};
		for my $said (@$row{qw(await function)})
		{
			is($said->{code}, $is_bytes ? 'NX008' : '', "$name: SQLSTATE");
			is($said->{answer}, $kept->{json}, "$name: answer");
			is($said->{hint}, $is_bytes ? 'Read it from nexus.operations.result_bytes.' : undef, "$name: hint");
		}
	}
	return @ids;
}

result('no body (item 16, item 55, scenario 21)', undef, '', bytes => undef);
result('no body, but a type', 'text/plain', '', bytes => undef);
result('JSON null', $JSON, 'null', json => 'null');
result('JSON', $JSON, '{"b":[1,2.50]}', json => '{"b": [1, 2.50]}');
result('JSON in another case', 'APPLICATION/Json', '1', json => '1');
result('JSON with a charset (item 18)', "$JSON; charset=utf-8", encode_utf8("\"\x{e9}\""), json => "\"\x{e9}\"");
result('JSON under another charset', "$JSON; charset=iso-8859-1", "\"\xe9\"");
result('JSON, duplicate keys', $JSON, '{"a":1,"a":2}', json => '{"a": 2}');
result('JSON, blanks around', $JSON, " \r\n[1]\n", json => '[1]');
result('JSON, a pair of surrogates', $JSON, '"\ud83d\ude00"', json => "\"\x{1f600}\"");
result('JSON, a great number', $JSON, '1e300', json => '1' . '0' x 300);
result('JSON, 900 levels', $JSON, '[' x 900 . ']' x 900, json => '[' x 900 . ']' x 900);
result('JSON, a NUL escape', $JSON, '{"a":"\u0000"}');
result('JSON, a NUL escape as a key', $JSON, '{"\u0000":1}');
result('JSON, a number out of range', $JSON, '1e999999');
result('JSON, a small number out of range', $JSON, '[1e-999999]');
result('JSON, 10,000 levels', $JSON, $DEEP);
result('JSON, half a surrogate pair', $JSON, '"\ud800"');
result('JSON, the other half', $JSON, '"\udc00x"');
result('JSON, a byte order mark', $JSON, "\xef\xbb\xbf1");
result('JSON, invalid UTF-8', $JSON, "\"\xff\"");
result('JSON, overlong UTF-8', $JSON, "\"\xc0\x80\"");
result('JSON, a NUL byte', $JSON, "\"a\0b\"");
result('JSON, a control character', $JSON, "\"\x01\"");
result('JSON, cut off', $JSON, '{"a":');
result('JSON, two of them', $JSON, '1 2');
result('JSON, not a number', $JSON, 'NaN');
result('JSON type without a body', $JSON, '');
result('bytes, all 256 values (item 14)', $OCTETS, $ALL_BYTES);
result('bytes, none', $OCTETS, '');
result('text', 'text/plain; charset=utf-8', 'words');
result('an unknown type', 'application/x-nobody; a="b;c"', '{"a":1}');
result('no type, but a body', undef, 'x', type => undef);
result('a type that is none', 'x', 'y');
result('protobuf', 'application/x-protobuf; message-type="a.B"', "\x08\x01");
result('JSON of protobuf', "$JSON; format=protobuf; message-type=\"a.B\"", '{"b":1}', json => '{"b": 1}');

# Temporal's Payload: metadata as pairs, then data.
sub field { my ($number, $bytes) = @_; return pack 'C w/a*', $number << 3 | 2, $bytes if length $bytes < 128; my $n = length $bytes;
	return pack('C', $number << 3 | 2) . pack('C*', $n & 127 | 128, $n >> 7) . $bytes; }
sub payload
{
	my ($data, @metadata) = @_;
	my $message = '';
	$message .= field(1, field(1, shift @metadata) . field(2, shift @metadata)) while @metadata;
	return $message . (defined $data ? field(2, $data) : '');
}

sub temporal
{
	my ($name, $message, %expect) = @_;
	result("Temporal payload: $name", $TEMPORAL, $message, %expect);
	return;
}

temporal('json/plain (item 17, scenario 27)', payload('{"a":1}', encoding => 'json/plain'), bytes => '{"a":1}', type => $JSON, json => '{"a": 1}');
temporal('json/plain and more metadata (scenario 27)', payload('1', 'x-more' => 'y', encoding => 'json/plain'), bytes => '1', type => $JSON, json => '1');
temporal('json/plain that is no JSON', payload('{', encoding => 'json/plain'), bytes => '{', type => $JSON);
temporal('json/protobuf (scenario 27)', payload('{}', encoding => 'json/protobuf', messageType => 'a.B'), bytes => '{}',
	type => "$JSON; format=protobuf; message-type=\"a.B\"", json => '{}');
temporal('binary/plain (scenario 27)', payload($ALL_BYTES =~ s/..//rs, encoding => 'binary/plain'), bytes => $ALL_BYTES =~ s/..//rs, type => $OCTETS);
temporal('binary/protobuf (scenario 27)', payload("\x08\x01", encoding => 'binary/protobuf', messageType => "a.\"B\xff"), bytes => "\x08\x01",
	type => 'application/x-protobuf; message-type="a.\"B?"');
temporal('binary/null (scenario 27)', payload(undef, encoding => 'binary/null'), bytes => undef, type => undef);
temporal('an encoding of somebody (scenario 27)', payload('secret', encoding => 'binary/encrypted'));
temporal('unknown content (scenario 27)', payload('x', encoding => 'unknown/nexus-content', type => 'a/b'));
temporal('no encoding', payload('1'));
temporal('no message', "\xff\xff");
temporal('none at all', '');
temporal('data kept elsewhere', payload('1', encoding => 'json/plain') . field(3, 'x'));

# Content headers beside Content-Type: kept, or nobody could read the bytes.
my $gzip = Compress::Zlib::memGzip('{"a":1}');
my $deflate = Compress::Zlib::compress('{"a":1}');
my $encoded = sub {
	my ($name, $body, $kept, %more) = @_;
	result("Content-Encoding $name", [ [ 'Content-Type', $JSON ], map { [ 'Content-Encoding', $_ ] } @{ $more{headers} } ], $body,
		type => $kept, json => $more{json});
};
$encoded->('gzip', $gzip, "$JSON; content-encoding=\"gzip\"", headers => ['gzip']);
$encoded->('deflate', $deflate, "$JSON; content-encoding=\"deflate\"", headers => ['deflate']);
$encoded->('br that is none', '1', "$JSON; content-encoding=\"br\"", headers => ['br']);
$encoded->('identity', '1', $JSON, headers => ['identity'], json => '1');
$encoded->('of several', Compress::Zlib::memGzip($deflate), "$JSON; content-encoding=\"deflate, gzip\"", headers => ['deflate, gzip']);
$encoded->('in several lines', Compress::Zlib::memGzip($deflate), "$JSON; content-encoding=\"deflate\"; content-encoding=\"gzip\"",
	headers => [ 'deflate', 'gzip' ]);
$encoded->('identity and gzip', $gzip, "$JSON; content-encoding=\"gzip\"", headers => [ 'identity', 'gzip' ]);
$encoded->('with a quote', '1', "$JSON; content-encoding=\"a\\\"\\\\b\"", headers => ['a"\\b']);
result('gzip without a type', [ [ 'Content-Encoding', 'gzip' ] ], $gzip, type => "$OCTETS; content-encoding=\"gzip\"");
result('gzip of a Temporal payload', [ [ 'Content-Type', $TEMPORAL ], [ 'Content-Encoding', 'gzip' ] ], $gzip, type => "$TEMPORAL; content-encoding=\"gzip\"");
result('other content headers', [ [ 'Content-Language', 'de, en' ], [ 'Content-Type', $JSON ], [ 'Content-Disposition', 'attachment; filename="a"' ] ], '1',
	json => '1', type => "$JSON; content-language=\"de, en\"; content-disposition=\"attachment; filename=\\\"a\\\"\"");
result('a language of no body', [ [ 'Content-Language', 'de' ] ], '', bytes => undef, type => "$OCTETS; content-language=\"de\"");
result('two types', [ [ 'Content-Type', $JSON ], [ 'Content-Type', 'text/plain' ] ], '1', json => '1', type => $JSON);
result('a type that is no ASCII', "text/\xe9", '1', type => 'text/?');
result('a type of 8,000 bytes', 'text/' . 'x' x 8000, '1');
my @results = check_results();

my ($code, $said) = error_of($node, "SELECT nexus.await('$results[-1]')");
is($code, 'NX008', 'a long type: SQLSTATE');
like($said, qr/cannot be jsonb: text\/x{195}$/m, 'is cut off in the message');
is(Compress::Zlib::memGunzip(pack 'H*', value($node, "SELECT encode(result_bytes, 'hex') FROM nexus.operations "
	. "WHERE result_content_type = '$JSON; content-encoding=\"gzip\"' LIMIT 1")), '{"a":1}', 'what is kept can be unpacked');
($code, $said) = error_of($node, q{SELECT nexus.execute('hello', 'scripted', 'reply', '{"headers": {"Content-Type": "text/plain"}, "body": "words"}')});
is($code, 'NX008', 'execute: bytes raise, too');
like($said, qr/cannot be jsonb: text\/plain.*HINT:  Read it/s, 'and say where they are');
is(value($node, q{SELECT nexus.execute('hello', 'scripted', 'empty') IS NULL}), 't', 'execute: no body is NULL');

# --- sizes

for my $chunked (0, 1)
{
	my $how = $chunked ? 'in chunks' : 'of known length';
	$id = schedule($node, 'hello', 'huge', { size => $MAX, chunked => $chunked ? \1 : \0 });
	is(wait_closed($node, $id), 'succeeded', "result of exactly max_payload_size, $how (item 38)");
	is(value($node, "SELECT octet_length(result_bytes) || ' ' || length(result #>> '{}') FROM nexus.operations WHERE id = '$id'"),
		"$MAX " . ($MAX - 2), 'is kept whole');
	$id = schedule($node, 'hello', 'huge', { size => $MAX + 1, chunked => $chunked ? \1 : \0 });
	is(wait_closed($node, $id), 'failed', "one byte more, $how (item 38, scenario 20): failed");
	my @attempts = attempts_of($node, $id);
	is(scalar @attempts, 1, 'at the first attempt');
	is($attempts[0]{retryable}, JSON::PP::false, 'for good');
	like($attempts[0]{failure}{message}, qr/larger than nexus_pg\.max_payload_size \(2097152 bytes\)/, 'and says why');
	is(error_of($node, "SELECT nexus.await('$id')"), 'NX001', 'await raises NX001');
}

# A Payload around the greatest result, which is larger itself; and the same of a result that is too large.
for my $case ([ $MAX, 'succeeded' ], [ $MAX + 1, 'failed' ])
{
	my ($size, $state) = @$case;
	my $data = '"' . 'x' x ($size - 2) . '"';
	my $head = payload(undef, encoding => 'json/plain');
	my $length = '';
	for (my $n = $size; $n; $n >>= 7) { $length .= chr($n & 127 | ($n > 127 ? 128 : 0)); }
	$id = schedule($node, 'hello', 'async', { after => undef });
	wait_state($node, $id, 'started');
	my ($url, $headers) = callback_of($handler, $id);
	my $status = post($url, { %$headers, 'Content-Type' => $TEMPORAL }, "$head\x12$length$data");
	is($status, 413, "a callback with a Payload of $size bytes: over the limit with its wrapping");
	is(post($url, { %$headers, 'Content-Type' => $JSON }, $data), $size > $MAX ? 413 : 200, "the same as JSON (item 61)");
	is(state_of($node, $id), $size > $MAX ? 'started' : 'succeeded', 'and what becomes of it');
	value($node, "SELECT nexus.terminate('$id')") if $size > $MAX;
}

# --- no view raises, whatever was kept

for my $view (qw(operations operation_history pending_operations failed_attempts))
{
	cmp_ok(value($node, "SELECT count(v::text) FROM nexus.$view v"), '>=', 0, "$view can be read whole");
}
is(value($node, q{SELECT count(*) FROM nexus.operations WHERE state <> 'succeeded'}), 3, 'all but what was too large has succeeded');
is(value($node, "SELECT count(*) FROM nexus.operation_history WHERE operation_id = ANY ('{" . join(',', @results) . "}') AND event_type = 'NexusOperationCompleted'"),
	scalar @results, 'each result has its event');
is(value($node, "SELECT count(*) FROM nexus.operation_history h JOIN nexus.operations o ON o.id = h.operation_id "
	. "WHERE h.event_type = 'NexusOperationCompleted' AND (h.attributes -> 'result') IS DISTINCT FROM o.result"), 0, 'which shows the same');
is(nexus_pid($node, 'worker'), $worker, 'the worker is the same');

$handler->stop;
$node->stop;
done_testing();
