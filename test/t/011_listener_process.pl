# The listener program: the launcher keeps its sockets, starts it again when it
# ends, and passes settings on.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = nexus_node('main');
my $listener = "FROM nexus.workers WHERE kind = 'listener'";

sub can_connect
{
	my ($port, $address) = @_;
	return defined IO::Socket::INET->new(PeerAddr => $address || '127.0.0.1', PeerPort => $port, Timeout => 5);
}

sub configure
{
	my (%settings) = @_;
	$node->append_conf('postgresql.conf', "$_ = $settings{$_}") for sort keys %settings;
	$node->reload;
	return;
}

# --- it runs, and apart from the server

my $port = listener_port($node);
my $pid = nexus_pid($node, 'listener');
cmp_ok($port, '>', 0, 'nexus.workers shows the port that 0 became');
ok(can_connect($port), 'it accepts connections');
like(slurp_file("/proc/$pid/cmdline"), qr/^nexus_listener\0--socket-fd\0/, 'it is a program of its own');
is(join(' ', sort split /\0/, slurp_file("/proc/$pid/environ")), 'LC_ALL=C PATH=/usr/bin:/bin', 'its environment is clean');
is((stat "/proc/$pid/cwd")[1], (stat $node->data_dir)[1], 'its directory is the data directory');
my @files = grep { m{^/} && $_ ne $node->logfile } map { readlink($_) // '' } glob("/proc/$pid/fd/*");
is("@files", '', 'no file of the server is open in it');
like(slurp_file("/proc/$pid/maps"), qr/nexus_listener/, 'its memory can be read');
unlike(slurp_file("/proc/$pid/maps"), qr{/dev/zero|/SYSV|nexus_pg\.so}, 'and holds none of the server');

# --- it crashes: nobody else notices

my $session = $node->background_psql('postgres');
$session->query_safe('SELECT 1');
my $worker = nexus_pid($node, 'worker');
for my $signal ('KILL', 'SEGV')
{
	my $offset = -s $node->logfile;
	kill $signal, $pid;
	$pid = wait_new_pid($node, 'listener', $pid);
	ok($pid, "another one runs after SIG$signal");
	is(listener_port($node), $port, 'on the same port');
	ok(can_connect($port), 'and accepts connections');
	ok($node->log_contains(qr/WARNING:  nexus_listener was terminated by signal/, $offset), 'the log says how it ended');
	ok($node->log_contains(qr/LOG:  nexus_listener was started again/, $offset), 'and that it is back');
}
is($session->query_safe('SELECT 2'), '2', 'sessions go on');
$session->quit;
is(nexus_pid($node, 'worker'), $worker, 'and so does the worker');

# Connections that come meanwhile wait in the socket.
kill 'STOP', $pid;
my $waiting = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
print $waiting "GET /elsewhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
kill 'KILL', $pid;
$pid = wait_new_pid($node, 'listener', $pid);
like(readline($waiting) // '', qr{^HTTP/1\.1 \d}, 'the next one answers a connection that waited');

# --- settings

configure('nexus_pg.max_connections' => 17);
ok($node->poll_query_until('postgres', "SHOW nexus_pg.max_connections", '17'), 'settings were read again');
is(nexus_pid($node, 'listener'), $pid, 'a limit is passed on to the program that runs');

my $free = PostgreSQL::Test::Cluster::get_free_port();
configure('nexus_pg.port' => $free);
ok($node->poll_query_until('postgres', "SELECT port $listener AND state = 'running'", $free), 'a reload changes the port');
ok(can_connect($free), 'the new one accepts connections');
ok(!can_connect($port), 'the old one does not');

configure('nexus_pg.listen_addresses' => "'127.0.0.1, 127.0.0.2'");
ok(poll('both addresses', sub { can_connect($free) && can_connect($free, '127.0.0.2') }), 'it listens on a list of addresses');
configure('nexus_pg.listen_addresses' => "''");
ok($node->poll_query_until('postgres', "SELECT count(*) $listener", '0'), 'without addresses there is no listener');
ok(!can_connect($free), 'and no socket');
configure('nexus_pg.listen_addresses' => "'127.0.0.1'");
ok($node->poll_query_until('postgres', "SELECT port $listener AND state = 'running'", $free), 'and then again');

# --- two clusters, one port

my $second = nexus_node('second', conf => "nexus_pg.port = $free\nrestart_after_crash = on");
ok($second->poll_query_until('postgres', "SELECT state $listener", 'failed'), 'a port that is taken: failed');
is($second->safe_psql('postgres', "SELECT pid IS NULL AND port IS NULL $listener"), 't', 'nothing listens');
ok($second->log_contains(qr/WARNING:  could not listen on address "127\.0\.0\.1", port $free/), 'the log says why');
$node->stop;
ok($second->poll_query_until('postgres', "SELECT port $listener AND state = 'running'", $free),
	'it listens once the port is free');

# --- it never outlives the server

$pid = nexus_pid($second, 'listener');
kill 'KILL', nexus_pid($second, 'launcher');
ok(poll('its end', sub { !is_alive($pid) }), 'it ends with the launcher');
ok($second->poll_query_until('postgres', "SELECT pid <> $pid $listener AND state = 'running'"), 'and the server starts both again');
$pid = nexus_pid($second, 'listener');
$second->stop;
ok(!is_alive($pid), 'none is left after a shutdown');

done_testing();
