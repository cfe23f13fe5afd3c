# The main road, against a real Temporal Server: what a user of both would try.
use strict;
use warnings;

use NexusTemporal;
use NexusTest;
use Test::More;

my $temporal = NexusTemporal->start;
my $node = NexusTest::nexus_node('temporal');
NexusTest::create_endpoint($node, 'hello', $temporal->url);
NexusTest::create_endpoint($node, 'deserted', $temporal->deserted_url, request_timeout => '2s', retry_max_interval => '1h',
	retry_initial_interval => '1h');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub schedule
{
	my ($operation, $input, %with) = @_;
	return NexusTest::schedule($node, 'hello', $operation, $input, service => 'HelloService', %with);
}

# --- synchronous ------------------------------------------------------------

is(sql(q{SELECT nexus.execute('hello', 'HelloService', 'Echo', '{"Message":"hi 👋"}', await_timeout => '20s') ->> 'Message'}),
	'hi 👋', 'a synchronous operation gives back what it was given');

my $linked = schedule('Links', { Message => '' });
my $incarnation = sql('SELECT id FROM nexus.incarnation');
is(sql("SELECT nexus.await('$linked', '20s') ->> 'Message'"),
	"nexus_pg.Operation nexus-pg:///databases/postgres/operations/$linked?incarnation=$incarnation",
	'scenario 3: a Temporal Server hands our one link on to its worker');

# --- a workflow, and a transaction that never was ---------------------------

my $before = $temporal->workflow_count;
sql(q{CREATE TABLE orders (id int, operation uuid)});
my $id = sql(q{BEGIN;
	INSERT INTO orders SELECT 1, nexus.schedule('hello', 'HelloService', 'SayHello', '{"Name":"Ada","Language":"Fr"}') RETURNING operation;
	COMMIT});
is(sql("SELECT nexus.await('$id', '20s') ->> 'Message'"), 'Bonjour Ada 👋', 'the result of a workflow is awaited');
sql(q{BEGIN; SELECT nexus.schedule('hello', 'HelloService', 'SayHello', '{"Name":"Nobody"}'); ROLLBACK});

like($temporal->ask('workflow', 'describe', '--workflow-id', $id), qr/SayHelloWorkflow/,
	'the workflow has the id of the operation');
my ($workflow, $run) = sql("SELECT links -> 0 ->> 'url' FROM nexus.operations WHERE id = '$id'")
	=~ m{/workflows/([^/]+)/([^/]+)/history};
is($workflow, $id, 'the link names the workflow');
like($temporal->ask('workflow', 'describe', '--workflow-id', $workflow, '--run-id', $run), qr/COMPLETED|Completed/,
	'Temporal finds the run by the link');
is(sql("SELECT string_agg(event_type, ' ' ORDER BY event_id) FROM nexus.operation_history WHERE operation_id = '$id'"),
	'NexusOperationScheduled NexusOperationStarted NexusOperationCompleted', 'the history has the events of Temporal');

# --- what goes wrong --------------------------------------------------------

$id = schedule('Flaky', { Message => 'again' });
is(sql("SELECT nexus.await('$id', '20s') ->> 'Message'"), 'again', 'a handler that fails twice is tried again');
is(sql("SELECT attempt FROM nexus.operations WHERE id = '$id'"), 3, 'with the third attempt');
is(sql("SELECT string_agg(http_status || ' ' || (failure #>> '{details,type}'), ', ' ORDER BY attempt) FROM nexus.failed_attempts WHERE operation_id = '$id'"),
	'503 UNAVAILABLE, 503 UNAVAILABLE', 'both failures are kept');

$id = schedule('Fail', { Message => 'out of stock' });
my ($sqlstate, $message) = NexusTest::error_of($node, "SELECT nexus.await('$id', '20s')");
is($sqlstate, 'NX001', 'a workflow that fails raises');
like($message, qr/operation "Fail" of service "HelloService" at endpoint "hello" failed: out of stock/, 'with its message');

($sqlstate, $message) = NexusTest::error_of($node,
	q{SELECT nexus.execute('hello', 'HelloService', 'Nope', '{}', await_timeout => '20s')});
is($sqlstate, 'NX001', 'an unknown operation raises');
like($message, qr/"type": "NOT_FOUND"/, 'as a handler error');

($sqlstate, $message) = NexusTest::error_of($node,
	q{SELECT nexus.execute('hello', 'HelloService', 'SayHello', '"no object"', await_timeout => '20s')});
is($sqlstate, 'NX001', 'an input of the wrong type raises');
like($message, qr/"type": "BAD_REQUEST"/, 'as a handler error');

my $deserted = NexusTest::schedule($node, 'deserted', 'Echo', {}, service => 'HelloService');
NexusTest::wait_state($node, $deserted, 'backing_off');
is(sql("SELECT http_status || ' ' || retryable FROM nexus.failed_attempts WHERE operation_id = '$deserted'"), '520 true',
	'item 98: where no worker polls, the attempt fails and is tried again');

# --- cancel, terminate, time out --------------------------------------------

$id = schedule('Sleep', { Seconds => 3600 });
NexusTest::wait_state($node, $id, 'started');
is(sql("SELECT nexus.cancel('$id', 'not wanted any more')"), 't', 'a running workflow can be canceled');
($sqlstate) = NexusTest::error_of($node, "SELECT nexus.await('$id', '20s')");
is($sqlstate, 'NX002', 'and its cancellation comes back');
like($temporal->ask('workflow', 'describe', '--workflow-id', $id), qr/CANCELED|Canceled/, 'Temporal says the same');
is(sql("SELECT string_agg(event_type, ' ' ORDER BY event_id) FROM nexus.operation_history WHERE operation_id = '$id'"),
	'NexusOperationScheduled NexusOperationStarted NexusOperationCancelRequested NexusOperationCancelRequestCompleted NexusOperationCanceled',
	'the history tells of it');

$id = schedule('Wait', { Message => 'x' });
NexusTest::wait_state($node, $id, 'started');
$temporal->ask('workflow', 'terminate', '--workflow-id', $id, '--reason', 'by hand');
is(NexusTest::wait_closed($node, $id), 'failed', 'a workflow terminated in Temporal fails its operation');

$id = schedule('Wait', { Message => 'too late' }, start_to_close_timeout => '500ms');
is(NexusTest::wait_closed($node, $id), 'timed_out', 'start_to_close_timeout ends the waiting');
$temporal->ask('workflow', 'signal', '--workflow-id', $id, '--name', 'release', '--input', 'null');
NexusTest::poll('the late completion', sub { $temporal->ask('workflow', 'describe', '--workflow-id', $id) =~ /COMPLETED|Completed/ });
is(NexusTest::state_of($node, $id), 'timed_out', 'scenario 56: a completion that comes late changes nothing');

is($temporal->workflow_count, $before + 5, 'Temporal has seen each started workflow once and no other');

$temporal->stop;
$node->stop;
done_testing();
