# The old wire format, by a library that speaks it: the HTTP handler and the
# completion client of nexus-rpc/sdk-go v0.4.0.
use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusGoPeer;
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = nexus_node('main');
my $peer = NexusGoPeer->start;
create_endpoint($node, 'old', $peer);
listener_port($node);

# Nothing is tried again within a test; one endpoint for each failure that
# would be, since they are consecutive.
my $endpoints = 0;

sub patient_endpoint
{
	my $name = 'patient_' . $endpoints++;
	create_endpoint($node, $name, $peer, retry_initial_interval => '1h', retry_max_interval => '1h');
	return $name;
}

sub start
{
	my ($operation, $script, %with) = @_;
	return schedule($node, delete $with{endpoint} || 'old', $operation, $script, service => 'old', %with);
}

# An operation that waits for a completion.
sub started
{
	my ($script, %with) = @_;
	my $id = start('async', $script || {}, %with);
	wait_state($node, $id, 'started');
	return $id;
}

sub result { return value($node, 'SELECT nexus.await(' . quote($_[0]) . ')'); }
sub operation { return row_of($node, 'operations', $_[0]); }
sub execute { return value($node, "SELECT nexus.execute('old', 'old', " . join(', ', map { quote($_) } @_) . ')'); }
sub starts_of { return @{ $peer->record($_[0])->{starts} }; }
sub cancels_of { return @{ $peer->record($_[0])->{cancels} }; }

# The deliveries of an operation as "status body", once there are so many.
sub answers_of
{
	my ($id, $number) = @_;
	my @deliveries;
	poll("$number deliveries of $id", sub { @deliveries = @{ $peer->record($id)->{deliveries} }; @deliveries >= $number });
	return join ', ', map { "$_->{status} '$_->{body}'$_->{error}" } @deliveries;
}

# The attributes of one event.
sub event
{
	my ($id, $type) = @_;
	return json_of(value($node, 'SELECT attributes FROM nexus.operation_history WHERE operation_id = ' . quote($id)
		. ' AND event_type = ' . quote("NexusOperation$type")));
}

# How an operation raises: SQLSTATE, the message alone, the failure in DETAIL.
sub raised
{
	my ($id) = @_;
	my ($sqlstate, $said) = error_of($node, 'SELECT nexus.await(' . quote($id) . ')');
	my ($message) = $said =~ /ERROR:  \w{5}: (.*)$/m;
	return ($sqlstate, $message, detail_of($said)->{failure});
}

# --- synchronous

my $json = '{"a": [1, 2.50, null], "ä": "👋"}';
is(execute('echo-json', $json), $json, 'JSON there and back');
is(execute('echo-json', 'null'), 'null', 'JSON null');
my $id = value($node, q{SELECT nexus.schedule_bytes('old', 'old', 'echo-bytes', '\x0001ff')});
is(wait_closed($node, $id), 'succeeded', 'bytes');
is(value($node, "SELECT result_bytes, result_content_type FROM nexus.operations WHERE id = '$id'"),
	'\x0001ff|application/octet-stream', 'item 14: bytes there and back');
is(error_of($node, "SELECT nexus.await('$id')"), 'NX008', 'which are no jsonb');
$id = start('echo-nothing', undef);
is(wait_closed($node, $id), 'succeeded', 'item 9: no input');
is(value($node, "SELECT nexus.await('$id') IS NULL AND result_content_type IS NULL AND result_bytes IS NULL "
	. "FROM nexus.operations WHERE id = '$id'"),
	't', 'item 16, scenario 21: no result, no content type');
is(history_of($node, $id), 'Scheduled Completed', 'item 15, scenario 1: succeeded without a state header, never started');
for my $case ([ 'echo-json', '\x00', 'application/octet-stream' ], [ 'echo-bytes', '\x7b7d', 'application/json' ])
{
	my ($operation, $bytes, $type) = @$case;
	$id = value($node, "SELECT nexus.schedule_bytes('old', 'old', '$operation', '$bytes', '$type')");
	is(wait_closed($node, $id), 'failed', "$operation of another type is refused");
	is((raised($id))[1], qq{operation "$operation" of service "old" at endpoint "old" failed: invalid input}, 'by the library');
}

# --- what the handler sees

my @links = ({ url => 'https://e.com/a%2Cb?c=d', type => 'text/plain' }, { url => 'temporal:///namespaces/n', type => 'a.b_c' });
$id = start('seen', { links => \@links }, headers => json_text({ 'X-Own' => 'mine', Test => 'ok' }), schedule_to_close_timeout => '5 s');
is(wait_closed($node, $id), 'succeeded', 'the handler tells what it sees');
my $seen = json_of(result($id));
is("$seen->{service} $seen->{operation} $seen->{request_id}", "old seen $id", 'item 7, scenario 3: names and request id');
my $incarnation = value($node, 'SELECT id FROM nexus.incarnation');
like($seen->{callback_url}, qr{^http://127\.0\.0\.1:\d+/nexus/callback/$incarnation/$id$}, 'item 4: the callback URL');
is(join(' ', sort keys %{ $seen->{callback_header} }), 'nexus-pg-token token', 'item 5: the callback headers');
like($seen->{callback_header}{'nexus-pg-token'}, qr/^1\.1\.[\w-]{43}$/, 'of which one is the token');
ok(!(grep { /^(?:content|nexus-callback)-/ } keys %{ $seen->{header} }), 'which are not among the others');
is("$seen->{header}{'x-own'} $seen->{header}{test}", 'mine ok', "item 6, scenario 26: the caller's headers");
is_deeply($seen->{links}, [ { url => "nexus-pg:///databases/postgres/operations/$id?incarnation=$incarnation", type => 'nexus_pg.Operation' } ],
	'item 94, scenario 3: one link, to the operation');
cmp_ok($seen->{left_ms}, '<=', 5000, 'item 8: the library makes a deadline of Request-Timeout');
cmp_ok($seen->{left_ms}, '>', 2000, 'and not an early one');
like($seen->{header}{'operation-timeout'}, qr/^\d{4}ms$/, 'Operation-Timeout');
is_deeply(operation($id)->{links}, \@links, 'item 22, scenario 1: links with 200');
is_deeply(event($id, 'Completed')->{links}, \@links, 'in the event');
$id = schedule($node, 'old', 'i need to/be escaped', {}, service => 'Ser/vic e');
is(wait_closed($node, $id), 'succeeded', 'item 1: names that need to be escaped');
($seen) = starts_of($id);
is("$seen->{service}|$seen->{operation}", 'Ser/vic e|i need to/be escaped', 'are read as they were meant');
cmp_ok($seen->{left_ms}, '>', 5000, 'the deadline without one: that of a request');
cmp_ok($seen->{left_ms}, '<=', 10000, 'not more');
for my $case ([ 'nobody', 'seen', 'service "nobody" not found' ], [ 'old', 'nothing', 'operation "nothing" not found' ])
{
	my ($service, $operation, $message) = @$case;
	$id = schedule($node, 'old', $operation, {}, service => $service);
	is(wait_closed($node, $id), 'failed', $message);
	my ($sqlstate, $said, $failure) = raised($id);
	is("$sqlstate $failure->{details}{type} $failure->{cause}{message}", "NX001 NOT_FOUND $message", 'in the words of the library');
}

# --- asynchronous: what a completion brings

$id = start('async', { links => \@links, complete => { result => { n => [666] }, after => 20, links => [ $links[0] ] } });
is(wait_closed($node, $id), 'succeeded', 'item 19, scenario 2, scenario 44: 201, then succeeded');
is(result($id), '{"n": [666]}', 'item 44: its result');
is(answers_of($id, 1), "200 ''", 'the completion is answered 200 and an empty body');
is(history_of($node, $id), 'Scheduled Started Completed', 'its events');
is(event($id, 'Started')->{operation_token}, "token-$id", 'the token');
is(event($id, 'Started')->{request_id}, $id, 'the request id');
is(operation($id)->{attempt}, 1, 'one attempt');
my ($sent) = map { $_->{sent} } @{ $peer->record($id)->{deliveries} };
is("@{ $sent->{'Nexus-Operation-Id'} } @{ $sent->{'User-Agent'} }", "token-$id Nexus-go-sdk/v0.4.0", 'it was the old library');
is(row_of($node, 'pending_operations', $id), undef, 'nothing is pending');

$id = started({ links => \@links });
is_deeply(operation($id)->{links}, \@links, 'item 22, scenario 2: links with 201');
is_deeply(event($id, 'Started')->{links}, \@links, 'in the event');
my $late = { url => 'https://e.com/late', type => 'late' };
is($peer->complete($id, result => 1, links => [$late])->{status}, 200, 'a completion with links');
is_deeply(operation($id)->{links}, \@links, 'scenario 57: after the start its links add nothing');
ok(!exists event($id, 'Completed')->{links}, 'nor to the event');

for my $case ([ 'item 55, scenario 21: no value', {}, undef, undef ], [ 'JSON null', { result => undef }, 'application/json', 'null' ],
	[ 'bytes', { bytes => 'AAH/' }, 'application/octet-stream', "\x00\x01\xff" ],
	[ 'no bytes', { bytes => '' }, 'application/octet-stream', '' ],
	[ 'JSON of a megabyte', { result => 'x' x 1_000_000 }, 'application/json', '"' . 'x' x 1_000_000 . '"' ])
{
	my ($name, $completion, $type, $bytes) = @$case;
	$id = start('async', { complete => $completion });
	is(wait_closed($node, $id), 'succeeded', "$name: succeeded");
	is(answers_of($id, 1), "200 ''", 'answered 200');
	is(operation($id)->{result_content_type}, $type, 'its type');
	is(value($node, "SELECT md5(result_bytes) FROM nexus.operations WHERE id = '$id'"), defined $bytes ? md5_hex($bytes) : '', 'its bytes');
}

$id = started();
is($peer->complete($id, result => 1, links => [$late])->{status}, 200, 'scenario 57: after a start without links');
is(operation($id)->{links}, undef, 'they are not taken, either');

# --- failed and canceled, at once and by a completion

my %code = (failed => 'NX001', canceled => 'NX002');
my %verb = (failed => 'failed', canceled => 'was canceled');
my %event = (failed => 'Failed', canceled => 'Canceled');
my %temporal = (metadata => { type => 'temporal.api.failure.v1.Failure' },
	details => { applicationFailureInfo => { type => 'OutOfStock', nonRetryable => JSON::PP::true } });
my %other = (metadata => { type => 'mine', note => 'x' }, details => { n => [1] });
for my $state ('failed', 'canceled')
{
	for my $case ([ 'a message', { message => 'm1' } ], [ 'metadata and details', { message => 'm2', %other } ],
		[ "item 47: Temporal's failure", { message => 'm3', %temporal } ])
	{
		my ($name, $fault) = @$case;
		for my $way ('unsuccessful', 'async')
		{
			my $item = $way eq 'unsuccessful' ? 'item 24, scenario 6'
				: ($state eq 'failed' ? 'item 46' : 'item 45') . ', item 48, scenario 45';
			$id = start($way, $way eq 'async' ? { complete => { state => $state, %$fault } } : { state => $state, %$fault });
			is(wait_closed($node, $id), $state, "$item: $way, $state, $name");
			my ($sqlstate, $message, $failure) = raised($id);
			is("$sqlstate $message", qq{$code{$state} operation "$way" of service "old" at endpoint "old" $verb{$state}: $fault->{message}},
				'raises');
			my $innermost = $failure;
			$innermost = $innermost->{cause} while $innermost->{cause};
			is_deeply($innermost, $fault, 'scenario 4: and nothing of the failure is lost') or diag(json_text($failure));
			is(history_of($node, $id), 'Scheduled ' . ($way eq 'async' ? 'Started ' : '') . $event{$state}, 'its events');
			is(scalar(attempts_of($node, $id)), 0, 'no attempt has failed');
			is(answers_of($id, 1), "200 ''", 'the completion is answered 200') if $way eq 'async';
		}
	}
}
my %typed = (metadata => { type => 'nexus.OperationError' }, details => { state => 'canceled' });
$id = start('async', { complete => { state => 'canceled', message => 'typed', %typed } });
is(wait_closed($node, $id), 'canceled', 'item 45: a typed body within the old form');
is((raised($id))[1], 'operation "async" of service "old" at endpoint "old" was canceled: typed', 'with its message');

# --- tokens

$id = started({ id => 'older', token => 'a/sync ä "%2F"' });
is(operation($id)->{operation_token}, 'a/sync ä "%2F"', 'item 20: of id and token, the token');
is($peer->complete($id, state => 'failed', message => 'm')->{status}, 200, 'item 49: a failure');
ok(!exists $peer->record($id)->{deliveries}[0]{sent}{'Nexus-Operation-Token'}, 'only the old id was sent');
is(operation($id)->{operation_token}, 'a/sync ä "%2F"', 'the token of the start stands');
$id = start('async', { token => 'only-id', complete => { early => JSON::PP::true, state => 'failed', message => 'm' } });
is(wait_closed($node, $id), 'failed', 'item 49: before the start is answered');
is(operation($id)->{operation_token}, 'only-id', 'the old id is the token');

# --- before the start is answered

for my $case ([ 'succeeded', 'Completed' ], [ 'failed', 'Failed' ], [ 'canceled', 'Canceled' ])
{
	my ($state, $type) = @$case;
	my %completion = (early => JSON::PP::true, state => $state, message => 'm', links => [ $links[0] ]);
	$id = start('async', { links => [ $links[1] ], complete => \%completion });
	is(wait_closed($node, $id), $state, "item 56, item 91, scenario 47, scenario 49: $state before the 201");
	is(answers_of($id, 1), "200 ''", 'answered 200, while the start is on its way');
	is(history_of($node, $id), "Scheduled Started $type", 'Started comes first');
	is_deeply(event($id, 'Started')->{links}, [ $links[0] ], 'it has the link of the completion');
	is(event($id, 'Started')->{operation_token}, "token-$id", 'and its token');
	ok(!exists event($id, $type)->{links}, 'the last event has no links');
	ok(poll('the end of the request', sub { value($node, "SELECT sum(in_flight) FROM nexus.endpoints") == 0 }), 'the late 201 comes');
	is(state_of($node, $id), $state, 'and changes nothing');
	is_deeply(operation($id)->{links}, [ $links[0] ], 'nor the links');
	is(scalar(attempts_of($node, $id)), 0, 'no attempt has failed');
}
for my $time ('2001-01-02T03:04:05+01:00', '2101-01-02T03:04:05+01:00')
{
	$id = start('async', { complete => { early => JSON::PP::true, start_time => $time } });
	is(wait_closed($node, $id), 'succeeded', "scenario 47: started $time, says the handler");
	is(value($node, "SELECT started_time = '$time' FROM nexus.operations WHERE id = '$id'"), 't', 'so it is kept');
	is(history_of($node, $id), 'Scheduled Started Completed', 'but the order of events stays');
}
$id = start('async', { complete => { early => JSON::PP::true, start_time => 'none' } });
is(wait_closed($node, $id), 'succeeded', 'scenario 49: without a start time');
is(value($node, "SELECT started_time BETWEEN scheduled_time AND close_time FROM nexus.operations WHERE id = '$id'"), 't', 'it is the time it came');

# the first answer is lost, and so are the next ones
$id = start('async', { lose => 1 }, endpoint => patient_endpoint());
wait_state($node, $id, 'backing_off');
is($peer->complete($id, result => 'kept', links => [ $links[0] ])->{status}, 200, 'scenario 48: completed while it backs off');
is(result($id), '"kept"', 'with its result');
is(history_of($node, $id), 'Scheduled Started Completed', 'Started comes first');
my $row = operation($id);
is($row->{next_attempt_schedule_time}, undef, 'no attempt is due');
is_deeply($row->{links}, [ $links[0] ], 'with the link of the completion');
is(join(' ', map { "$_->{kind}:$_->{http_status}:$_->{failure}{details}{type}" } attempts_of($node, $id)),
	'start:503:UNAVAILABLE', 'the attempt is kept');

# --- the same request id again

$id = start('async', { lose => 3 });
wait_state($node, $id, 'started');
my $record = $peer->record($id);
is(join(' ', map { $_->{request_id} eq $id ? 'same' : 'other' } @{ $record->{starts} }), 'same same same same',
	'scenario 25: four starts under one request id');
is($record->{started}, 1, 'so the handler began one operation');
is(operation($id)->{operation_token}, "token-$id", 'and its token came with the fourth answer');
is(operation($id)->{attempt}, 4, 'at the fourth attempt');
my %urls = map { $_->{callback_url} => 1 } @{ $record->{starts} };
is(scalar(keys %urls), 1, 'with one callback URL');
is($peer->complete($id, result => 1)->{status}, 200, 'it is completed');
is(history_of($node, $id), 'Scheduled Started Completed', 'once');

# --- more than once, and too late

$id = start('async', { complete => { result => 'first', deliveries => 3 } });
is(wait_closed($node, $id), 'succeeded', 'delivered three times');
is(answers_of($id, 3), "200 '', 200 '', 200 ''", 'item 57: each is answered 200');
is($peer->complete($id, state => 'failed', message => 'other')->{status}, 200, 'item 58: another outcome, too');
is(result($id), '"first"', 'the first stands');
is(history_of($node, $id), 'Scheduled Started Completed', 'scenario 46: with one event');
$id = start('async', {}, start_to_close_timeout => '300ms');
is(wait_closed($node, $id), 'timed_out', 'it times out');
is($peer->complete($id, result => 1)->{status}, 200, 'item 58, scenario 56: a completion that comes too late is answered 200');
is(state_of($node, $id), 'timed_out', 'and changes nothing');

# --- completions that are refused

$id = started();
my $other = started();
my ($start) = starts_of($other);
my ($own) = starts_of($id);
(my $forged = $own->{callback_header}{'nexus-pg-token'}) =~ s/(.)(.)$/($1 eq 'A' ? 'B' : 'A') . $2/e;
for my $case (
	[ 'item 59: a forged token', 401, 'UNAUTHENTICATED', header => { 'nexus-pg-token' => $forged } ],
	[ "item 59: another operation's token", 401, 'UNAUTHENTICATED', header => $start->{callback_header} ],
	[ 'item 59: no token', 401, 'UNAUTHENTICATED', header => { 'nexus-pg-token' => '', token => '' } ],
	[ 'item 52, item 60: the state "running"', 400, 'BAD_REQUEST', state => 'running', message => 'm' ],
	[ 'item 51: a start time that is none', 400, 'BAD_REQUEST', header => { 'nexus-operation-start-time' => 'noon' } ],
	[ 'item 54: a link that is none', 400, 'BAD_REQUEST', header => { 'nexus-link' => '<https://e.com>' } ])
{
	my ($name, $status, $type, %completion) = @$case;
	my $delivery = $peer->complete($id, result => 1, %completion);
	is($delivery->{status}, $status, "$name: $status");
	ok($delivery->{failure}{message}, 'with a failure that the library can read') or diag(json_text($delivery));
	is($delivery->{failure}{details}{type}, $type, 'of this type');
}
is(state_of($node, $id), 'started', 'none of them had an effect');
is($peer->complete($id, result => 2)->{status}, 200, 'the true one is taken');
is(result($id), '2', 'with its result');
is(state_of($node, $other), 'started', "the other operation is untouched");

# --- how long it may be

my $MAX_PAYLOAD = 2 * 1024 * 1024;
my $longest = 'x' x ($MAX_PAYLOAD - length '""');
$id = started();
my $delivery = $peer->complete($id, result => "x$longest");
is($delivery->{status}, 413, 'item 61: a result of one byte more than 2 MiB: 413') or diag($delivery->{error});
like($delivery->{failure}{message}, qr/exceeds the limit/, 'with a failure that the library can read');
is($peer->complete($id, result => $longest)->{status}, 200, 'item 61: of 2 MiB: 200');
is(value($node, "SELECT length(result_bytes) FROM nexus.operations WHERE id = '$id'"), $MAX_PAYLOAD, 'whole');
for my $case ([ 0, 'succeeded', 'item 38: a reply of 2 MiB' ], [ 1, 'failed', 'item 38, scenario 20: a reply of one byte more' ])
{
	my ($more, $state, $name) = @$case;
	$id = start('long', { bytes => $MAX_PAYLOAD + $more });
	is(wait_closed($node, $id), $state, $name);
	is(value($node, "SELECT length(result_bytes) FROM nexus.operations WHERE id = '$id'"), $more ? '' : $MAX_PAYLOAD, 'its result');
	is(scalar(starts_of($id)), 1, 'one request');
}

# --- handler errors

my $yes = JSON::PP::true;
my $no = JSON::PP::false;
for my $case (
	[ 'BAD_REQUEST', {}, 400, 'f' ], [ 'UNAUTHENTICATED', {}, 401, 'f' ], [ 'UNAUTHORIZED', {}, 403, 'f' ], [ 'NOT_FOUND', {}, 404, 'f' ],
	[ 'RESOURCE_EXHAUSTED', {}, 429, 't' ], [ 'INTERNAL', {}, 500, 't' ], [ 'NOT_IMPLEMENTED', {}, 501, 'f' ],
	[ 'UNAVAILABLE', {}, 503, 't' ], [ 'UPSTREAM_TIMEOUT', {}, 520, 't' ],
	# the library knows no such types
	[ 'REQUEST_TIMEOUT', {}, 500, 't', 'INTERNAL' ], [ 'CONFLICT', {}, 500, 't', 'INTERNAL' ], [ 'CUSTOM', {}, 500, 't', 'INTERNAL' ],
	[ 'a Go error', { type => '' }, 500, 't', 'INTERNAL', 'internal server error' ],
	[ 'BAD_REQUEST', { retryable => $yes }, 400, 't' ], [ 'NOT_FOUND', { retryable => $yes }, 404, 't' ],
	[ 'INTERNAL', { retryable => $no }, 500, 'f' ], [ 'UNAVAILABLE', { retryable => $no }, 503, 'f' ],
	[ 'INTERNAL', { retryable => $yes }, 500, 't' ], [ 'CUSTOM', { retryable => $no }, 500, 'f', 'INTERNAL' ],
	[ 'BAD_REQUEST', { %other }, 400, 'f' ], [ 'INTERNAL', { %other }, 500, 't' ])
{
	my ($type, $script, $status, $is_retryable, $read_as, $message) = @$case;
	my $override = defined $script->{retryable} ? ($script->{retryable} ? ', header true' : ', header false') : '';
	my $items = $override ? 'item 28, scenario 9' : 'item 27, scenario 10';
	$message //= "it is $type";
	$read_as //= $type;
	$id = start('error', { type => $type, message => $message, %$script }, endpoint => patient_endpoint());
	my $state = $is_retryable eq 't' ? 'backing_off' : 'failed';
	is(wait_state($node, $id, 'backing_off|failed'), $state, "$items: $type$override: $state");
	my @attempts = attempts_of($node, $id);
	is(join(' ', map { "$_->{attempt} $_->{http_status} " . ($_->{retryable} ? 't' : 'f') } @attempts), "1 $status $is_retryable",
		'one attempt');
	my $failure = $attempts[0]{failure};
	is("$failure->{details}{type}: $failure->{cause}{message}", "$read_as: $message", 'its type and message');
	is_deeply({ map { $_ => $failure->{cause}{$_} } keys %other }, { map { $_ => $script->{$_} } keys %other },
		'scenario 8: metadata and details');
	if ($state eq 'backing_off')
	{
		$row = row_of($node, 'pending_operations', $id);
		is_deeply($row->{last_attempt_failure}, $failure, 'scenario 7: it is pending with that failure');
		ok($row->{next_attempt_schedule_time} gt $row->{last_attempt_complete_time}, 'and a next attempt');
		is(history_of($node, $id), 'Scheduled', 'no event');
		value($node, "SELECT nexus.terminate('$id')");
		next;
	}
	my ($sqlstate, $said) = raised($id);
	is($sqlstate, 'NX001', 'await raises');
	like($said, qr/ failed: \Q$message\E$/, 'with the message');
	is(history_of($node, $id), 'Scheduled Failed', 'its events');
	is(scalar(starts_of($id)), 1, 'one request');
}
$id = start('error', { type => 'UNAVAILABLE', message => 'busy', times => 3 });
is(result($id), '4', 'scenario 30: three failures, then success');
is(operation($id)->{attempt}, 4, 'at the fourth attempt');

# --- cancel

sub cancel { return value($node, "SELECT nexus.cancel('$_[0]')"); }

sub wait_cancellation
{
	my ($of, $state) = @_;
	return $node->poll_query_until('postgres', "SELECT cancellation_state FROM nexus.operations WHERE id = '$of'", $state);
}

$id = schedule($node, 'old', 'f/o/o', { token => 'a/sync' }, service => 'Ser/vic e', headers => '{"Foo": "bar"}');
wait_state($node, $id, 'started');
is(cancel($id), 't', 'cancel');
ok(wait_cancellation($id, 'succeeded'), 'item 41, scenario 61: accepted with 202');
my ($request) = cancels_of($id);
is("$request->{service}|$request->{operation}|$request->{token}", 'Ser/vic e|f/o/o|a/sync', 'item 40: names and token');
is($request->{header}{foo}, 'bar', "item 42, scenario 74: the caller's header");
like($request->{header}{'request-timeout'}, qr/^\d+ms$/, 'item 42: and a Request-Timeout');
is(cancel($id), 'f', 'a second time');
is(scalar(cancels_of($id)), 1, 'is not sent');
is(state_of($node, $id), 'started', 'scenario 61: the operation goes on');
is($peer->complete($id, state => 'canceled', message => 'as you wish')->{status}, 200, 'until it is completed');
is((raised($id))[0], 'NX002', 'as canceled');
is(history_of($node, $id), 'Scheduled Started CancelRequested CancelRequestCompleted Canceled', 'its events');

$id = started({ cancel => { complete => { state => 'canceled', message => 'stopped' } } });
cancel($id);
is(wait_closed($node, $id), 'canceled', 'the handler cancels by itself');
is((raised($id))[1], 'operation "async" of service "old" at endpoint "old" was canceled: stopped', 'and says why');
is(answers_of($id, 1), "200 ''", 'answered 200');
$id = started({ cancel => { complete => { result => 'too late' } } });
cancel($id);
is(result($id), '"too late"', 'or it succeeds all the same');

for my $case ([ 'NOT_FOUND', 404 ], [ 'NOT_IMPLEMENTED', 501 ], [ 'INTERNAL', 500, $no ])
{
	my ($type, $status, $retryable) = @$case;
	$id = started({ cancel => { type => $type, message => 'no', defined $retryable ? (retryable => $retryable) : () } });
	cancel($id);
	ok(wait_cancellation($id, 'failed'), "item 43, scenario 62: refused with $type");
	is(state_of($node, $id), 'started', 'the operation goes on');
	is(history_of($node, $id), 'Scheduled Started CancelRequested CancelRequestFailed', 'its events');
	is(event($id, 'CancelRequestFailed')->{failure}{details}{type}, $type, 'with the type of the error');
	is(join(' ', map { "$_->{kind} $_->{http_status} " . ($_->{retryable} ? 't' : 'f') } attempts_of($node, $id)), "cancel $status f",
		'one attempt');
	is($peer->complete($id, result => 1)->{status}, 200, 'it can still be completed');
	is(state_of($node, $id), 'succeeded', 'and is');
}

$id = started({ cancel => { type => 'UNAVAILABLE', message => 'busy', times => 3 } });
cancel($id);
ok(wait_cancellation($id, 'succeeded'), 'item 43, scenario 63: three times busy, then accepted');
is(join(' ', map { $_->{error} || 'accepted' } cancels_of($id)), join(' ', ('handler error (UNAVAILABLE): busy') x 3, 'accepted'),
	'four requests');
is(row_of($node, 'pending_operations', $id)->{cancellation_attempt}, 4, 'are counted');
is(join(' ', map { "$_->{kind}:$_->{attempt}:$_->{http_status}" } attempts_of($node, $id)), 'cancel:1:503 cancel:2:503 cancel:3:503',
	'three of them failed');

$id = start('async', { lose => 1 }, endpoint => patient_endpoint());
wait_state($node, $id, 'backing_off');
cancel($id);
ok(wait_cancellation($id, 'requested'), 'scenario 66: before the start is answered, it is noted');
is($peer->complete($id, result => 1, start_time => '2001-01-01T00:00:00Z')->{status}, 200, 'then the operation is completed');
is(state_of($node, $id), 'succeeded', 'scenario 67: succeeded');
is(history_of($node, $id), 'Scheduled Started CancelRequested Completed', 'no event tells of a result of the cancel request');
is(scalar(cancels_of($id)), 0, 'since it was not sent');

# --- everything together: many at once, each with a completion of its own

value($node, q{SELECT count(nexus.schedule('old', 'old', 'async', jsonb_build_object('complete',
	jsonb_build_object('result', n, 'early', n % 2 = 0, 'after', n % 7, 'deliveries', n % 3)), summary => 'batch'))
	FROM generate_series(1, 300) n});
my $succeeded = "SELECT count(*) FROM nexus.operations WHERE summary = 'batch' AND state = 'succeeded'";
ok($node->poll_query_until('postgres', $succeeded, '300'), '300 at once succeed');
is(value($node, "SELECT count(*) FROM nexus.operations WHERE summary = 'batch' AND result = input -> 'complete' -> 'result' "
	. "AND operation_token = 'token-' || id"), '300', 'each with its own result and token');
is(value($node, "SELECT count(*) FROM nexus.operation_history h JOIN nexus.operations o ON o.id = h.operation_id "
	. "WHERE o.summary = 'batch'"), '900', 'and three events');

$peer->stop;
$node->stop;
done_testing();
