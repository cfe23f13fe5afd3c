# A Temporal Server as the handler, beyond the main road: what it refuses, how its
# failures come back, one workflow for many callers, completions that found nobody.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTemporal;
use NexusTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $CALLERS = 5;
my $MAX_PAYLOAD = 2 * 1024 * 1024;
my $temporal = NexusTemporal->start;
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $node = nexus_node('temporal', conf => "nexus_pg.port = $port\nnexus_pg.await_timeout = 60s");
create_endpoint($node, 'hello', $temporal->url);

sub begin
{
	my ($operation, $message, %with) = @_;
	my $endpoint = delete $with{endpoint} || 'hello';
	return schedule($node, $endpoint, $operation, defined $message ? { Message => $message } : undef, service => 'HelloService', %with);
}

sub started
{
	my $id = begin(@_);
	wait_state($node, $id, 'started');
	return $id;
}

sub release { return $temporal->ask('workflow', 'signal', '--workflow-id', $_[0], '--name', 'release', '--input', 'null'); }

# It failed at the first attempt, for good: the type of the error and what it says.
sub refused
{
	my ($id, $name) = @_;
	is(wait_closed($node, $id), 'failed', "$name: fails for good");
	my ($attempt, @more) = attempts_of($node, $id);
	is(scalar(@more), 0, "$name: at the first attempt");
	return "$attempt->{http_status} $attempt->{failure}{details}{type}: " . ($attempt->{failure}{cause}{message} // $attempt->{failure}{message});
}

# --- what it refuses

(my $nowhere = $temporal->url) =~ s{/endpoints/[-0-9a-f]+/}{/endpoints/01234567-89ab-4cde-8f01-23456789abcd/};
create_endpoint($node, 'nowhere', $nowhere);
like(refused(begin('Echo', 'x', endpoint => 'nowhere'), 'item 97: an unknown endpoint'), qr/^404 NOT_FOUND: .*endpoint/, 'item 97: says which error');

my $message = 'x' x ($MAX_PAYLOAD - 10 - length '{"Message": ""}');
like(refused(begin('Echo', $message), 'item 100: an input a little below 2 MiB'), qr/^400 BAD_REQUEST: .*exceeds size limit/, 'item 100: says why');

create_endpoint($node, 'unreachable', $temporal->url, callback_url => 'http://127.0.0.2:9');
like(refused(begin('Wait', 'x', endpoint => 'unreachable'), 'item 102: a callback to a host that is not allowed'), qr/^400 BAD_REQUEST: .*callback/i,
	'item 102: says why');

# --- headers, and nothing at all

is(value($node, q{SELECT nexus.execute('hello', 'HelloService', 'Headers', '{"Message": ""}', headers => '{"key": "value"}') ->> 'Message'}), 'value',
	'item 109: a header reaches the handler');
my $id = started('Uncancelable', '', headers => '{"key": "value"}', cancellation_type => 'wait_cancellation_requested');
value($node, "SELECT nexus.cancel('$id')");
my ($code, $said) = error_of($node, "SELECT nexus.await('$id')");
is($code, 'NX006', 'a cancel request is refused');
like($said, qr/could not be canceled: cannot be canceled value$/m, 'item 109: and with a cancel request');

$id = begin('Nothing', undef);
is(wait_closed($node, $id), 'succeeded', 'item 110: a workflow without input or result');
is(history_of($node, $id), 'Scheduled Started Completed', 'item 110: its events');
is(value($node, "SELECT nexus.await('$id') IS NULL OR nexus.await('$id') = 'null'"), 't', 'item 110: has none');

# --- how a workflow ended is told

my %end = (
	failed => [ begin('Fail', 'out of stock'), 'failed', 'applicationFailureInfo' ],
	terminated => [ started('Wait', 'x'), 'failed', 'terminatedFailureInfo' ],
	canceled => [ started('Sleep', 'x'), 'canceled', 'canceledFailureInfo' ],
	'timed out' => [ begin('Expire', 'x'), 'failed', 'timeoutFailureInfo' ]);
$temporal->ask('workflow', 'terminate', '--workflow-id', $end{terminated}[0], '--reason', 'by hand');
$temporal->ask('workflow', 'cancel', '--workflow-id', $end{canceled}[0]);
for my $name (sort keys %end)
{
	my ($of, $state, $info) = @{ $end{$name} };
	is(wait_closed($node, $of), $state, "scenario 60: a workflow that $name");
	my $failure = row_of($node, 'operations', $of)->{failure};
	$failure = $failure->{cause} while $failure->{cause} && !exists $failure->{details}{$info};
	ok(exists $failure->{details}{$info}, "scenario 60: $name: $info") or diag(json_text($failure));
	next unless $name eq 'failed';
	is("$failure->{message} $failure->{details}{$info}{type}", 'out of stock Refused', 'scenario 60: its message and type');
	ok($failure->{details}{$info}{details}{payloads}[0]{data}, 'scenario 60: and its details');
}

# --- one workflow, many callers

my @same = map { begin('Shared', 'use-existing') } 1 .. $CALLERS;
wait_state($node, $_, 'started') for @same;
my @tokens = map { row_of($node, 'operations', $_)->{operation_token} } @same;
is(scalar(grep { $_ eq $tokens[0] } @tokens), $CALLERS, "scenario 59: $CALLERS operations share one workflow");
release('shared-use-existing');
is(join(' ', map { wait_closed($node, $_) } @same), join(' ', ('succeeded') x $CALLERS), 'scenario 59: and each is told of its end');
is(value($node, "SELECT DISTINCT result FROM nexus.await_all('{" . join(',', @same) . "}')"), '{"Message": "use-existing"}', 'scenario 59: with its result');

@same = map { begin('Shared', 'fail') } 1 .. $CALLERS;
wait_state($node, $_, 'started|failed') for @same;
my @failed = grep { state_of($node, $_) eq 'failed' } @same;
is(scalar(@failed), $CALLERS - 1, 'scenario 59: all but one are refused where it must be new');
for my $of (@failed)
{
	my ($attempt, @more) = attempts_of($node, $of);
	ok(!@more && !$attempt->{retryable} && json_text($attempt->{failure}) =~ /already started/i, 'scenario 59: once, since it is there')
		or diag(json_text($attempt));
}
release('shared-fail');
is(join(' ', sort map { wait_closed($node, $_) } @same), join(' ', ('failed') x ($CALLERS - 1), 'succeeded'), 'scenario 59: the one succeeds');

# --- a completion that finds nobody comes again

$id = started('Wait', 'patience');
$node->stop;
release($id);
ok(NexusTest::poll('the end of the workflow', sub { $temporal->ask('workflow', 'describe', '--workflow-id', $id) =~ /COMPLETED|Completed/ }),
	'a workflow ends while the server is down');
ok(NexusTest::poll('a delivery that failed', sub { $temporal->ask('workflow', 'describe', '--workflow-id', $id) =~ /LastAttemptFailure\s+Message: Post .*refused/ }),
	'its completion is not delivered');
$node->start;
is(wait_closed($node, $id), 'succeeded', 'item 106: it is delivered again');
is(value($node, "SELECT nexus.await('$id') ->> 'Message'"), 'patience', 'item 106: with the result');

$temporal->stop;
$node->stop;
done_testing();
