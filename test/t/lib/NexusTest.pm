# NexusTest.pm
#	  What the TAP tests share: servers with the extension, the scripted
#	  handler, and polling.
#
#	my $node = nexus_node('main');
#	my $handler = NexusTest::Handler->start;
#	create_endpoint($node, 'hello', $handler);
#	my $id = schedule($node, 'hello', 'async', { after => 50 });
#	is(wait_closed($node, $id), 'succeeded', 'it came back');
#
# Everything waits by polling, for at most $PG_TEST_TIMEOUT_DEFAULT seconds.
package NexusTest;

use strict;
use warnings;

use Exporter 'import';
use HTTP::Tiny ();
use IO::Socket::INET ();
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(
  nexus_node create_extension create_endpoint schedule state_of wait_state
  wait_closed poll error_of nexus_pid wait_new_pid wait_running wait_restarted listener_port
  is_alive json_of json_text quote row_of history_of attempts_of detail_of
  callback_of post begin_post status_of is_silent value ids_of kill_server
  begin_sql finish_sql
);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

sub json_of { return $json->decode($_[0]); }
sub json_text { return $json->encode($_[0]); }

# An SQL literal.
sub quote
{
	my ($value) = @_;
	return 'NULL' unless defined $value;
	$value =~ s/'/''/g;
	return "'$value'";
}

# Wait until the block returns something true, and return that.
sub poll
{
	my ($what, $check, $limit) = @_;
	my $end = time() + ($limit || $PostgreSQL::Test::Utils::timeout_default);
	while (1)
	{
		my $found = $check->();
		return $found if $found;
		last if time() > $end;
		sleep 0.02;
	}
	diag("timed out waiting: $what");
	return;
}

# A running server that has the extension in "postgres".
#	conf => lines of postgresql.conf, init => arguments of init,
#	fsync => 1 for real durability, extension => 0, start => 0
sub nexus_node
{
	my ($name, %with) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my $fsync = $with{fsync} ? 'on' : 'off';

	$node->init(%{ $with{init} || {} });
	$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'nexus_pg'
nexus_pg.port = 0
max_worker_processes = 20
max_prepared_transactions = 10
log_statement = none
fsync = $fsync
CONF
	$node->append_conf('postgresql.conf', $with{conf}) if defined $with{conf};
	return $node if exists $with{start} && !$with{start};
	$node->start;
	create_extension($node) unless exists $with{extension} && !$with{extension};
	return $node;
}

# Create the extension and wait until this database's worker runs.
sub create_extension
{
	my ($node, $database) = @_;
	$database = 'postgres' unless defined $database;
	$node->safe_psql($database, 'CREATE EXTENSION nexus_pg');
	wait_running($node, $database);
	return;
}

sub wait_running
{
	my ($node, $database) = @_;
	$database = 'postgres' unless defined $database;
	return poll("the worker of $database", sub {
		return running_worker($node, $database);
	});
}

# The pid of the running worker; undef while there is none, or no server: then
# psql leaves without having read the query.
sub running_worker
{
	my ($node, $database) = @_;
	my ($status, $out) = eval { $node->psql($database,
		"SELECT pid FROM nexus.workers WHERE kind = 'worker' AND database = current_database() AND state = 'running'") };
	return defined $status && $status == 0 && $out ne '' ? $out : undef;
}

# Wait until another worker than this one runs, after a crash that restarts the server.
sub wait_restarted
{
	my ($node, $old, $database) = @_;
	return poll("another worker than $old", sub {
		my $pid = running_worker($node, $database || 'postgres');
		return $pid && $pid != $old && $pid;
	});
}

# CREATE SERVER for a handler, or for any URL.  Options are quoted here;
# retries are quick unless told otherwise.
sub create_endpoint
{
	my ($node, $name, $to, %options) = @_;
	my $database = delete $options{database} || 'postgres';
	my %all = (
		url => ref $to ? $to->url : $to,
		retry_initial_interval => '50ms',
		retry_max_interval => '200ms',
		%options);
	my $list = join ', ', map { "$_ " . quote($all{$_}) } grep { defined $all{$_} } sort keys %all;
	$node->safe_psql($database, "CREATE SERVER $name FOREIGN DATA WRAPPER nexus OPTIONS ($list)");
	return;
}

# Schedule an operation of the scripted handler and return its id.  Further
# arguments are those of nexus.schedule; {database} and {service} stand apart.
sub schedule
{
	my ($node, $endpoint, $operation, $input, %arguments) = @_;
	my $database = delete $arguments{database} || 'postgres';
	my $service = delete $arguments{service} || 'scripted';
	my @list = map { quote($_) } ($endpoint, $service, $operation);
	push @list, defined $input ? quote($json->encode($input)) : 'NULL';
	push @list, map { "$_ => " . quote($arguments{$_}) } sort keys %arguments;
	return $node->safe_psql($database, 'SELECT nexus.schedule(' . join(', ', @list) . ')');
}

sub state_of
{
	my ($node, $id, $database) = @_;
	return $node->safe_psql($database || 'postgres', 'SELECT nexus.state(' . quote($id) . ')');
}

# Wait until the operation is in one of these states (a pattern).
sub wait_state
{
	my ($node, $id, $pattern, $database) = @_;
	my $state = '';
	my $found = poll("state $pattern of $id", sub { $state = state_of($node, $id, $database); $state =~ /^(?:$pattern)$/ });
	diag("it is $state: " . value($node, 'SELECT to_json(o) FROM nexus.operation o WHERE id = ' . quote($id), $database)) unless $found;
	return $state;
}

sub wait_closed
{
	my ($node, $id, $database) = @_;
	return wait_state($node, $id, 'succeeded|failed|canceled|timed_out|terminated', $database);
}

# Run SQL that is to fail: its SQLSTATE and all that was said.
sub error_of
{
	my ($node, $sql, %with) = @_;
	my ($status, $out, $err) = $node->psql(
		$with{database} || 'postgres', "\\set VERBOSITY verbose\n$sql", on_error_stop => 1,
		$with{user} ? (extra_params => [ '-U', $with{user} ]) : ());
	my ($sqlstate) = $err =~ /(?:ERROR|FATAL):  (\w{5}):/;
	return wantarray ? ($sqlstate || '', $err) : ($sqlstate || '');
}

# What a query returns, as text.
sub value
{
	my ($node, $sql, $database) = @_;
	return $node->safe_psql($database || 'postgres', $sql);
}

# Begin a statement in a session of its own; what it says is in "out" and "err"
# of what finish_sql() returns.
sub begin_sql
{
	my ($node, $sql, $database) = @_;
	my %psql = (out => '', err => '');
	my $directory = PostgreSQL::Test::Utils::tempdir();
	append_to_file("$directory/statement.sql", "\\set VERBOSITY verbose\n$sql;\n");
	$psql{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($database || 'postgres'), '-f', "$directory/statement.sql" ],
		'>', \$psql{out}, '2>', \$psql{err});
	return \%psql;
}

sub finish_sql
{
	my ($psql) = @_;
	$psql->{run}->finish;
	chomp $psql->{out};
	return $psql;
}

# The row of one operation in a view, by column; undef where there is none.
sub row_of
{
	my ($node, $view, $id, $database) = @_;
	my $key = $view =~ /^(?:operations|pending_operations)$/ ? 'id' : 'operation_id';
	my $row = value($node, "SELECT to_json(v) FROM nexus.$view v WHERE $key = " . quote($id), $database);
	return $row eq '' ? undef : json_of($row);
}

# The events of an operation in their order, without the common prefix.
sub history_of
{
	my ($node, $id) = @_;
	return value($node, "SELECT string_agg(replace(event_type, 'NexusOperation', ''), ' ' ORDER BY event_id) "
		. 'FROM nexus.operation_history WHERE operation_id = ' . quote($id));
}

# Its failed attempts in their order, as hashes.
sub attempts_of
{
	my ($node, $id) = @_;
	return @{ json_of(value($node, "SELECT coalesce(json_agg(a ORDER BY kind, attempt), '[]') "
		. 'FROM nexus.failed_attempts a WHERE operation_id = ' . quote($id))) };
}

# The JSON in DETAIL of what error_of() returned.
sub detail_of
{
	my ($said) = @_;
	return $said =~ /^(?:psql:\S+ )?DETAIL:  (\{.*\})$/m ? json_of($1) : {};
}

# Where a handler is to call back for an operation, as its start request said:
# the URL and the headers.
sub callback_of
{
	my ($handler, $id) = @_;
	my ($start) = $handler->log(request_id => $id, kind => 'start');
	my ($url) = $start->{path} =~ /[?&]callback=([^&]+)/;
	$url =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
	my %headers = ('Nexus-Operation-State' => 'succeeded', 'Content-Type' => 'application/json');
	for my $pair (@{ $start->{header_list} })
	{
		$headers{$1} = $pair->[1] if $pair->[0] =~ /^Nexus-Callback-(.*)$/i;
	}
	return ($url, \%headers);
}

# POST a completion and return the status of the answer.  Headers that are
# undef are left out; a body that is a function is sent in chunks.
sub post
{
	my ($url, $headers, $body) = @_;
	my %given = map { $_ => $headers->{$_} } grep { defined $headers->{$_} } keys %$headers;
	my $answer = HTTP::Tiny->new(timeout => 30)->post($url, { headers => \%given, content => defined $body ? $body : '' });
	return wantarray ? ($answer->{status}, $answer->{content}) : $answer->{status};
}

# POST a completion of known length; the socket is for its answer, later.
sub begin_post
{
	my ($url, $headers, $body) = @_;
	my ($port, $path) = $url =~ m{^http://[^/]+:(\d+)(/.*)};
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die "connect: $@";
	print $socket join("\r\n", "POST $path HTTP/1.1", 'Host: localhost', 'Content-Length: ' . length $body,
		(map { "$_: $headers->{$_}" } sort keys %$headers), '', $body);
	$socket->flush;
	return $socket;
}

# The status that came, or what came in its place; waits for it.
sub status_of
{
	my ($socket) = @_;
	my $line = readline $socket;
	return 'closed' unless defined $line;
	return $line =~ m{^HTTP/1\.1 (\d+)} ? $1 : $line;
}

# Has nothing come so far?
sub is_silent
{
	my ($socket) = @_;
	my $ready = '';
	vec($ready, fileno $socket, 1) = 1;
	return select($ready, undef, undef, 0.1) == 0;
}

# The ids of operations, as the keys of a hash.
sub ids_of
{
	my ($node, $where) = @_;
	return { map { $_ => 1 } split /\n/, value($node, 'SELECT id FROM nexus.operations' . ($where ? " WHERE $where" : '')) };
}

# Kill a server and all its processes at once, as a power failure would.
sub kill_server
{
	my ($node) = @_;
	my ($postmaster) = PostgreSQL::Test::Utils::slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my %parent;
	for my $stat (glob '/proc/[0-9]*/stat')
	{
		open my $file, '<', $stat or next;
		$parent{$1} = $2 if (readline($file) // '') =~ /^(\d+) \(.*\) \S (\d+)/;
	}
	my @children = grep { ($parent{$_} // 0) == $postmaster } keys %parent;
	$node->kill9;
	kill 'KILL', @children;
	poll('the end of the server', sub { !grep { is_alive($_) } $postmaster, @children });
	return;
}

# The pid of a process, kind as nexus.workers has it; undef while there is none.
sub nexus_pid
{
	my ($node, $kind, $database) = @_;
	my $where = $kind eq 'worker' ? 'AND database = current_database()' : '';
	my $pid = $node->safe_psql($database || 'postgres',
		"SELECT pid FROM nexus.workers WHERE kind = '$kind' AND state = 'running' $where");
	return $pid || undef;
}

sub wait_new_pid
{
	my ($node, $kind, $old, $database) = @_;
	return poll("another $kind than $old", sub {
		my $pid = nexus_pid($node, $kind, $database);
		return $pid && $pid != $old && $pid;
	});
}

sub listener_port
{
	my ($node) = @_;
	return poll('the port of the listener', sub {
		$node->safe_psql('postgres', "SELECT port FROM nexus.workers WHERE kind = 'listener' AND state = 'running'");
	});
}

# Is there such a process?
sub is_alive
{
	my ($pid) = @_;
	return -d "/proc/$pid";
}

# The scripted handler: test/peers/handler.py says what it can do.  With
# program => 'broken_http.py' it is that one.
package NexusTest::Handler;

use strict;
use warnings;

use File::Basename ();
use HTTP::Tiny;
use IO::Handle;
use IPC::Open2 ();

my $peers = File::Basename::dirname(__FILE__) . '/../../peers';

# Options are its own, without dashes: port, cert, key, client_ca, max_tls.
sub start
{
	my ($class, %options) = @_;
	my $program = $peers . '/' . (delete $options{program} || 'handler.py');
	my @arguments = map { (my $name = "--$_") =~ tr/_/-/; ($name, $options{$_}) } sort keys %options;
	my $self = bless {
		scheme => $options{cert} ? 'https' : 'http',
		http => HTTP::Tiny->new(timeout => 30)
	}, $class;

	$self->{pid} = IPC::Open2::open2($self->{out}, $self->{in}, 'python3', $program, @arguments);
	my $line = readline $self->{out};
	die "the handler did not start\n" unless defined $line && $line =~ /^port (\d+) (\d+)/;
	($self->{port}, $self->{control}) = ($1, $2);
	return $self;
}

sub port { return $_[0]{port}; }
sub pid { return $_[0]{pid}; }
sub base { my ($self) = @_; return "$self->{scheme}://127.0.0.1:$self->{port}"; }
sub url { return $_[0]->base . '/nexus'; }

sub _ask
{
	my ($self, $method, $path, $script) = @_;
	my $answer = $self->{http}->request($method, "http://127.0.0.1:$self->{control}$path",
		{ content => defined $script ? NexusTest::json_text($script) : '' });
	die "handler: $answer->{status} $answer->{content}\n" unless $answer->{success};
	return NexusTest::json_of($answer->{content});
}

# All starts and cancels as they came: a list of hashes.
sub log
{
	my ($self, %which) = @_;
	my $query = join '&', map { "$_=$which{$_}" } sort keys %which;
	return @{ $self->_ask('GET', "/log?$query")->{entries} };
}

sub callbacks { return @{ $_[0]->_ask('GET', '/callbacks')->{entries} }; }
sub request_ids { return $_[0]->_ask('GET', '/request_ids'); }
sub stats { return $_[0]->_ask('GET', '/stats'); }
sub open_gate { my ($self, $gate) = @_; return $self->_ask('POST', "/open?gate=$gate"); }
sub forget { return $_[0]->_ask('POST', '/forget'); }
sub release { my ($self, %how) = @_; return $self->_ask('POST', '/release', \%how)->{released}; }
sub complete { my ($self, $id, %how) = @_; return $self->_ask('POST', "/complete?request_id=$id", \%how)->{completed}; }

# End it; every connection is closed by that.
sub stop
{
	my ($self, $signal) = @_;
	return unless $self->{pid};
	kill $signal || 'TERM', $self->{pid};
	waitpid $self->{pid}, 0;
	close $self->{in};
	close $self->{out};
	delete $self->{pid};
	return;
}

sub DESTROY { my ($self) = @_; local ($?, $!); $self->stop; return; }

1;
