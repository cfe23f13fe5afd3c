# Many hostile peers at once, on both sides: what they cost the worker and the
# listener, and that good operations go on meanwhile.
use strict;
use warnings;

use FindBin;
use IPC::Open2 ();
use JSON::PP ();
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $MAX_PAYLOAD = 512 * 1024;
my $MAX_IN_FLIGHT = 256;
my $SHARED_BUFFERS = 16 * 1024 * 1024;		# count as the worker's memory, too
my $MANY = 300;
my $MB = 1024 * 1024;
my $node = nexus_node('main', conf => "nexus_pg.max_payload_size = ${MAX_PAYLOAD}B\nshared_buffers = ${SHARED_BUFFERS}B\n"
	. "nexus_pg.max_in_flight = $MAX_IN_FLIGHT");
my $handler = NexusTest::Handler->start;
my $broken = NexusTest::Handler->start(program => 'broken_http.py');
my $ascii = JSON::PP->new->ascii->canonical;	# a header's value
my $port = listener_port($node);
my %pid = map { $_ => nexus_pid($node, $_) } qw(worker listener);
my $ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n7";
create_endpoint($node, 'good', $handler);

# Bytes, as a field of /proc/PID/status has them.
sub memory_of
{
	my ($process, $field) = @_;
	return slurp_file("/proc/$pid{$process}/status") =~ /^$field:\s+(\d+) kB/m ? $1 * 1024 : die "no $field";
}

sub script { return quote(json_text({ 'X-Script' => $ascii->encode({@_}) })); }

sub execute
{
	my ($endpoint, %script) = @_;
	my ($status, $out, $err) = $node->psql('postgres',
		"SELECT nexus.execute('$endpoint', 'any', 'o', headers => " . script(%script) . ", await_timeout => '20 s')");
	return $status == 0 ? $out : $err;
}

# --- a connection that served one request serves the next, or none

(my $next = $ok) =~ s/7$/8/;
(my $evil = $ok) =~ s/7$/6/;
(my $closing = $ok) =~ s/\r\n/\r\nConnection: close\r\n/;
for my $case (
	[ 'it is kept', 'keep', $ok, 1 ],
	[ 'closed after the answer', 'close', $ok, 2 ],
	[ 'reset after the answer', 'reset', $ok, 2 ],
	[ 'closed where the next request has come', 'desert', $ok, 2 ],
	[ 'it says close and does not', 'keep', $closing, 2 ],
	[ 'an answer nobody asked for follows', 'keep', $ok . $evil, 2 ],
	[ 'an answer that nobody asked for comes later', 'keep', undef, 2 ])
{
	my ($name, $end, $first, $connections) = @$case;
	(my $endpoint = "kept_$name") =~ tr/ /_/;
	my $peer = NexusTest::Handler->start(program => 'broken_http.py');
	create_endpoint($node, $endpoint, $peer);
	my @send = defined $first ? ($first) : ($ok, { wait => 100 }, $evil);
	is(execute($endpoint, send => \@send, end => $end), '7', "$name: the first");
	ok(poll('the late answer', sub { $peer->stats->{played} == 1 }), "$name: it has come") unless defined $first;
	is(execute($endpoint, send => [ $next ]), '8', "$name: the next gets its own answer");
	is($peer->stats->{connections} - 1, $connections, "$name: $connections connections") if defined $first;
	is(value($node, "SELECT attempt_failures FROM nexus.stat_endpoints WHERE endpoint = '$endpoint'"), '0', "$name: no attempt fails");
	$peer->stop;
}


# --- hundreds of endless answers at once.  What one answer may take is bounded,
# --- so is how many there are at a time, and nothing of it stays.

my $json = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
my $endless = { repeat => 'x' x 1000 };
my $chunk = sprintf "%x\r\n%s\r\n", 1000, 'x' x 1000;
my @rest = ({ wait => 1500 }, $endless);	# so that many are long at a time
my @bodies = (
	[ "$json\r\n", { size => 500_000 }, @rest ],
	[ "${json}Transfer-Encoding: chunked\r\n\r\n", { repeat => $chunk, times => 500 }, { wait => 1500 }, { repeat => $chunk } ],
	[ "${json}Content-Length: 1099511627776\r\n\r\n", { size => 500_000 }, @rest ]);
my @heads = ([ $json, { repeat => "A:\n" } ], [ { repeat => "HTTP/1.1 100 Continue\r\n\r\n" } ], [ "${json}A: ", $endless ]);

# At most 4 failures in a row that are tried again, for each endpoint.
value($node, join '', map { "CREATE SERVER $_ FOREIGN DATA WRAPPER nexus OPTIONS (url '" . $broken->url
	. "', request_timeout '20s', retry_initial_interval '1h', retry_max_interval '1h');" } map { my $n = $_; map { "many${_}_$n" } qw(bodies_1 bodies_2 heads_1 heads_2) } 0 .. $MANY / 4 - 1);
value($node, 'CHECKPOINT');
my $base = memory_of('worker', 'VmRSS');

sub flood
{
	my ($what, $kinds, $state) = @_;
	my $sql = '';
	for my $n (0 .. $#$kinds)
	{
		$sql .= "SELECT nexus.schedule('many${what}_' || (n / 4), 'any', 'o', headers => " . script(send => $kinds->[$n]) . ", summary => '$what') "
			. "FROM generate_series(0, $MANY - 1) n WHERE n % 3 = $n;\n";
	}
	my $begin = time();
	value($node, $sql);
	my $id = schedule($node, 'good', 'echo', 7);
	is(wait_closed($node, $id), 'succeeded', "$what: a good operation succeeds meanwhile");
	ok($node->poll_query_until('postgres', "SELECT count(*) FROM nexus.operations WHERE summary = '$what' AND state = 'scheduled'", '0'),
		"$what: $MANY come to their end");
	diag(sprintf '%s: %.1f s, RSS %d MB, at most %d MB, before %d MB', $what, time() - $begin,
		map { $_ / $MB } memory_of('worker', 'VmRSS'), memory_of('worker', 'VmHWM'), $base);
	is(value($node, "SELECT string_agg(DISTINCT state, ' ') FROM nexus.operations WHERE summary = '$what'"),
		$state, "$what: in the same state");
	value($node, "SELECT count(nexus.terminate(id)) FROM nexus.operations WHERE summary = '$what' AND close_time IS NULL");
	ok($node->poll_query_until('postgres', "SELECT count(*) FROM nexus.operations WHERE summary = '$what' AND close_time IS NULL", '0'),
		"$what: all closed");
	value($node, "DELETE FROM nexus.operation WHERE summary = '$what'");
	return;
}

my $most = $base + $SHARED_BUFFERS + $MAX_IN_FLIGHT * ($MAX_PAYLOAD + 64 * 1024) + 32 * $MB;
my $after = 0;
for my $round (1 .. 2)
{
	flood("bodies_$round", \@bodies, 'failed');
	flood("heads_$round", \@heads, 'backing_off');
	cmp_ok(memory_of('worker', 'VmHWM'), '<', $most, "round $round: the worker's memory is bounded by requests in flight times payload size");
	cmp_ok(memory_of('worker', 'RssAnon'), '<', $round == 1 ? 64 * $MB : $after + 16 * $MB, "round $round: and given back");
	$after = memory_of('worker', 'RssAnon');
}
is(nexus_pid($node, 'worker'), $pid{worker}, 'the worker is the same');

# --- a flood of forged callbacks

my %good = map { $_ => schedule($node, 'good', 'async', { after => undef }) } 1 .. 20;
wait_state($node, $_, 'started') for values %good;
my $tables = join ' || ', map { "(SELECT coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM nexus.$_ t)" }
	qw(operation request failed_attempt incarnation endpoint_stat);
my $before = value($node, "SELECT $tables");
my $log = -s $node->logfile;
my $rejected = value($node, q{SELECT rejected FROM nexus.workers WHERE kind = 'listener'});
my $listener_base = memory_of('listener', 'VmRSS');

my $forger = IPC::Open2::open2(my $out, my $in, 'python3', "$FindBin::RealBin/../peers/forger.py", '--port', $port,
	'--incarnation', value($node, 'SELECT id FROM nexus.incarnation'), '--operation', $good{1}, '--rate', 1200, '--connections', 12);
ok($node->poll_query_until('postgres', "SELECT rejected > $rejected + 2000 FROM nexus.workers WHERE kind = 'listener'"), 'forged callbacks come');
is(value($node, "SELECT $tables"), $before, 'thousands of them change nothing in the tables');
my $ids = value($node, q{SELECT array_agg(nexus.schedule('good', 'scripted', 'async', '{"after": 20}')) FROM generate_series(1, 500)});
is(value($node, "SELECT string_agg(DISTINCT state, ' ') FROM nexus.await_all('$ids', '20 s')"), 'succeeded', 'good ones are completed meanwhile');
cmp_ok(value($node, "SELECT EXTRACT(epoch FROM max(close_time - started_time)) FROM nexus.operations WHERE id = ANY ('$ids')"), '<', 3, 'promptly');
ok($node->poll_query_until('postgres', "SELECT rejected > $rejected + 4000 FROM nexus.workers WHERE kind = 'listener'"), 'forged callbacks go on');
cmp_ok(memory_of('listener', 'VmHWM'), '<', $listener_base + 32 * $MB, "the listener's memory is bounded");
cmp_ok(memory_of('worker', 'RssAnon'), '<', $after + 32 * $MB, "and so is the worker's");
close $in;
my $sent = json_of(do { local $/; <$out> });
waitpid $forger, 0;

my %statuses = (mac => '401', operation => '401', incarnation => '404', path => '404', none => '401', malformed => '401', method => '400', large => '401');
is(join(' ', sort keys %{ $sent->{answers}{$_} }), $statuses{$_}, "forged, $_: always $statuses{$_}") for sort keys %statuses;
is(join(' ', grep { !/^(?:400|none)$/ } keys %{ $sent->{answers}{garbage} }), '', 'garbage: 400 or nothing');
cmp_ok($sent->{sent} / $sent->{seconds}, '>', 500, sprintf 'there were %d a second', $sent->{sent} / $sent->{seconds});
cmp_ok($sent->{slowest}, '<', 3, 'each was answered soon');
is(value($node, "SELECT string_agg(DISTINCT state, ' ') FROM nexus.operations WHERE id IN ("
	. join(', ', map { quote($_) } values %good) . ')'), 'started', 'those that wait, wait');
is($handler->release, 20, 'their handler completes them');
is(wait_closed($node, $_), 'succeeded', 'and they succeed') for $good{1};
is(nexus_pid($node, $_), $pid{$_}, "the $_ is the same") for qw(worker listener);
my @lines = split /\n/, substr slurp_file($node->logfile), $log;
cmp_ok(scalar(@lines), '<', 40, 'the log is not flooded') or diag(join "\n", @lines[0 .. 20]);

$_->stop for $handler, $broken;
$node->stop;
done_testing();
