# The four cancellation types against a real Temporal Server: workflows that
# clean up first, that go on all the same, and an operation that refuses.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTemporal;
use NexusTest;
use Test::More;

my @TYPES = qw(wait_cancellation_completed wait_cancellation_requested try_cancel abandon);
my $REQUESTED = 'Scheduled Started CancelRequested CancelRequestCompleted';
my $temporal = NexusTemporal->start;
my $node = nexus_node('temporal', conf => 'nexus_pg.await_timeout = 60s');
create_endpoint($node, 'hello', $temporal->url);

# Started, with a session asleep in await, and then canceled.
sub canceled
{
	my ($operation, $type) = @_;
	my $id = schedule($node, 'hello', $operation, { Message => "with $type" }, service => 'HelloService', cancellation_type => $type);
	wait_state($node, $id, 'started');
	my $session = begin_sql($node, "SELECT nexus.await('$id')");
	poll('a session asleep', sub { value($node, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' "
		. "AND wait_event_type = 'Extension' AND query ~ '$id'") });
	is(value($node, "SELECT nexus.cancel('$id', 'not wanted')"), 't', "$operation, $type: asked");
	return ($id, $session);
}

sub cancellation { my ($id) = @_; return row_of($node, 'operations', $id)->{cancellation_state}; }
sub release { my ($id) = @_; return $temporal->ask('workflow', 'signal', '--workflow-id', $id, '--name', 'release', '--input', 'null'); }

sub wait_cancellation
{
	my ($id, $state) = @_;
	return poll("cancellation $state", sub { (cancellation($id) // '') eq $state });
}

# Was the workflow asked to cancel, as Temporal has it?
sub was_asked
{
	my ($id) = @_;
	return $temporal->ask('workflow', 'show', '--workflow-id', $id) =~ /WorkflowExecutionCancelRequested/ ? 1 : 0;
}

# What the session saw: a SQLSTATE or the message in the result.
sub seen
{
	my ($session) = @_;
	my $said = finish_sql($session);
	return $said->{err} =~ /ERROR:  (\w{5}):/ ? $1 : json_of($said->{out})->{Message};
}

# What one sees that awaits it now; NX005 where it would have to go on waiting.
sub sees { my ($id) = @_; return scalar error_of($node, "SELECT nexus.await('$id', '1 ms')"); }

# --- scenario 73: a workflow that cleans up, and one that goes on

for my $operation (qw(CleanUp Ignore))
{
	for my $type (@TYPES)
	{
		my $name = "$operation, $type";
		my $is_abandoned = $type eq 'abandon';
		my $waits = $type eq 'wait_cancellation_completed';
		my ($id, $session) = canceled($operation, $type);

		is(seen($session), 'NX002', "$name: the waiter wakes up") unless $waits;
		ok(wait_cancellation($id, $is_abandoned ? 'abandoned' : 'succeeded'), "$name: stored");
		is(history_of($node, $id), $is_abandoned ? 'Scheduled Started' : $REQUESTED, "$name: events");
		is(sees($id), $waits ? 'NX005' : 'NX002', "$name: while the workflow runs");
		is(state_of($node, $id), 'started', "$name: and it does");
		is(was_asked($id), $is_abandoned ? 0 : 1, "$name: what Temporal knows of it");

		if ($operation eq 'CleanUp' && $is_abandoned)
		{
			$temporal->ask('workflow', 'cancel', '--workflow-id', $id);
			poll('the request', sub { was_asked($id) });
		}
		release($id);
		is(wait_closed($node, $id), $operation eq 'CleanUp' ? 'canceled' : 'succeeded', "$name: what becomes of it is stored");
		is(seen($session), $operation eq 'CleanUp' ? 'NX002' : "with $type", "$name: and is what the waiter sees") if $waits;
		is(sees($id), $operation eq 'CleanUp' ? 'NX002' : '', "$name: as is who comes now");
	}
}

# --- scenarios 62 and 73: an operation that cannot be canceled

for my $type (@TYPES)
{
	my $name = "Uncancelable, $type";
	my ($id, $session) = canceled('Uncancelable', $type);

	ok(wait_cancellation($id, $type eq 'abandon' ? 'abandoned' : 'failed'), "$name: stored");
	is(sees($id), { wait_cancellation_completed => 'NX005', wait_cancellation_requested => 'NX006' }->{$type} || 'NX002', "$name: SQLSTATE");
	is(history_of($node, $id), $type eq 'abandon' ? 'Scheduled Started' : 'Scheduled Started CancelRequested CancelRequestFailed', "$name: events");
	value($node, "SELECT nexus.terminate('$id')") if $type eq 'wait_cancellation_completed';
	my $said = finish_sql($session);
	next unless $type eq 'wait_cancellation_requested';
	like($said->{err}, qr/ERROR:  NX006: operation "Uncancelable" of service "HelloService" at endpoint "hello" could not be canceled: cannot be canceled/,
		"$name: message");
	like($said->{err}, qr/NOT_IMPLEMENTED/, "$name: NOT_IMPLEMENTED surfaces");
}

$temporal->stop;
$node->stop;
done_testing();
