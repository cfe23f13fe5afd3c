# Links: of handlers, from wherever they come, kept and shown; ours, sent with
# each start.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = nexus_node('main');
my $handler = NexusTest::Handler->start;
create_endpoint($node, 'hello', $handler);
# what fails here is not tried again while the test looks at it
create_endpoint($node, 'once', $handler, retry_initial_interval => '1h', retry_max_interval => '1h');
my $worker = nexus_pid($node, 'worker');

my @two = ({ url => 'temporal:///namespaces/a/workflows/b/c/history?eventID=1', type => 'temporal.api.common.v1.Link.WorkflowEvent' },
	{ url => 'https://example.com/p?a=b%2Cc#d', type => 'nobody.knows/this_1' });
my $JSON = [ 'Content-Type', 'application/json' ];

sub links_of { return json_of(value($node, "SELECT coalesce(links, 'null') FROM nexus.operations WHERE id = '$_[0]'")); }

# Events that show links, in their order.
sub events_with_links
{
	return value($node, "SELECT string_agg(replace(event_type, 'NexusOperation', '') || ' ' || jsonb_array_length(attributes -> 'links'), ' ' "
		. "ORDER BY event_id) FROM nexus.operation_history WHERE operation_id = '$_[0]' AND attributes ? 'links'");
}

sub linked
{
	my ($name, $operation, $input, $links, $events) = @_;
	my $id = schedule($node, 'hello', $operation, $input);
	is(wait_closed($node, $id), 'succeeded', "$name: goes on");
	is_deeply(links_of($id), $links, "$name: links");
	is(events_with_links($id), $events, "$name: events");
	return $id;
}

# --- from the handler

linked('in the reply (scenario 1, item 22)', 'echo', { links => \@two }, \@two, 'Completed 2');
linked('with the token (scenario 2, item 22)', 'async', { links => [ $two[0] ], after => 20, headers => {} }, [ $two[0] ], 'Started 1');
linked('none', 'echo', {}, undef, '');
linked('two in one line (item 22)', 'reply', { headers => [ $JSON, [ 'Nexus-Link', '<a:1>; type=x , <a:2>;type="y"; more="z"' ] ], body => '1' },
	[ { url => 'a:1', type => 'x' }, { url => 'a:2', type => 'y' } ], 'Completed 2');
linked('of unknown or malformed value (scenario 24)', 'reply', { headers => [ $JSON, [ 'Nexus-Link', '<a:1>; type="no type"' ],
	[ 'Nexus-Link', "<a:\xe9>; type=x, <a: 2>; type=y" ], [ 'nexus-link', '<a:3>; type=unknown' ] ], body => '1' }, [ { url => 'a:3', type => 'unknown' } ], 'Completed 1');
linked('of malformed value alone (scenario 24)', 'reply', { headers => [ $JSON, [ 'Nexus-Link', '<a:1>; type="no type"' ] ], body => '1' }, undef, '');

# A callback that comes before the reply tells of the start; one that comes
# after it cannot change what the start has said.
my $id = schedule($node, 'hello', 'async', { early => \1, links => [ $two[1] ] });
is(wait_closed($node, $id), 'succeeded', 'early callback: succeeded');
is_deeply(links_of($id), [ $two[1] ], 'early callback (scenario 47): its links');
is(events_with_links($id), 'Started 1', 'stand with the start, not with the completion');

$id = schedule($node, 'hello', 'async', { after => undef, links => [ $two[0] ] });
wait_state($node, $id, 'started');
my ($url, $headers) = callback_of($handler, $id);
is(post($url, { %$headers, 'Nexus-Link' => '<a:late>; type=x' }, '1'), 200, 'callback after the start: taken');
is_deeply(links_of($id), [ $two[0] ], 'callback after the start (scenario 57): its links are not added');

$id = schedule($node, 'hello', 'async', { after => undef });
wait_state($node, $id, 'started');
($url, $headers) = callback_of($handler, $id);
is(post($url, { %$headers, 'Nexus-Link' => 'a:1; type=x' }, '1'), 400, 'a bad header in a callback (item 54)');
is(state_of($node, $id), 'started', 'changes nothing');
is(post($url, { %$headers, 'Nexus-Link' => '<a:late>; type=x' }, '1'), 200, 'a good one is taken');
is(links_of($id), undef, 'scenario 57: nor are they added where the start had none');
is(wait_closed($node, $id), 'succeeded', 'and closes it');

# A header that breaks the syntax fails the attempt, whatever the status.
for my $case ([ 200, '1' ], [ 201, '{"token":"t","state":"running"}' ])
{
	my ($status, $body) = @$case;
	$id = schedule($node, 'once', 'reply', { status => $status, headers => [ $JSON, [ 'Nexus-Link', '<a:1>; type=x' ], [ 'Nexus-Link', '<a:2>' ] ], body => $body },
		schedule_to_close_timeout => '1 min');
	is(wait_state($node, $id, 'backing_off'), 'backing_off', "a bad header beside $status (scenario 22): tried again");
	my ($attempt) = attempts_of($node, $id);
	is("$attempt->{http_status} $attempt->{retryable}", "$status 1", 'as a failed attempt');
	like($attempt->{failure}{message}, qr/unexpected response with status $status: link has no parameters/, 'that says why');
	value($node, "SELECT nexus.terminate('$id')");
	wait_closed($node, $id);
	is(links_of($id), undef, 'without links');
	# not so many in a row that the endpoint were blocked
	is(value($node, q{SELECT nexus.execute('once', 'any', 'o', '1')}), '1', 'the endpoint goes on');
}

# --- many, and long ones: what a reply's head may hold is kept, and no more

my @many = map { { url => "a:$_", type => 'x' } } 1 .. 1000;
my @lines = map { my $first = 10 * $_; [ 'Nexus-Link', join ', ', map { "<$_->{url}>; type=x" } @many[ $first .. $first + 9 ] ] } 0 .. 99;
linked('a thousand', 'reply', { headers => [ $JSON, @lines ], body => '1' }, \@many, 'Completed 1000');
my $long = { url => 'a:' . 'x' x 30_000, type => 'y' x 1000 };
linked('a long one', 'reply', { headers => [ $JSON, [ 'Nexus-Link', "<$long->{url}>; type=$long->{type}" ] ], body => '1' }, [$long], 'Completed 1');
$id = schedule($node, 'once', 'reply', { headers => [ $JSON, map { [ 'Nexus-Link', '<a:' . 'x' x 1000 . '>; type=x' ] } 1 .. 80 ], body => '1' },
	schedule_to_close_timeout => '1 min');
like(wait_state($node, $id, 'failed|backing_off'), qr/failed|backing_off/, 'too many: are not kept');
value($node, "SELECT nexus.terminate('$id')");
is(wait_closed($node, $id) =~ /failed|terminated/ && links_of($id), undef, 'none of them');

$id = schedule($node, 'hello', 'async', { after => undef });
wait_state($node, $id, 'started');
($url, $headers) = callback_of($handler, $id);
is(post($url, { %$headers, 'Nexus-Link' => '<a:' . 'x' x 20_000 . '>; type=x' }, '1'), 431, 'too long a one in a callback: refused');
is(state_of($node, $id), 'started', 'changes nothing');
value($node, "SELECT nexus.terminate('$id')");

# --- ours

sub our_links
{
	my ($operation, $kind) = @_;
	return map { grep { lc $_->[0] eq 'nexus-link' } @{ $_->{header_list} } } $handler->log(request_id => $operation, kind => $kind || 'start');
}

$id = schedule($node, 'hello', 'flaky', { times => 2 });
wait_closed($node, $id);
my $incarnation = value($node, 'SELECT id FROM nexus.incarnation');
my $ours = "<nexus-pg:///databases/postgres/operations/$id?incarnation=$incarnation>; type=\"nexus_pg.Operation\"";
is_deeply([ map { $_->[1] } our_links($id) ], [ ($ours) x 3 ], 'exactly one with each attempt, always the same (scenario 3)');
my $other = value($node, q{SELECT nexus.execute('hello', 'scripted', 'headers') ->> 'nexus-link'});
like($other, qr/^<nexus-pg:\S+>; type="nexus_pg\.Operation"$/, 'with execute, too');
unlike($other, qr/$id/, 'each operation its own');
is(error_of($node, q{SELECT nexus.schedule('hello', 'any', 'o', headers => '{"nexus-link": "<a:1>; type=x"}')}), '22023', 'callers add none');

$id = schedule($node, 'hello', 'async', { after => undef });
wait_state($node, $id, 'started');
value($node, "SELECT nexus.cancel('$id')");
ok(poll('the cancel', sub { $handler->stats->{cancels} }), 'a cancel request');
is(scalar(grep { lc $_->[0] eq 'nexus-link' } @{ ($handler->log(kind => 'cancel'))[0]{header_list} }), 0, 'has none');

# What is no part of a link in the name of a database is escaped.
my $database = "a, b<c>;\"d\"%/\x{c3}\x{a9}";
$node->safe_psql('postgres', 'CREATE DATABASE "' . $database =~ s/"/""/gr . '"');
create_extension($node, $database);
create_endpoint($node, 'hello', $handler, database => $database);
$id = schedule($node, 'hello', 'echo', 1, database => $database);
wait_closed($node, $id, $database);
like((our_links($id))[0][1], qr{^<nexus-pg:///databases/a%2C%20b%3Cc%3E%3B%22d%22%25%2F%C3%A9/operations/$id\?incarnation=[-0-9a-f]{36}>; type="nexus_pg\.Operation"$},
	'the name of the database, escaped');
value($node, "ALTER DATABASE \"" . $database =~ s/"/""/gr . '" RENAME TO renamed');
wait_running($node, 'renamed');
$id = schedule($node, 'hello', 'echo', 1, database => 'renamed');
wait_closed($node, $id, 'renamed');
like((our_links($id))[0][1], qr{/databases/renamed/}, 'as it is called now');

cmp_ok(value($node, 'SELECT count(v::text) FROM nexus.operation_history v'), '>', 0, 'the history can be read whole');
is(nexus_pid($node, 'worker'), $worker, 'the worker is the same');

$handler->stop;
$node->stop;
done_testing();
