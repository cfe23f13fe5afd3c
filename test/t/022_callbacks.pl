# Callbacks: when they come, what they carry, and what they are answered.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use FindBin;
use lib "$FindBin::RealBin/lib";
use MIME::Base64 qw(encode_base64url);
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $MAX_PAYLOAD = 50_000;
my $HOLD_SECONDS = 8;
my $node = nexus_node('main', conf => "nexus_pg.max_payload_size = ${MAX_PAYLOAD}B");
my $handler = NexusTest::Handler->start;
create_endpoint($node, 'hello', $handler, breaker_failures => 0);
listener_port($node);

# A started operation whose handler never calls back by itself.
sub started
{
	my (%arguments) = @_;
	my $id = schedule($node, 'hello', 'async', { after => undef }, %arguments);
	wait_state($node, $id, 'started');
	return ($id, callback_of($handler, $id));
}

# --- a row that somebody has locked: 503 after the hold, but not before, and
# --- the outcome is not forgotten (it is looked at again at the end)

my ($locked, $locked_url, $locked_headers) = started();
my $session = $node->background_psql('postgres');
$session->query_safe("BEGIN; SELECT 1 FROM nexus.operation WHERE id = '$locked' FOR UPDATE");
my $locked_time = time();
my $locked_post = begin_post($locked_url, $locked_headers, '"kept"');

# --- when it comes

my $id = schedule($node, 'hello', 'async', { early => \1, result => 1, links => [ { url => 'https://e.com/a', type => 't' } ] });
is(wait_closed($node, $id), 'succeeded', 'item 56, scenario 47: before the reply to the start');
is(history_of($node, $id), 'Scheduled Started Completed', 'scenario 47: with a Started of its own');
my $row = row_of($node, 'operations', $id);
is($row->{operation_token}, "token-$id", 'the token is from the callback');
like(value($node, "SELECT started_time - scheduled_time BETWEEN '-1 s' AND '1 s' FROM nexus.operations WHERE id = '$id'"),
	qr/^t$/, 'and so is the start time');
is(row_of($node, 'operations', $id)->{attempt}, $row->{attempt}, 'the late reply changes nothing');

create_endpoint($node, 'hour', $handler, retry_initial_interval => '1h', retry_max_interval => '1h');
$id = schedule($node, 'hour', 'handler-error', { status => 503 });
wait_state($node, $id, 'backing_off');
my ($url, $headers) = callback_of($handler, $id);
is(post($url, { %$headers, 'Nexus-Operation-Start-Time' => 'Mon, 01 Jan 2001 00:00:00 GMT' }, '7'), 200, 'scenario 48: while it backs off');
is(history_of($node, $id), 'Scheduled Started Completed', 'events keep their order, whatever clock the handler has');
is(value($node, "SELECT nexus.await('$id')"), '7', 'is its result');
is(row_of($node, 'operations', $id)->{next_attempt_schedule_time}, undef, 'scenario 48: no attempt is due any more');

($id, $url, $headers) = started();
is(post($url, $headers, '1'), 200, 'once: 200');
is(state_of($node, $id), 'succeeded', 'the answer comes after the commit');
is(post($url, $headers, '1'), 200, 'item 57, scenario 46: the same again: 200');
is(post($url, { %$headers, 'Nexus-Operation-State' => 'failed' }, '{"message": "other"}'), 200, 'item 58: another outcome: 200');
is(value($node, "SELECT nexus.await('$id')"), '1', 'the first stands');
is(history_of($node, $id), 'Scheduled Started Completed', 'scenario 46: and there is one event');
is(value($node, "SELECT succeeded + failed FROM nexus.stat_endpoints WHERE endpoint = 'hello'"), '2', 'counted once');

my @sockets = do { ($id, $url, $headers) = started(); map { begin_post($url, $headers, $_) } 1 .. 20 };
is(join(' ', map { status_of($_) } @sockets), join(' ', (200) x 20), 'twenty at once: all 200');
is(history_of($node, $id), 'Scheduled Started Completed', 'one effect');

($id, $url, $headers) = started(schedule_to_close_timeout => '2s');
is(wait_closed($node, $id), 'timed_out', 'its time ran out');
is(post($url, $headers, '1'), 200, 'item 58, scenario 56: late after a time-out: 200');
is(state_of($node, $id), 'timed_out', 'and no effect');
($id, $url, $headers) = started();
value($node, "SELECT nexus.terminate('$id')");
wait_closed($node, $id);
is(post($url, $headers, '1'), 200, 'item 58: late after terminate: 200');
is(state_of($node, $id), 'terminated', 'and no effect');

# --- who sends it

($id, $url, $headers) = started();
my (undef, undef, $others) = started();
my $token = $headers->{'Nexus-Pg-Token'};
my $forged = $token;
$forged =~ s/(.)(.)$/($1 eq 'A' ? 'B' : 'A') . $2/e;
my $unknown = $url;
$unknown =~ s{/callback/[^/]+}{/callback/01234567-89ab-4cde-8f01-23456789abcd};
my $key = pack 'H*', value($node, "SELECT encode(key, 'hex') FROM nexus.incarnation");
my $incarnation = value($node, 'SELECT id FROM nexus.incarnation');

sub token_for
{
	my ($operation_id) = @_;
	my $bytes = join '', map { (my $hex = $_) =~ tr/-//d; pack 'H*', $hex } $incarnation, $operation_id;
	return '1.1.' . encode_base64url(hmac_sha256($bytes, $key));
}

sub url_for { (my $of = $url) =~ s{[^/]+$}{$_[0]}; return $of; }

is(token_for($id), $token, 'the token is an HMAC');
is($headers->{Token}, $token, 'it travels under the name of the specification, too');
is(post($url, { %$headers, 'Nexus-Pg-Token' => undef, Token => undef }, '1'), 401, 'item 59, scenario 51: no token: 401');
is(post($url, { %$headers, 'Nexus-Pg-Token' => $forged }, '1'), 401, 'item 59: forged: 401');
is(post($url, { %$headers, 'Nexus-Pg-Token' => $others->{'Nexus-Pg-Token'} }, '1'), 401, "item 59, scenario 50: another operation's: 401");
(my $other_key = $token) =~ s/^1\.1\./1.2./;
is(post($url, { %$headers, 'Nexus-Pg-Token' => $other_key }, '1'), 401, 'of a key that is not there: 401');
is(post($url, { %$headers, 'Nexus-Pg-Token' => 'x' }, '1'), 401, 'scenario 51: malformed: 401');
(my $other_version = $token) =~ s/^1\./2./;
is(post($url, { %$headers, 'Nexus-Pg-Token' => $other_version }, '1'), 401, 'scenario 51: of another version: 401');
is(post($unknown, $headers, '1'), 404, 'item 59, scenario 52: an unknown incarnation: 404');
my $never = value($node, 'SELECT gen_random_uuid()');
is(post(url_for($never), { %$headers, 'Nexus-Pg-Token' => $forged }, '1'), 401,
	'forged and unknown: as if it were known');
(my $young = $id) =~ s/.{12}$/000000000000/;
is(post(url_for($young), { %$headers, 'Nexus-Pg-Token' => token_for($young) }, '1'), 404, 'scenario 50: good token, never there: 404');
my $old = '01800000-0000-7000-8000-000000000000';
is(post(url_for($old), { %$headers, 'Nexus-Pg-Token' => token_for($old) }, '1'), 200, 'scenario 56: good token, older than retention: 200');
is(state_of($node, $id), 'started', 'nothing of that had an effect');

# --- what breaks the protocol

for my $case (
	[ 'item 52: no state', { 'Nexus-Operation-State' => undef } ],
	[ 'item 52, scenario 55: state running', { 'Nexus-Operation-State' => 'running' } ],
	[ 'item 50: a close time that is none', { 'Nexus-Operation-Close-Time' => 'yesterday' } ],
	[ 'item 51, scenario 55: a start time that is none', { 'Nexus-Operation-Start-Time' => 'yesterday' } ],
	[ 'item 54: a bad link', { 'Nexus-Link' => 'x' } ],
	[ 'item 53, scenario 55: a failure as text', { 'Nexus-Operation-State' => 'failed', 'Content-Type' => 'text/plain' } ],
	[ 'item 53, scenario 55: a failure that is no JSON', { 'Nexus-Operation-State' => 'failed' }, '{' ],
	[ 'scenario 53: a token over the limit', { 'Nexus-Operation-Token' => 'x' x 5000 } ])
{
	my ($name, $change, $body) = @$case;
	my ($status, $answer) = post($url, { %$headers, %$change }, $body // '{"message": "m"}');
	is($status, 400, "$name: 400");
	like($answer, qr/"message":\s*"\S/, 'and says why');
}
is(state_of($node, $id), 'started', 'nothing of that had an effect');

# --- how long it may be

my $longest = '"' . 'x' x ($MAX_PAYLOAD - 2) . '"';
my $in_chunks = sub { my @parts = unpack '(a7000)*', $_[0]; return sub { return shift @parts } };
is(post($url, $headers, "$longest "), 413, 'item 61, scenario 53: one byte over the limit: 413');
is(post($url, $headers, $in_chunks->("$longest ")), 413, 'items 48 and 61: and so in chunks');
is(post($url, $headers, $longest), 200, 'item 61: at the limit: 200');
is(value($node, "SELECT length(nexus.await('$id')::text)"), $MAX_PAYLOAD, 'whole');
($id, $url, $headers) = started();
is(post($url, $headers, $in_chunks->($longest)), 200, 'item 48: in chunks: 200');
is(value($node, "SELECT length(nexus.await('$id')::text)"), $MAX_PAYLOAD, 'whole');

# --- what it carries

for my $time ('2026-01-02T03:04:05Z', '2026-01-02T03:04:05.000Z', '2026-01-02T05:04:05.000000+02:00')
{
	($id, $url, $headers) = started();
	is(post($url, { %$headers, 'Nexus-Operation-Close-Time' => $time }, '1'), 200, "item 50: close time $time");
	is(value($node, "SELECT (attributes->>'handler_close_time')::timestamptz = '2026-01-02 03:04:05Z' "
		. "FROM nexus.operation_history WHERE operation_id = '$id' AND event_type LIKE '%Completed'"), 't', 'is in the history');
}

# A Temporal payload: {encoding}, data.
sub temporal_payload
{
	my ($encoding, $data) = @_;
	my $entry = "\x0a\x08encoding\x12" . chr(length $encoding) . $encoding;
	return "\x0a" . chr(length $entry) . $entry . "\x12" . chr(length $data) . $data;
}

my @kinds = (
	[ 'JSON', 'application/json', '{"a": [1, 2.50, null]}', '', '{"a": [1, 2.50, null]}' ],
	[ 'JSON with a charset', 'application/json; charset=utf-8', '"é"', '', '"é"' ],
	[ 'a number of 400 digits', 'application/json', '1' x 400, '', '1' x 400 ],
	[ 'item 55: nothing', undef, '', '', '' ],
	[ 'bytes', 'application/octet-stream', "\x00\x01\xff", 'NX008' ],
	[ 'text', 'text/plain', 'words', 'NX008' ],
	[ 'no type', undef, '{"a": 1}', 'NX008' ],
	[ 'invalid UTF-8', 'application/json', "\"\xff\"", 'NX008' ],
	[ 'the escape for NUL', 'application/json', '"\u0000"', 'NX008' ],
	[ 'half a surrogate', 'application/json', '"\ud800"', 'NX008' ],
	[ 'no JSON', 'application/json', '{"a": ', 'NX008' ],
	[ 'a number out of range', 'application/json', '1e999999', 'NX008' ],
	[ 'nested too deep', 'application/json', '[' x 20000 . ']' x 20000, 'NX008' ],
	[ 'a Temporal payload of JSON', 'application/x-temporal-payload', temporal_payload('json/plain', '{"t": 1}'), '', '{"t": 1}' ],
	[ 'a Temporal payload of nothing', 'application/x-temporal-payload', temporal_payload('binary/null', ''), '', '' ],
	[ 'a Temporal payload of bytes', 'application/x-temporal-payload', temporal_payload('binary/plain', "\x01"), 'NX008' ],
	[ 'a Temporal payload that is encrypted', 'application/x-temporal-payload', temporal_payload('binary/encrypted', "\x01"), 'NX008' ],
	[ 'no Temporal payload', 'application/x-temporal-payload', "\xff\xff", 'NX008' ]);
for my $case (@kinds)
{
	my ($name, $type, $body, $code, $result) = @$case;
	($id, $url, $headers) = started();
	is(post($url, { %$headers, 'Content-Type' => $type }, $body), 200, "$name: 200");
	is(error_of($node, "SELECT nexus.await('$id')"), $code, "$name: await");
	is(value($node, "SELECT nexus.await('$id')"), $result, "$name: its value") if defined $result;
	next unless $code && $type && $type !~ /temporal/;
	is(value($node, "SELECT encode(result_bytes, 'hex') FROM nexus.operations WHERE id = '$id'"), unpack('H*', $body),
		"$name: its bytes");
}
for my $case ([ 'the escape for NUL', '{"message": "a\u0000b"}' ], [ 'half a surrogate', '{"message": "\ud800"}' ],
	[ 'nothing at all', '{}' ], [ 'a failure of Temporal',
		'{"message": "m", "metadata": {"type": "temporal.api.failure.v1.Failure"}, "details": {"applicationFailureInfo": {"type": "T"}}}' ])
{
	($id, $url, $headers) = started();
	is(post($url, { %$headers, 'Nexus-Operation-State' => 'failed' }, $case->[1]), 200, "failure with $case->[0]");
	is(error_of($node, "SELECT nexus.await('$id')"), 'NX001', 'and it failed');
}
for my $view (qw(operations pending_operations operation_history failed_attempts))
{
	is(error_of($node, "SELECT count(to_jsonb(v)) FROM nexus.$view v"), '', "nexus.$view can show all of that");
}

($id, $url, $headers) = started();
is(post($url, { %$headers, 'Nexus-Pg-Token' => undef }, '1'), 200, 'the name of the specification is enough');

# --- the parts of a completion, by SQL

($id, $url, $headers) = started();
my $by_sql = sub { "SELECT nexus.complete('$id', " . quote(json_text({ %$headers, @_ })) . ", '[1]')" };
isnt(error_of($node, $by_sql->('Nexus-Pg-Token' => $forged)), '', 'complete() with a forged token is refused');
is(value($node, $by_sql->()), 't', 'complete() with the right one');
is(value($node, $by_sql->()), 'f', 'is false for a duplicate');
is(value($node, "SELECT nexus.await('$id')"), '[1]', 'its result');

# --- the locked row

ok(is_silent($locked_post), 'no answer while the row is locked') if time() - $locked_time < $HOLD_SECONDS - 1;
is(status_of($locked_post), 503, 'item 59: 503 where it could not be committed');
cmp_ok(time() - $locked_time, '>=', $HOLD_SECONDS - 1, 'not before the hold is over');
is(state_of($node, $locked), 'started', 'it is open');
$session->query_safe('COMMIT');
$session->quit;
is(wait_closed($node, $locked), 'succeeded', 'unlocked, it is closed');
is(value($node, "SELECT nexus.await('$locked')"), '"kept"', 'with that result');
is(post($locked_url, $locked_headers, '"again"'), 200, 'and the repeated callback is a duplicate');

# --- nothing of this is answered before it is durable: the worker is away

($id, $url, $headers) = started();
my $worker = nexus_pid($node, 'worker');
$session = $node->background_psql('postgres');
$session->query_safe('BEGIN; LOCK TABLE nexus.operation IN ACCESS EXCLUSIVE MODE');
my $post = begin_post($url, $headers, '1');
ok(is_silent($post), 'no answer while the table is locked');
value($node, "SELECT pg_terminate_backend($worker)");
$session->query_safe('COMMIT');
$session->quit;
is(status_of($post), 200, 'the next worker takes what the last had not committed');
is(state_of($node, $id), 'succeeded', 'item 44: and its answer comes after the commit');

$handler->stop;
$node->stop;
done_testing();
