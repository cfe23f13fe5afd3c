# What README.md says is so: its first session, its SQL, its lists, and every
# answer to why an operation is not running.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $readme = slurp_file("$FindBin::RealBin/../../README.md");
my $views = slurp_file("$FindBin::RealBin/../../doc/views.md");
my $uuid = qr/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/;
my $node = nexus_node('main', extension => 0);
my $handler = NexusTest::Handler->start;

# --- the session that it begins with, word for word

my ($shown) = $readme =~ /^```\n(CREATE EXTENSION.*?)^```$/ms;
my $script = join '', map { "$_\n" } grep { /;$|\\gset$/ } split /\n/, $shown;
my $base = $handler->base;
$script =~ s{http://127\.0\.0\.1:8090}{$base};
my $said = '';
IPC::Run::run([ 'psql', '-X', '-a', '-P', 'pager=off', '-d', $node->connstr('postgres') ], '<', \$script, '>&', \$said);
$said =~ s/^psql:<stdin>:\d+: //mg;
$said =~ s{\Q$base}{http://127.0.0.1:8090};
for ($shown, $said)
{
	s/$uuid/ID/g;
	s/^DETAIL:  \{"operation_id".*/DETAIL/m;
	s/ +$//mg;
	s/\n+/\n/g;
}
is($said, $shown, 'the first session is what psql shows');

# --- blocks of SQL, in a database of their own

# As pg_get_function_arguments() has them, but for casts of constants and "IN".
sub arguments_of
{
	my ($text) = @_;
	$text =~ s/\s+/ /g;
	$text =~ s/::(?:text|jsonb|interval|bytea)//g;
	$text =~ s/(?:^|(?<=, ))IN //g;
	return $text;
}

# The placeholders of a statement become what there is.
sub with_values
{
	my ($block) = @_;
	my $url = $handler->url;
	my $token = PostgreSQL::Test::Utils::tempdir() . '/payments.token';
	append_to_file($token, 'secret');
	$block =~ s{https://pay\.example:7243/nexus}{$url};
	$block =~ s{/etc/nexus_pg/payments\.token}{$token};
	$block =~ s/'(?:billing|images)'/'any'/g;
	$block =~ s/\$1/'-infinity'/g;
	if ($block =~ /$uuid/)
	{
		my $is_completion = $block =~ /nexus\.complete/;
		my $id = schedule($node, 'payments', $is_completion ? ('async', { after => undef }) : ('echo', { a => 1 }), database => 'docs');
		wait_state($node, $id, 'started|succeeded', 'docs');
		$block =~ s/$uuid/$id/g;
		$block =~ s/1\.1\.Wk\.\.\./(callback_of($handler, $id))[1]{'Nexus-Pg-Token'}/e if $is_completion;
	}
	return $block;
}

value($node, 'CREATE DATABASE docs');
value($node, 'CREATE ROLE app');
value($node, 'CREATE TABLE orders (id int, day date DEFAULT current_date, operation_id uuid)', 'docs');
my ($signatures, $statements) = (0, 0);
for my $block ("$readme\n$views" =~ /^```sql\n(.*?)^```$/msg)
{
	my ($name) = $block =~ /^(.*)/;
	if ($block =~ /^(?:CALL )?nexus\.(\w+)\((\w.*?)\)(?: RETURNS|\n\s+RETURNS|$)/s)
	{
		my ($function, $documented) = ($1, $2);
		$signatures++;
		next if $documented =~ /\.\.\./;
		my $actual = value($node, "SELECT pg_get_function_arguments('nexus.$function'::regproc)", 'docs');
		# what a table function returns is among its arguments
		$actual =~ s/, TABLE.*//;
		is(arguments_of($documented), arguments_of($actual), "arguments of $function");
		next;
	}
	next if $block =~ /^nexus\.|:'id'/;
	my ($code, $why) = error_of($node, with_values($block), database => 'docs');
	is($code, '', $name) or diag($why);
	wait_running($node, 'docs') if $block =~ /CREATE EXTENSION/;
	$statements++;
}
cmp_ok($signatures, '>=', 11, 'signatures were found');
cmp_ok($statements, '>=', 14, 'statements were found');

# --- lists

sub words_of { return join ' ', sort @_; }

# What stands in backticks in the first column of the tables of a section.
sub first_column
{
	my ($text, $heading) = @_;
	my ($section) = $text =~ /^\Q$heading\E\n(.*?)(?=^#|\z)/ms;
	return map { /^\| (`[^|]*)/ ? $1 =~ /`(\w[\w.]*)`/g : () } split /\n/, $section;
}

is(words_of(first_column($readme, '## Settings')),
	value($node, q{SELECT string_agg(name, ' ' ORDER BY name COLLATE "C") FROM pg_settings WHERE name LIKE 'nexus\_pg.%'}), 'settings');
for my $case ([ '### Server options', 'CREATE SERVER bad FOREIGN DATA WRAPPER nexus OPTIONS (bad \'\')' ],
	[ '### Credentials', 'CREATE USER MAPPING FOR CURRENT_USER SERVER payments OPTIONS (bad \'\')' ])
{
	my (undef, $why) = error_of($node, $case->[1]);
	my ($valid) = $why =~ /Valid options in this context are: (.*)/;
	is(words_of(first_column($readme, $case->[0])), words_of(split /, /, $valid), $case->[0]);
}
for my $view (split /\n/, value($node, q{SELECT relname FROM pg_class WHERE relnamespace = 'nexus'::regnamespace AND relkind = 'v'}))
{
	is(words_of(first_column($views, "## nexus.$view")),
		value($node, "SELECT string_agg(attname, ' ' ORDER BY attname COLLATE \"C\") FROM pg_attribute WHERE attrelid = 'nexus.$view'::regclass AND attnum > 0"),
		"columns of $view");
}
my @links = map { [ 'README.md', $_ ] } $readme =~ /\]\(#([^)]*)\)/g;
push @links, map { [ 'doc/views.md', $_ ] } $views =~ /\]\(\.\.\/README\.md#([^)]*)\)/g;
my %anchor = map { (my $name = lc) =~ s/[^\w -]//g; $name =~ tr/ /-/; ($name => 1) } $readme =~ /^#+ (.*)/mg;
is(join(' ', map { "$_->[0]#$_->[1]" } grep { !$anchor{ $_->[1] } } @links), '', 'links lead to headings');

# --- why is my operation not running?

my ($question) = $readme =~ /^```sql\n(SELECT CASE WHEN o\.id IS NULL.*?)^```$/ms;
my ($answers) = $readme =~ /^\| `answer` \|.*?\n(.*?)\n\n/ms;
my %documented = map { /^\| (`[^|]*)/ ? map { $_ => 1 } $1 =~ /`([^`]+)`/g : () } split /\n/, $answers;
delete $documented{$_} for qw(endpoint_in_flight worker_in_flight per_second last_error_time);
my %seen;

# What the query says of an operation: its row.
sub ask
{
	my ($id, $role) = @_;
	(my $query = $question) =~ s/:'id'/'$id'/;
	$query =~ s/;\s*$//;
	return json_of(value($node, ($role ? "SET ROLE $role; " : '') . "SELECT to_json(v) FROM ($query) v"));
}

# Wait for an answer, which is one of the table's, and return its row.
sub answer
{
	my ($id, $expected, $name, $role) = @_;
	my $row;
	ok(poll("answer $expected", sub { $row = ask($id, $role); $row->{answer} eq $expected }), "$name: $expected")
		or diag(json_text($row));
	ok($documented{$expected}, 'which is explained');
	$seen{$expected} = 1;
	return $row;
}

sub set
{
	my ($setting, $value) = @_;
	$node->append_conf('postgresql.conf', "$setting = $value");
	$node->reload;
	return;
}

create_endpoint($node, 'hello', $handler, max_in_flight => 1, breaker_failures => 0);
create_endpoint($node, 'down', 'http://127.0.0.1:1/nexus', retry_initial_interval => '1h', retry_max_interval => '1h');
create_endpoint($node, 'dead', 'http://127.0.0.1:1/nexus', retry_initial_interval => '1ms', retry_max_interval => '1ms', breaker_open_interval => '1h');
create_endpoint($node, 'slow', $handler, max_requests_per_second => '0.001');
create_endpoint($node, 'large', $handler);

answer('01a202fd-05e4-795f-8f3e-0463d70ecf51', 'not there', 'no such operation');
for my $case ([ 'succeeded', 'echo', {} ], [ 'failed', 'operation-error', { message => 'declined' } ],
	[ 'canceled', 'operation-error', { state => 'canceled' } ])
{
	answer(schedule($node, 'hello', $case->[1], $case->[2]), $case->[0], $case->[0]);
}
answer(schedule($node, 'hello', 'async', { after => undef }, start_to_close_timeout => '1ms'), 'timed_out', 'timed_out');
my $started = schedule($node, 'hello', 'async', { after => undef });
answer($started, 'started', 'waits for a callback');
value($node, 'CREATE ROLE clerk; GRANT USAGE ON FOREIGN SERVER hello TO clerk');
answer($started, 'not there', 'of another role', 'clerk');
value($node, "SELECT nexus.cancel('$started')");
ok(poll('the cancel request', sub { ask($started)->{cancellation_state} eq 'succeeded' }), 'its cancel request is accepted');
answer($started, 'started', 'and it goes on');
value($node, "SELECT nexus.terminate('$started')");
answer($started, 'terminated', 'terminated');

my $refused = schedule($node, 'down', 'echo');
like(answer($refused, 'backing_off', 'nobody listens')->{failure}, qr/Connection refused/, 'it says why');
my $broken = schedule($node, 'dead', 'echo');
my $row = answer($broken, 'breaker_open', 'a handler that is down');
is($row->{breaker_state}, 'open', 'the breaker is shown');
ok($row->{breaker_until}, 'with its time');
value($node, q{ALTER SERVER dead OPTIONS (ADD breaker_failures '6')});
ok(poll('another attempt', sub { row_of($node, 'operations', $broken)->{attempt} > 5 }), 'ALTER SERVER tries at once');

my $hanging = schedule($node, 'hello', 'hang', { gate => 'first' });
ok(poll('one in flight', sub { ask($hanging)->{endpoint_in_flight} eq '1 of 1' }), 'it is in flight');
is(answer(schedule($node, 'hello', 'echo'), 'scheduled', 'behind it')->{endpoint_in_flight}, '1 of 1', 'max_in_flight is reached');
set('nexus_pg.max_in_flight', 1);
ok(poll('the limit', sub { ask($hanging)->{worker_in_flight} eq '1 of 1' }), 'nexus_pg.max_in_flight is reached');
set('nexus_pg.max_in_flight', 256);
wait_closed($node, schedule($node, 'slow', 'echo'));
is(answer(schedule($node, 'slow', 'echo'), 'scheduled', 'behind a rate')->{per_second}, '0.001', 'max_requests_per_second is shown');
set('nexus_pg.max_bytes_in_flight', "'64kB'");
my @large = map { schedule($node, 'large', 'hang', { filler => 'x' x 40_000 }) } 1 .. 2;
ok(poll('one of the large', sub { ask($large[1])->{endpoint_in_flight} eq '1 of 100' }), 'one of two large ones is in flight');

# in one transaction, so that it is not sent before
my ($of_clerk) = value($node, q{BEGIN; GRANT USAGE ON FOREIGN SERVER down TO clerk; SET ROLE clerk;
	SELECT nexus.schedule('down', 's', 'echo'); RESET ROLE; REVOKE USAGE ON FOREIGN SERVER down FROM clerk; COMMIT}) =~ /($uuid)/;
answer($of_clerk, 'no_usage', 'USAGE is revoked');
answer($of_clerk, 'no_usage', 'its owner sees that, too', 'clerk');
value($node, 'DROP OWNED BY clerk; DROP ROLE clerk');
value($node, 'ALTER SERVER down OPTIONS (ADD enabled \'false\')');
answer($refused, 'endpoint_disabled', 'the endpoint is disabled');
value($node, 'ALTER SERVER down OPTIONS (SET enabled \'true\')');
is(answer($of_clerk, 'failed', 'the owner is dropped')->{failure}, "the operation's owner no longer exists", 'the failure says so');
create_endpoint($node, 'gone', $handler, enabled => 'false');
my $of_gone = schedule($node, 'gone', 'echo');
value($node, 'CREATE ROLE boss; GRANT USAGE ON FOREIGN DATA WRAPPER nexus TO boss; ALTER SERVER gone OWNER TO boss; DROP OWNED BY boss');
is(answer($of_gone, 'failed', 'the endpoint is dropped with its owner')->{failure}, 'endpoint not registered', 'the failure says so');
value($node, 'SELECT nexus.pause()');
answer($refused, 'paused', 'paused');
value($node, 'SELECT nexus.resume()');
set('nexus_pg.enabled', 'off');
answer($refused, 'sending_disabled', 'all is off');
set('nexus_pg.enabled', 'on');
set('nexus_pg.listen_addresses', "''");
my $baseless = poll('no callback URL', sub { !value($node, 'SELECT count(callback_url) FROM nexus.endpoints') && schedule($node, 'down', 'echo') });
answer($baseless, 'no_callback_url', 'no listener');
answer($refused, 'listener_down', 'one that was scheduled while there was one');
set('nexus_pg.listen_addresses', "'127.0.0.1'");
answer($refused, 'backing_off', 'all is well again');

# a worker that cannot read says so
my $locker = begin_sql($node, 'BEGIN; LOCK TABLE nexus.request; SELECT pg_sleep(600)');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted
	AND relation = 'nexus.request'::regclass}), 'somebody locks what the worker reads');
my $unread = schedule($node, 'large', 'echo');
ok(poll('the error', sub { (ask($unread)->{last_error} // '') =~ /lock timeout/ }), 'the last error says so');
answer($unread, 'scheduled', 'it is not sent');
value($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(600)%'});
finish_sql($locker);
answer($unread, 'succeeded', 'and when the lock is gone, it is sent');

# --- servers that lack something

set('max_worker_processes', 2);
$node->restart;
like(answer($refused, 'worker no_slot', 'no slot for the worker')->{last_error}, qr/max_worker_processes/, 'it says why');
set('max_worker_processes', 20);
set('shared_preload_libraries', "''");
$node->restart;
answer($refused, 'no worker', 'not preloaded');
delete $documented{$_} for 'worker starting', 'worker failed';
is(words_of(grep { !$seen{$_} } keys %documented), '', 'every answer was given');

$handler->stop;
$node->stop;
done_testing();
