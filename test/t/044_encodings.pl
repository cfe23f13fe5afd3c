# Databases in other encodings: what goes out is UTF-8, what comes back is
# converted where it fits, and what does not fit raises in no view.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Encode qw(decode_utf8 encode_utf8);
use MIME::Base64 qw(encode_base64);
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $E = "\x{e9}";	# e acute: LATIN1 has it
my $EURO = "\x{20ac}";	# LATIN1 lacks it
my $SMILE = "\x{1f600}";
my @ENCODINGS = qw(UTF8 LATIN1 SQL_ASCII);

# psql is to speak UTF-8, whatever the database does.
$ENV{PGCLIENTENCODING} = 'UTF8';
my $node = nexus_node('main', extension => 0);
my $handler = NexusTest::Handler->start;
my %worker;

for my $encoding (@ENCODINGS)
{
	my $database = lc $encoding;
	value($node, "CREATE DATABASE $database ENCODING '$encoding' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
	create_extension($node, $database);
	create_endpoint($node, 'hello', $handler, database => $database);
	# what fails here is not tried again while the test looks at it
	create_endpoint($node, 'once', $handler, database => $database, retry_initial_interval => '1h', retry_max_interval => '1h');
	$worker{$database} = nexus_pid($node, 'worker', $database);
}

# Of a query, as characters.
sub text { my ($database, $sql) = @_; return decode_utf8(value($node, encode_utf8($sql), $database)); }

# "{...}" of a script in ASCII, so that every database takes it.
sub script { return quote(JSON::PP->new->ascii->canonical->allow_nonref->encode($_[0])); }

sub start
{
	my ($database, $operation, $input, $endpoint) = @_;
	$endpoint //= 'hello';
	return text($database, "SELECT nexus.schedule_bytes('$endpoint', 'scripted', '$operation', convert_to(" . script($input)
		. ", 'SQL_ASCII'), 'application/json')");
}

sub error
{
	my ($database, $sql) = @_;
	my ($code, $said) = error_of($node, encode_utf8($sql), database => $database);
	return ($code, decode_utf8($said));
}

for my $encoding (@ENCODINGS)
{
	my $database = lc $encoding;
	my $has_all = $encoding ne 'LATIN1';	# SQL_ASCII takes any bytes
	my $is_utf8 = $encoding eq 'UTF8';

	# --- out: names, input, headers, summary

	my $long = $has_all ? "$E$EURO$SMILE" : $E;
	my $id = text($database, "SELECT nexus.schedule('hello', 'any', 'op $long', '{\"k$long\": \"v$long\"}', "
		. "headers => '{\"x-own\": \"h$long\"}', summary => 's$long')");
	is(wait_closed($node, $id, $database), 'succeeded', "$encoding: sent and echoed");
	my ($start) = $handler->log(request_id => $id);
	my $escaped = join '', map { sprintf '%%%02X', ord } split //, encode_utf8($long);
	like($start->{path}, qr{/any/op%20\Q$escaped\E\?}, "$encoding: the name goes out as UTF-8");
	is($start->{body}, "{\"k$long\": \"v$long\"}", "$encoding: and so does the input");
	is($start->{headers}{'x-own'}, join('', map { chr } unpack 'C*', encode_utf8("h$long")), "$encoding: and a header");
	is(text($database, "SELECT concat_ws(' ', operation, input::text, headers::text, summary, result::text) FROM nexus.operations WHERE id = '$id'"),
		"op $long {\"k$long\": \"v$long\"} {\"x-own\": \"h$long\"} s$long {\"k$long\": \"v$long\"}", "$encoding: all of it is shown");
	is(text($database, "SELECT nexus.await('$id')"), "{\"k$long\": \"v$long\"}", "$encoding: the result that fits is converted");
	is(text($database, "SELECT encode(result_bytes, 'hex') FROM nexus.operations WHERE id = '$id'"),
		unpack('H*', encode_utf8("{\"k$long\": \"v$long\"}")), "$encoding: its bytes are UTF-8");

	is(text($database, "SELECT nexus.execute('hello', 'any', 'op $long', '\"v$long\"', headers => '{\"x-own\": \"h$long\"}', summary => 's$long')"),
		"\"v$long\"", "$encoding: execute");
	$id = text($database, "SELECT id FROM nexus.operations WHERE input = '\"v$long\"'");
	($start) = $handler->log(request_id => $id);
	like($start->{path}, qr{/any/op%20\Q$escaped\E\?}, "$encoding: execute sends the name as UTF-8");
	is($start->{headers}{'x-own'}, join('', map { chr } unpack 'C*', encode_utf8("h$long")), "$encoding: and a header");
	is(text($database, "SELECT concat_ws(' ', operation, headers::text, summary) FROM nexus.operations WHERE id = '$id'"),
		"op $long {\"x-own\": \"h$long\"} s$long", "$encoding: and stores them");
	my ($code, $said) = error($database, "SELECT nexus.execute('hello', 'scripted', 'no $long')");
	is($code, 'NX001', "$encoding: execute of what is not there");
	like($said, qr/operation "no \Q$long\E"/, "$encoding: its message has the name");

	# --- in: results

	for my $case ([ 'that fits', "[\"$E\"]", 1, 1 ], [ 'with a euro', "[\"$E$EURO\"]", $has_all, 1 ], [ 'with a smile', "{\"$SMILE\":1}", $has_all, 1 ],
		[ 'that fits, escaped', '["\u00e9"]', $encoding ne 'SQL_ASCII', 0 ], [ 'with a euro, escaped', '["\u20ac"]', $is_utf8, 0 ])
	{
		my ($name, $result, $fits, $is_plain) = @$case;
		my %script = (headers => { 'Content-Type' => 'application/json' }, body_base64 => encode_base64(encode_utf8($result), ''));
		for my $operation (qw(reply async))
		{
			$id = start($database, $operation, { %script, after => 0 });
			is(wait_closed($node, $id, $database), 'succeeded', "$encoding, $operation: a result $name");
			($code, $said) = error($database, "SELECT nexus.await('$id')");
			is($code, $fits ? '' : 'NX008', "$encoding, $operation: a result $name: await") or diag($said);
			is(text($database, "SELECT (result IS NOT NULL) || ' ' || encode(result_bytes, 'hex') FROM nexus.operations WHERE id = '$id'"),
				($fits ? 'true ' : 'false ') . unpack('H*', encode_utf8($result)), "$encoding, $operation: a result $name: shown, and its bytes");
			is(text($database, "SELECT state || ' ' || (result IS NOT NULL) FROM nexus.await_all(ARRAY['$id']::uuid[])"),
				'succeeded ' . ($fits ? 'true' : 'false'), "$encoding, $operation: a result $name: await_all");
			next unless $fits && $is_plain;
			is(text($database, "SELECT result FROM nexus.operations WHERE id = '$id'"), $result =~ s/":1/": 1/r, "$encoding, $operation: a result $name: converted");
		}
	}

	# --- in: failures, whose message is kept as far as it fits

	for my $case ([ "caf$E", $encoding eq 'SQL_ASCII' ? 'caf?' : "caf$E" ], [ "5 $EURO", $is_utf8 ? "5 $EURO" : '5 ?' ],
		[ "hi $SMILE", $is_utf8 ? "hi $SMILE" : qr/^hi \?{1,2}$/ ])
	{
		my ($message, $kept) = @$case;
		for my $how ([ 'operation-error', { message => $message } ], [ 'handler-error', { status => 400, message => $message } ],
			[ 'async', { state => 'failed', failure => { message => $message }, after => 0 } ])
		{
			my ($operation, $input) = @$how;
			$id = start($database, $operation, $input);
			is(wait_closed($node, $id, $database), 'failed', "$encoding: a failure by $operation");
			($code, $said) = error($database, "SELECT nexus.await('$id')");
			is($code, 'NX001', "$encoding: await raises NX001") or diag($said);
			my ($shown) = $said =~ /failed: (.*)$/m;
			ref $kept ? like($shown, $kept, "$encoding: with as much as fits") : is($shown, $kept, "$encoding: with as much as fits");
		}
	}
	$id = start($database, 'flaky', { times => 1, status => 503, message => "later $EURO" });
	is(wait_closed($node, $id, $database), 'succeeded', "$encoding: a failed attempt with such a message");
	is(text($database, "SELECT failure ->> 'message' FROM nexus.failed_attempts WHERE operation_id = '$id'"),
		'later ' . ($is_utf8 ? $EURO : '?'), "$encoding: is kept as far as it fits");
	# bytes that are no UTF-8 at all
	$id = start($database, 'reply', { status => 424, headers => { 'Content-Type' => 'application/json', 'Nexus-Operation-State' => 'failed' },
		body_base64 => encode_base64("{\"message\": \"bad \xff\"}", '') }, 'once');
	is(wait_state($node, $id, 'failed|backing_off', $database), 'backing_off', "$encoding: a failure that is no UTF-8 is no failure");
	is(text($database, "SELECT nexus.terminate('$id', 'Schlu\x{df}')"), 't', "$encoding: a reason to terminate");
	is(wait_closed($node, $id, $database), 'terminated', "$encoding: terminated");
	my $reason = $encoding eq 'SQL_ASCII' ? 'Schlu?' : "Schlu\x{df}";	# it becomes a failure, too
	($code, $said) = error($database, "SELECT nexus.await('$id')");
	like($said, qr/was terminated: \Q$reason\E$/m, "$encoding: with the reason");
	is(text($database, "SELECT attributes ->> 'reason' FROM nexus.operation_history WHERE operation_id = '$id' AND event_type = 'NexusOperationTerminated'"),
		$reason, "$encoding: in the history, too");

	# --- in: tokens and links

	$id = start($database, 'async', { after => undef, token => "t $E", links => [ { url => 'a:%C3%A9', type => 'x' } ], cancel => { complete => 'canceled' } },
		'once');
	if ($is_utf8)
	{
		is(wait_state($node, $id, 'started', $database), 'started', "$encoding: a token that is no ASCII");
		is(text($database, "SELECT operation_token FROM nexus.operations WHERE id = '$id'"), "t $E", "$encoding: is kept");
	}
	else
	{
		is(wait_state($node, $id, 'backing_off', $database), 'backing_off', "$encoding: a token that is no ASCII cannot be kept");
		is(text($database, "SELECT failure ->> 'message' FROM nexus.failed_attempts WHERE operation_id = '$id' LIMIT 1"),
			'the operation token cannot be stored in this database', "$encoding: and the attempt says so");
	}
	value($node, "SELECT nexus.terminate('$id')", $database);
	wait_closed($node, $id, $database);

	$id = start($database, 'async', { after => undef, links => [ { url => 'a:%C3%A9', type => 'x' } ], cancel => { complete => 'canceled' } });
	is(wait_state($node, $id, 'started', $database), 'started', "$encoding: started");
	is(text($database, "SELECT links #>> '{0,url}' FROM nexus.operations WHERE id = '$id'"), 'a:%C3%A9', "$encoding: a link");
	is(text($database, "SELECT nexus.cancel('$id', 'zur\x{fc}ck')"), 't', "$encoding: a reason to cancel");
	is(wait_closed($node, $id, $database), 'canceled', "$encoding: canceled");
	is(text($database, "SELECT attributes ->> 'reason' FROM nexus.operation_history WHERE operation_id = '$id' AND event_type = 'NexusOperationCancelRequested'"),
		"zur\x{fc}ck", "$encoding: the reason is kept");

	# --- whatever stands there

	for my $view (qw(operations operation_history pending_operations failed_attempts endpoints stat_endpoints workers))
	{
		cmp_ok(value($node, "SELECT count(v::text) FROM nexus.$view v", $database), '>=', 0, "$encoding: $view can be read whole");
	}
	is(value($node, q{SELECT count(*) FROM nexus.operations WHERE close_time IS NULL}, $database), 0, "$encoding: nothing is left open");
	is(nexus_pid($node, 'worker', $database), $worker{$database}, "$encoding: the worker is the same");
}

# SQL_ASCII takes bytes that nobody can send as UTF-8: refused where they are
# given.
my ($code, $said) = error_of($node, "SET client_encoding = 'SQL_ASCII'; SELECT nexus.schedule('hello', 'any', 'o', '\"\xe9\"')", database => 'sql_ascii');
is($code, '22021', 'SQL_ASCII: an input that is no UTF-8 is refused');
for my $call ("schedule('hello', 'any', 'o\xe9')", "schedule('hello', 's\xe9', 'o')", "schedule('hello', 'any', 'o', headers => '{\"x-own\": \"\xe9\"}')",
	"execute('hello', 'any', 'o\xe9')", "execute('hello', 'any', 'o', headers => '{\"x-own\": \"\xe9\"}')")
{
	($code, $said) = error_of($node, "SET client_encoding = 'SQL_ASCII'; SELECT nexus.$call", database => 'sql_ascii');
	is($code, '22021', 'SQL_ASCII: and so is what else cannot be sent: ' . $call =~ s/\xe9/?/r) or diag($said);
}

# A row that stands there all the same, by whatever way it came, does not keep
# others from being sent.
value($node, q{ALTER SERVER hello OPTIONS (ADD enabled 'false')}, 'sql_ascii');
my $strange = value($node, q{SELECT nexus.schedule('hello', 'any', 'o', '1', headers => '{"x-own": "h"}')}, 'sql_ascii');
value($node, "SET client_encoding = 'SQL_ASCII'; UPDATE nexus.operation SET operation = E'o\\xe9', headers = '{\"x-own\": \"\xe9\"}' WHERE id = '$strange'", 'sql_ascii');
value($node, q{ALTER SERVER hello OPTIONS (SET enabled 'true')}, 'sql_ascii');
is(wait_closed($node, $strange, 'sql_ascii'), 'succeeded', 'SQL_ASCII: a row that is no UTF-8 is sent as it is');
like(($handler->log(request_id => $strange))[0]{path}, qr{/any/o%E9\?}, 'SQL_ASCII: byte by byte');
is(value($node, q{SELECT nexus.execute('hello', 'any', 'o', '1', await_timeout => '20 s')}, 'sql_ascii'), '1', 'SQL_ASCII: others go on');
is(nexus_pid($node, 'worker', 'sql_ascii'), $worker{sql_ascii}, 'SQL_ASCII: the worker is the same');

$handler->stop;
$node->stop;
done_testing();
