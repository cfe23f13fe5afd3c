# Cancellation: the four types, and what handlers, timeouts, crashes and
# completions make of a cancel request.  What a waiter sees, what is stored, what
# the handler is sent, and the events in their order.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @TYPES = qw(wait_cancellation_completed wait_cancellation_requested try_cancel abandon);
my @LATER = (retry_initial_interval => '1h', retry_max_interval => '1h');
my $node = nexus_node('main', conf => "max_connections = 100\nrestart_after_crash = on\nnexus_pg.await_timeout = 60s");
my $handler = NexusTest::Handler->start;
create_endpoint($node, 'hello', $handler, breaker_failures => '0');
create_endpoint($node, 'later', $handler, breaker_failures => '0', @LATER);
create_endpoint($node, 'short', $handler, breaker_failures => '0', request_timeout => '200ms', @LATER);

sub cancel { my ($id) = @_; return value($node, "SELECT nexus.cancel('$id', 'why not')"); }
sub complete { my ($id) = @_; return $handler->complete($id, result => 'done'); }
sub column { my ($id, $column) = @_; return value($node, "SELECT $column FROM nexus.operation WHERE id = '$id'"); }

# Async, and not completed by itself.
sub begun
{
	my ($type, $script, %with) = @_;
	my $endpoint = delete $with{endpoint} || 'hello';
	my $operation = delete $with{operation} || 'async';
	return schedule($node, $endpoint, $operation, { after => undef, %$script }, cancellation_type => $type, %with);
}

sub started
{
	my ($type, $script, %with) = @_;
	my $id = begun($type, { cancel => $script }, %with);
	wait_state($node, $id, 'started');
	return $id;
}

# One that the handler has, without having answered.
sub in_flight
{
	my ($id) = @_;
	poll('the request', sub { $handler->log(request_id => $id) });
	return $id;
}

sub wait_cancellation
{
	my ($id, $state) = @_;
	return $node->poll_query_until('postgres', "SELECT COALESCE(cancellation_state, '') FROM nexus.operation WHERE id = '$id'", $state);
}

sub cancels_of
{
	my ($id) = @_;
	return grep { ($_->{headers}{'nexus-operation-token'} // '') eq "token-$id" } $handler->log(kind => 'cancel');
}

sub wait_cancel_request
{
	my ($id) = @_;
	return poll('the cancel request', sub { cancels_of($id) });
}

# Its state, events and failed attempts.
sub told
{
	my ($id) = @_;
	return value($node, "SELECT concat_ws(' / ', state, (SELECT string_agg(replace(event_type, 'NexusOperation', ''), ' ' ORDER BY event_id) "
		. "FROM nexus.operation_history WHERE operation_id = id), (SELECT COALESCE(string_agg(concat_ws(':', kind, attempt, "
		. "COALESCE(http_status::text, '-')), ' ' ORDER BY attempt), '') FROM nexus.failed_attempts WHERE operation_id = id)) "
		. "FROM nexus.operations WHERE id = '$id'");
}

# What a session that has awaited it saw: a SQLSTATE or the result.
sub seen
{
	my ($said) = @_;
	return $said->{err} =~ /ERROR:  (\w{5}):/ ? $1 : $said->{out};
}

# What one sees that awaits it now; NX005 where it would have to go on waiting.
sub sees
{
	my ($id) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT nexus.await('$id', '1 ms')");
	return seen({ out => $out, err => $err });
}

# --- each type with each kind of handler, once it is started: scenario 73

my %sessions;

# What somebody asleep in await sees of a cancel, what is stored of it, and that
# the outcome comes all the same.
#	sees: one for each type, '' where awaiting goes on; stored, events, sent and
#	attempts: what becomes of the request, unless it is abandoned
sub cell
{
	my ($name, $type, $sees, $id, %expect) = @_;
	my $is_abandoned = $type eq 'abandon';

	$name .= ", $type";
	my $said = $sees ? finish_sql($sessions{$id}) : undef;
	is(seen($said), $sees, "$name: the waiter wakes up") if $sees;
	ok(wait_cancellation($id, $is_abandoned ? 'abandoned' : $expect{stored}), "$name: stored");
	is(sees($id), $sees || 'NX005', "$name: who comes later sees the same");
	is(told($id), join(' / ', 'started', 'Scheduled Started' . ($is_abandoned ? '' : " $expect{events}"),
		$is_abandoned ? '' : $expect{attempts} || ''), "$name: the operation goes on; its events and failed attempts");
	is(scalar(cancels_of($id)), $is_abandoned ? 0 : $expect{sent}, "$name: requests");
	complete($id);
	is(wait_closed($node, $id), 'succeeded', "$name: the outcome is stored");
	is(seen(finish_sql($sessions{$id})), '"done"', "$name: and is what the waiter sees") unless $sees;
	is(sees($id), '"done"', "$name: as is who comes now");
	is(value($node, "SELECT cancellation_requested_time IS NOT NULL, cancellation_reason, cancellation_identity = session_user, "
		. "cancellation_state FROM nexus.operation WHERE id = '$id'"),
		't|why not|t|' . ($is_abandoned ? 'abandoned' : $expect{stored}), "$name: what is kept of it");
	return $said;
}

sub row
{
	my ($name, $script, $sees, %expect) = @_;
	my %id = map { $_ => started($_, $script, endpoint => $expect{endpoint}) } @TYPES;
	my (@said, $i);

	$sessions{$_} = begin_sql($node, "SELECT nexus.await('$_')") for values %id;
	$node->poll_query_until('postgres', "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query ~ 'nexus.await' "
		. "AND wait_event_type = 'Extension'", scalar(@TYPES)) or die 'they do not sleep';
	is(cancel($id{$_}), 't', "$name, $_: asked") for @TYPES;
	for my $type (@TYPES)
	{
		push @said, cell($name, $type, $sees->[$i++], $id{$type}, %expect);
	}
	return @said;
}

my @said = row('accepted', {}, [ '', 'NX002', 'NX002', 'NX002' ],
	stored => 'succeeded', events => 'CancelRequested CancelRequestCompleted', sent => 1);
like($said[1]{err}, qr/operation "async" of service "scripted" at endpoint "hello" was canceled: its handler was asked to cancel it/, 'message');
like($said[1]{err}, qr/HINT:  The operation goes on/, 'hint');
my $detail = detail_of($said[1]{err});
ok(exists $detail->{failure}{details}{canceledFailureInfo}, 'DETAIL has a failure that is a cancellation');
like($detail->{operation_token}, qr/^token-/, 'and the token');
like($said[3]{err}, qr/was canceled: it was abandoned/, 'message of an abandoned one');

@said = row('refused with 404', { status => 404, message => 'what?' }, [ '', 'NX006', 'NX002', 'NX002' ],
	stored => 'failed', events => 'CancelRequested CancelRequestFailed', attempts => 'cancel:1:404', sent => 1);
like($said[1]{err}, qr/operation "async" of service "scripted" at endpoint "hello" could not be canceled: what\?/, 'message, scenario 62');
like($said[1]{err}, qr/HINT:  The operation goes on/, 'hint');
$detail = detail_of($said[1]{err});
is($detail->{failure}{cause}{details}{type}, 'NOT_FOUND', 'DETAIL has the failure of the request as cause');

@said = row('not implemented', { status => 501, message => 'cannot cancel' }, [ '', 'NX006', 'NX002', 'NX002' ],
	stored => 'failed', events => 'CancelRequested CancelRequestFailed', attempts => 'cancel:1:501', sent => 1);
is(detail_of($said[1]{err})->{failure}{cause}{details}{type}, 'NOT_IMPLEMENTED', 'scenario 73: NOT_IMPLEMENTED surfaces');

row('refused six times, then accepted', { status => 503, times => 6 }, [ '', 'NX002', 'NX002', 'NX002' ],
	stored => 'succeeded', events => 'CancelRequested CancelRequestCompleted', sent => 7,
	attempts => join(' ', map { "cancel:$_:503" } 1 .. 6));
row('backing off', { status => 503 }, [ '', '', 'NX002', 'NX002' ], endpoint => 'later',
	stored => 'backing_off', events => 'CancelRequested', attempts => 'cancel:1:503', sent => 1);
row('never answered', { hang => JSON::PP::true }, [ '', '', 'NX002', 'NX002' ], endpoint => 'short',
	stored => 'backing_off', events => 'CancelRequested', attempts => 'cancel:1:-', sent => 1);

# --- what is shown meanwhile: scenario 61, 63, 64

my $id = started('wait_cancellation_completed', {});
cancel($id);
wait_cancellation($id, 'succeeded');
my $row = row_of($node, 'pending_operations', $id);
is("$row->{state} $row->{cancellation_state} $row->{cancellation_attempt}", 'started succeeded 1', 'scenario 61: delivered, and still started');
ok(!defined $row->{cancellation_last_attempt_failure}, 'without a failure');

$id = started('wait_cancellation_requested', { status => 503, message => 'not now' }, endpoint => 'later');
cancel($id);
wait_cancellation($id, 'backing_off');
$row = row_of($node, 'pending_operations', $id);
is("$row->{state} $row->{cancellation_state} $row->{cancellation_attempt} $row->{cancellation_last_attempt_failure}{message}",
	'started backing_off 1 not now', 'scenario 63: backing off');
is(column($id, "cancellation_next_attempt_schedule_time - cancellation_last_attempt_complete_time BETWEEN '48 min' AND '1 hour'"), 't',
	'for as long as the policy of its endpoint says');

$id = started('wait_cancellation_requested', { hang => JSON::PP::true }, endpoint => 'short');
cancel($id);
wait_cancellation($id, 'backing_off');
$row = row_of($node, 'pending_operations', $id);
like($row->{cancellation_last_attempt_failure}{message}, qr/^request timed out/, 'scenario 64: a cancel request that is not answered');
is((cancels_of($id))[0]{headers}{'request-timeout'}, '200ms', 'has the time of a request');

# --- before the first request: nothing is sent, whatever the type

value($node, q{ALTER SERVER hello OPTIONS (ADD enabled 'false')});
for my $type (@TYPES)
{
	my $together = value($node, "BEGIN; SELECT nexus.schedule('hello', 'scripted', 'async', cancellation_type => '$type') AS id \\gset\n"
		. "SELECT nexus.cancel(:'id') AS canceled \\gset\nCOMMIT; SELECT :'id'");
	my $waiting = begun($type, {});
	my $session = begin_sql($node, "SELECT nexus.await('$waiting')");
	is(cancel($waiting), 't', "unsent, $type: asked");
	is(seen(finish_sql($session)), 'NX002', "unsent, $type: the waiter wakes up");
	for my $unsent ($together, $waiting)
	{
		is(wait_closed($node, $unsent), 'canceled', "unsent, $type: closed");
		is(sees($unsent), 'NX002', "unsent, $type: SQLSTATE");
		is(history_of($node, $unsent), 'Scheduled CancelRequested Canceled', "unsent, $type: events");
		is(cancel($unsent), 'f', "unsent, $type: once more");
	}
}
value($node, q{ALTER SERVER hello OPTIONS (SET enabled 'true')});

# --- while the start is on its way: held until it is started, and dropped if it never is

sub early
{
	my ($type, $operation, $script, %with) = @_;
	my $id = in_flight(begun($type, $script, operation => $operation, %with));
	cancel($id);
	wait_cancellation($id, $type eq 'abandon' ? 'abandoned' : 'requested');
	return $id;
}

my %early;
for my $type (@TYPES)
{
	my $is_abandoned = $type eq 'abandon';
	my $overdue = early($type, 'hang', {}, schedule_to_close_timeout => '5 s');
	my $id = early($type, 'async', { gate => 'start' });
	is(row_of($node, 'pending_operations', $id)->{cancellation_state}, $is_abandoned ? 'abandoned' : 'requested', "in flight, $type: shown");
	is(sees($id), $type =~ /^wait/ ? 'NX005' : 'NX002', "in flight, $type: the waiter");
	is(scalar(cancels_of($id)), 0, "in flight, $type: nothing is sent");
	$early{$type} = [ $id, early($type, 'echo', { gate => 'start', n => 1 }), early($type, 'operation-error', { gate => 'start', message => 'no' }),
		$overdue, early($type, 'async', { gate => 'start' }, start_to_close_timeout => '1 s') ];
}
$handler->open_gate('start');
for my $type (@TYPES)
{
	my $is_abandoned = $type eq 'abandon';
	my $requested = $is_abandoned ? '' : 'CancelRequested ';
	my ($id, $sync, $failed, $overdue, $ended) = @{ $early{$type} };

	wait_state($node, $id, 'started');
	ok(wait_cancellation($id, $is_abandoned ? 'abandoned' : 'succeeded'), "scenario 66, $type: right after the start");
	is(history_of($node, $id), "Scheduled ${requested}Started" . ($is_abandoned ? '' : ' CancelRequestCompleted'), "scenario 66, $type: events");
	is(scalar(cancels_of($id)), $is_abandoned ? 0 : 1, "scenario 66, $type: requests");
	is(sees($id), $type eq 'wait_cancellation_completed' ? 'NX005' : 'NX002', "scenario 66, $type: the waiter");

	is(wait_closed($node, $sync), 'succeeded', "scenario 67, $type: a result");
	like(sees($sync), qr/"n": 1/, "scenario 67, $type: is what a waiter sees");
	is(history_of($node, $sync), "Scheduled ${requested}Completed", "scenario 67, $type: events");
	is(wait_closed($node, $failed), 'failed', "scenario 67, $type: a failure");
	is(sees($failed), 'NX001', "scenario 67, $type: is what a waiter sees");
	is(history_of($node, $failed), "Scheduled ${requested}Failed", "scenario 67, $type: events");
	is(wait_closed($node, $overdue), 'timed_out', "scenario 67, $type: a timeout");
	is(sees($overdue), 'NX003', "scenario 67, $type: is what a waiter sees");
	is(history_of($node, $overdue), "Scheduled ${requested}TimedOut", "scenario 67, $type: events");

	is(wait_closed($node, $ended), 'timed_out', "scenario 68, $type: start_to_close_timeout holds");
	is(column($ended, "failure #>> '{details,timeoutFailureInfo,timeoutType}'"), 'TIMEOUT_TYPE_START_TO_CLOSE', "scenario 68, $type: which one");
	is(history_of($node, $ended), "Scheduled ${requested}Started" . ($is_abandoned ? '' : ' CancelRequestCompleted') . ' TimedOut',
		"scenario 68, $type: events");
}

# --- bounded by the operation's time: scenarios 64 and 65

my @TIMEOUTS = qw(schedule_to_close start_to_close);
my %bounded = map { $_ => started('wait_cancellation_requested', { hang => JSON::PP::true }, "${_}_timeout" => '3 s') } @TIMEOUTS;
my %asleep = map { $_ => begin_sql($node, "SELECT nexus.await('$bounded{$_}')") } @TIMEOUTS;
cancel($_) for values %bounded;
for my $timeout (@TIMEOUTS)
{
	my $id = $bounded{$timeout};
	wait_cancel_request($id);
	my ($left) = (cancels_of($id))[0]{headers}{'request-timeout'} =~ /^(\d+)ms$/;
	cmp_ok($left, '<=', 3000, "scenario 64: $timeout bounds the cancel request");
}
for my $timeout (@TIMEOUTS)
{
	is(seen(finish_sql($asleep{$timeout})), 'NX003', "$timeout: the time-out is what a waiter sees");
	is(history_of($node, $bounded{$timeout}), 'Scheduled Started CancelRequested TimedOut', "$timeout: events");
}

# While a row is locked its operation cannot be closed, and the cancel comes too late.
create_endpoint($node, 'held', $handler);
%bounded = map { $_ => started('wait_cancellation_requested', {}, endpoint => 'held', "${_}_timeout" => '4 s') } @TIMEOUTS;
my $last = started('try_cancel', {}, endpoint => 'held');
value($node, q{ALTER SERVER held OPTIONS (ADD enabled 'false')});
for my $id (values %bounded, $last)
{
	cancel($id);
	ok(wait_cancellation($id, 'scheduled'), 'held back');
}
my $locker = $node->background_psql('postgres');
my $both = join ', ', map { "'$_'" } values %bounded;
$locker->query_safe("BEGIN; SELECT 1 FROM nexus.operation WHERE id IN ($both) FOR UPDATE");
ok($node->poll_query_until('postgres', "SELECT every(clock_timestamp() > deadline AND close_time IS NULL) FROM nexus.operation WHERE id IN ($both)"),
	'their time is over');
value($node, q{ALTER SERVER held OPTIONS (SET enabled 'true')});
wait_cancel_request($last);
$locker->query_safe('COMMIT');
$locker->quit;
for my $timeout (@TIMEOUTS)
{
	my $id = $bounded{$timeout};
	is(wait_closed($node, $id), 'timed_out', "scenario 65, $timeout: nothing left");
	is(scalar(cancels_of($id)), 0, "scenario 65, $timeout: no request");
	is(history_of($node, $id), 'Scheduled Started CancelRequested CancelRequestFailed TimedOut', "scenario 65, $timeout: events");
	is(value($node, "SELECT attributes #>> '{failure,message}', attributes #>> '{failure,details,timeoutFailureInfo,timeoutType}' "
		. "FROM nexus.operation_history WHERE operation_id = '$id' AND event_type LIKE '%RequestFailed'"),
		"operation timed out before cancellation could be delivered|TIMEOUT_TYPE_\U$timeout", "scenario 65, $timeout: which one");
}

# --- twice, and closed: scenarios 69 to 71

for my $type (@TYPES)
{
	my $id = started($type, { status => 404 });
	is(cancel($id), 't', "$type: once");
	is(cancel($id), 'f', "scenario 70, $type: twice");
	wait_cancellation($id, $type eq 'abandon' ? 'abandoned' : 'failed');
	is(cancel($id), 'f', "scenario 70, $type: and after it has come to an end");
	is(value($node, "SELECT nexus.terminate('$id')"), 't', "$type: terminated");
	is(wait_closed($node, $id), 'terminated', "$type: terminated");
	is(sees($id), 'NX004', "$type: which is what a waiter sees then");
	is(cancel($id), 'f', "scenario 71, $type: nothing to cancel");

	$id = started($type, { complete => 'succeeded', early => JSON::PP::true });
	my $session = begin_sql($node, "SELECT nexus.await('$id')");
	cancel($id);
	complete($id) if $type eq 'abandon';
	is(wait_closed($node, $id), 'succeeded', "scenario 69, $type: a completion that comes before the answer");
	is(cancel($id), 'f', "scenario 69, $type: closed");
	like(seen(finish_sql($session)), $type =~ /^wait/ ? qr/"token"/ : qr/^(?:NX002$|.*"token"|"done")/, "scenario 69, $type: the waiter");
	ok(poll('the answer', sub { $handler->stats->{in_flight} == 0 }), "scenario 69, $type: answered");
	is(history_of($node, $id), $type eq 'abandon' ? 'Scheduled Started Completed' : 'Scheduled Started CancelRequested Completed',
		"scenario 69, $type: events");

	$id = started($type, { complete => 'canceled', after => 20 });
	cancel($id);
	complete($id) if $type eq 'abandon';
	is(wait_closed($node, $id), $type eq 'abandon' ? 'succeeded' : 'canceled', "$type: the handler cancels it, if it was told");
}

# many at once: each operation is canceled once
$node->safe_psql('postgres', q{CREATE TABLE contested AS SELECT nexus.schedule('hello', 'scripted', 'async', '{"after": null}',
	cancellation_type => 'try_cancel') AS id FROM generate_series(1, 100)});
$node->poll_query_until('postgres', "SELECT count(*) FROM contested JOIN nexus.operations USING (id) WHERE state = 'started'", '100');
my @askers = map { begin_sql($node, 'DO $$DECLARE c record; n integer := 0; BEGIN FOR c IN SELECT id FROM contested ORDER BY id LOOP '
	. 'n := n + nexus.cancel(c.id)::integer; COMMIT; END LOOP; RAISE NOTICE \'asked %\', n; END$$') } 1 .. 6;
my $asked = 0;
for (@askers)
{
	my ($n) = finish_sql($_)->{err} =~ /asked (\d+)/;
	$asked += $n // 1000;
}
is($asked, 100, 'of six sessions one asks for each');

# --- a completion while the cancel backs off

for my $type (@TYPES)
{
	my $id = started($type, { status => 500 }, endpoint => 'later');
	cancel($id);
	wait_cancellation($id, $type eq 'abandon' ? 'abandoned' : 'backing_off');
	my ($url, $headers) = callback_of($handler, $id);
	is(post($url, $headers, '"late"'), 200, "backing off, $type: the callback is taken");
	is(sees($id), '"late"', "backing off, $type: the result");
	is(history_of($node, $id), $type eq 'abandon' ? 'Scheduled Started Completed' : 'Scheduled Started CancelRequested Completed',
		"backing off, $type: events");
}

# --- held back: scenario 36

$node->safe_psql('postgres', 'CREATE ROLE caller LOGIN; GRANT USAGE ON FOREIGN SERVER later TO caller');
my %reason = (endpoint_disabled => [ q{ALTER SERVER later OPTIONS (ADD enabled 'false')}, q{ALTER SERVER later OPTIONS (DROP enabled)} ],
	no_usage => [ 'REVOKE USAGE ON FOREIGN SERVER later FROM caller', 'GRANT USAGE ON FOREIGN SERVER later TO caller' ],
	sending_disabled => [ 'ALTER SYSTEM SET nexus_pg.enabled = off', 'ALTER SYSTEM RESET nexus_pg.enabled' ]);
for my $reason (sort keys %reason)
{
	my ($block, $unblock) = @{ $reason{$reason} };
	my @ids = split /\n/, value($node, 'SET ROLE caller; SELECT nexus.schedule(\'later\', \'scripted\', \'async\', \'{"after": null}\', '
		. "cancellation_type => t) FROM unnest(ARRAY['wait_cancellation_requested', 'try_cancel', 'abandon', 'wait_cancellation_completed']) t");
	wait_state($node, $_, 'started') for @ids;
	$node->safe_psql('postgres', $_) for $block, 'SELECT pg_reload_conf()';
	$node->poll_query_until('postgres', 'SHOW nexus_pg.enabled', 'off') if $reason eq 'sending_disabled';
	cancel($_) for @ids;
	wait_cancellation($_, 'scheduled') for @ids[ 0, 1, 3 ];
	wait_cancellation($ids[2], 'abandoned');
	my @shown = map { my $row = row_of($node, 'pending_operations', $_); "$row->{state} $row->{cancellation_state} " . ($row->{blocked_reason} // '-') } @ids;
	is("$shown[0]|$shown[1]", "started blocked $reason|started blocked $reason", "scenario 36, $reason: blocked");
	is($shown[2], 'started abandoned -', "$reason: but not what is abandoned");
	is(join(' ', map { sees($_) } @ids[ 0 .. 2 ]), 'NX005 NX002 NX002', "$reason: waiters");
	complete($ids[3]);
	is(wait_closed($node, $ids[3]), 'succeeded', "$reason: completions are taken");
	is(scalar(map { cancels_of($_) } @ids), 0, "$reason: nothing is sent");
	my $session = begin_sql($node, "SELECT nexus.await('$ids[0]')");
	$node->safe_psql('postgres', $_) for $unblock, 'SELECT pg_reload_conf()';
	is(seen(finish_sql($session)), 'NX002', "$reason: until it is over");
	ok(wait_cancellation($ids[1], 'succeeded'), "$reason: for all");
	is(scalar(cancels_of($ids[3])), 0, "scenario 71, $reason: a cancel request of what has closed is dropped");
}

# --- an endpoint or an owner that is gone: scenario 72

$node->safe_psql('postgres', 'CREATE ROLE ops LOGIN; GRANT USAGE ON FOREIGN DATA WRAPPER nexus TO ops');
value($node, 'SET ROLE ops; CREATE SERVER leaving FOREIGN DATA WRAPPER nexus OPTIONS (url ' . quote($handler->url) . ')');
$node->safe_psql('postgres', 'CREATE ROLE leaver; GRANT USAGE ON FOREIGN SERVER later TO leaver');
my @gone = (started('wait_cancellation_requested', {}, endpoint => 'leaving'),
	value($node, q{SET ROLE leaver; SELECT nexus.schedule('later', 'scripted', 'async', '{"after": null}',
		cancellation_type => 'wait_cancellation_requested')}));
wait_state($node, $gone[1], 'started');
value($node, q{ALTER SERVER leaving OPTIONS (ADD enabled 'false')});
$node->safe_psql('postgres', 'REVOKE USAGE ON FOREIGN SERVER later FROM leaver');
my @sleeping = map { begin_sql($node, "SELECT nexus.await('$_')") } @gone;
cancel($_), wait_cancellation($_, 'scheduled') for @gone;
$node->safe_psql('postgres', 'DROP OWNED BY ops');
my $said = finish_sql($sleeping[0]);
is(seen($said), 'NX006', 'scenario 72: the endpoint is gone');
like($said->{err}, qr/could not be canceled: endpoint not registered/, 'scenario 72: message');
is(detail_of($said->{err})->{failure}{cause}{details}{type}, 'NOT_FOUND', 'scenario 72: NOT_FOUND');
is(history_of($node, $gone[0]), 'Scheduled Started CancelRequested CancelRequestFailed', 'scenario 72: events');
is(scalar(cancels_of($gone[0])), 0, 'scenario 72: nothing is sent');
complete($gone[0]);
is(wait_closed($node, $gone[0]), 'succeeded', 'scenario 72: the operation goes on');
$node->safe_psql('postgres', 'DROP ROLE leaver');
$said = finish_sql($sleeping[1]);
is(seen($said), 'NX006', 'the owner is gone');
like($said->{err}, qr/could not be canceled: the operation's owner no longer exists/, 'message');
is(detail_of($said->{err})->{failure}{cause}{details}{type}, 'UNAUTHORIZED', 'UNAUTHORIZED');

# --- credentials that cannot be read hold it back, as they do starts

my $file = PostgreSQL::Test::Utils::tempdir() . '/token';
append_to_file($file, 'secret');
chmod 0644, $file;
create_endpoint($node, 'locked', $handler);
value($node, "CREATE USER MAPPING FOR PUBLIC SERVER locked OPTIONS (bearer_token_file '$file')");
$id = started('wait_cancellation_requested', {}, endpoint => 'locked');
value($node, "ALTER USER MAPPING FOR PUBLIC SERVER locked OPTIONS (SET bearer_token_file '$file.none')");
cancel($id);
ok(wait_cancellation($id, 'backing_off'), 'without its token file');
is(scalar(cancels_of($id)), 0, 'nothing is sent');
value($node, "ALTER USER MAPPING FOR PUBLIC SERVER locked OPTIONS (SET bearer_token_file '$file')");
ok(wait_cancellation($id, 'succeeded'), 'and later it is');
is((cancels_of($id))[0]{headers}{authorization}, 'Bearer secret', 'with the token');

# --- the caller's headers: scenario 74

$id = started('try_cancel', {}, headers => '{"X-Own": "mine", "Operation-Timeout": "77ms"}');
cancel($id);
my ($sent) = wait_cancel_request($id) ? cancels_of($id) : {};
is("$sent->{headers}{'x-own'} $sent->{headers}{'operation-timeout'}", 'mine 77ms', 'scenario 74: they are sent along');
$id = started('try_cancel', {}, schedule_to_close_timeout => '1 hour');
cancel($id);
($sent) = wait_cancel_request($id) ? cancels_of($id) : {};
ok(!exists $sent->{headers}{'operation-timeout'}, 'a cancel request has no Operation-Timeout of ours');

# --- other ways to wait

$id = started('try_cancel', {});
my @waits = map { begin_sql($node, $_) } "CALL nexus.wait('$id')", "SELECT nexus.await('$id')",
	"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) AS n FROM nexus.operations \\gset\nSELECT nexus.await('$id')",
	"SELECT state FROM nexus.await_all(ARRAY['$id'::uuid], '1 hour')";
cancel($id);
is(join(' ', map { seen(finish_sql($_)) } @waits[ 0 .. 2 ]), 'NX002 NX002 NX002', 'wait, await, and await with an old snapshot');
is(value($node, "SELECT state FROM nexus.await_all(ARRAY['$id'::uuid], '1 ms')"), 'started', 'await_all tells what is stored');
complete($id);
is(finish_sql($waits[3])->{out}, 'succeeded', 'and waits for the outcome');
for my $type (qw(wait_cancellation_requested try_cancel abandon))
{
	my $session = begin_sql($node, "SELECT nexus.execute('hello', 'scripted', 'async', '{\"after\": null}', cancellation_type => '$type')");
	my $executed = poll('execute', sub { value($node, "SELECT id FROM nexus.operations WHERE state = 'started' AND cancellation_type = '$type' "
		. "AND id = (SELECT id FROM nexus.operation WHERE xid IS NULL ORDER BY scheduled_time DESC LIMIT 1)") });
	cancel($executed);
	$said = finish_sql($session);
	is(seen($said), 'NX002', "execute, $type");
	is(detail_of($said->{err})->{operation_id}, $executed, "execute, $type: which operation it is");
}

# --- a crash between the request and its delivery

value($node, q{ALTER SERVER later OPTIONS (ADD enabled 'false')});
my %crashed = map { $_ => begun($_, {}, endpoint => 'hello') } @TYPES;
wait_state($node, $_, 'started') for values %crashed;
my $pid = nexus_pid($node, 'worker');
kill 'STOP', $pid;
cancel($_) for values %crashed;
is(value($node, q{SELECT count(*) FROM nexus.request WHERE kind = 'cancel'}), '4', 'asked of a worker that hangs');
kill 'KILL', $pid;
ok(wait_restarted($node, $pid), 'and is killed');
for my $type (@TYPES)
{
	my $is_abandoned = $type eq 'abandon';
	ok(wait_cancellation($crashed{$type}, $is_abandoned ? 'abandoned' : 'succeeded'), "killed, $type: the next one does it");
	is(scalar(cancels_of($crashed{$type})), $is_abandoned ? 0 : 1, "killed, $type: requests");
}
%crashed = map { $_ => value($node, q{SELECT nexus.schedule('hello', 'scripted', 'async', '{"after": null}', cancellation_type => '} . "$_')") } @TYPES;
wait_state($node, $_, 'started') for values %crashed;
value($node, q{ALTER SERVER hello OPTIONS (SET enabled 'false')});
cancel($_) for values %crashed;
wait_cancellation($crashed{$_}, $_ eq 'abandon' ? 'abandoned' : 'scheduled') for @TYPES;
$pid = nexus_pid($node, 'worker');
kill 'KILL', $pid;
ok(wait_restarted($node, $pid), 'killed with requests that wait');
value($node, q{ALTER SERVER hello OPTIONS (SET enabled 'true')});
ok(wait_cancellation($crashed{$_}, 'succeeded'), "waiting, $_: delivered by the next one") for @TYPES[ 0 .. 2 ];
is(scalar(map { cancels_of($_) } values %crashed), 3, 'each once, and the abandoned one never');
is(column($crashed{abandon}, 'cancellation_state'), 'abandoned', 'which stays so');
is(history_of($node, $crashed{abandon}), 'Scheduled Started', 'without an event');

$handler->stop;
$node->stop;
done_testing();
