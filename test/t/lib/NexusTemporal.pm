# A Temporal Server with a worker as the peer of a test: test/peers/temporal.py.
package NexusTemporal;

use strict;
use warnings;

use File::Basename ();
use IPC::Open2 ();
use IPC::Run ();
use PostgreSQL::Test::Utils ();

my $peers = File::Basename::dirname(__FILE__) . '/../../peers';

# Needs NEXUS_VENV, where the Temporal Server was installed.
sub start
{
	my ($class) = @_;
	my $venv = $ENV{NEXUS_VENV} or die "NEXUS_VENV is not set\n";
	my $self = bless { temporal => "$venv/bin/temporal" }, $class;
	my $logs = PostgreSQL::Test::Utils::tempdir();

	$self->{pid} = IPC::Open2::open2($self->{out}, $self->{in}, "$venv/bin/python", "$peers/temporal.py", $venv, $logs);
	while (my $line = readline $self->{out})
	{
		chomp $line;
		return $self if $line eq 'ready';
		my ($name, $value) = split / /, $line, 2;
		$self->{$name} = $value;
	}
	die "the Temporal Server did not start\n";
}

sub url { return $_[0]{url}; }

# A URL of operations that no worker polls for.
sub deserted_url { my ($self) = @_; return "$self->{http}/namespaces/$self->{namespace}/task-queues/nobody/nexus-services"; }

# Run the temporal program; its output.
sub ask
{
	my ($self, @arguments) = @_;
	my ($out, $err);

	IPC::Run::run([ $self->{temporal}, '--address', $self->{address}, '--namespace', $self->{namespace}, @arguments ],
		'<', \undef, '>', \$out, '2>', \$err)
		or die "temporal @arguments: $err\n";
	return $out;
}

sub workflow_count
{
	my ($self) = @_;
	my ($count) = $self->ask('workflow', 'count') =~ /(\d+)/;
	return $count;
}

sub stop
{
	my ($self) = @_;
	return unless $self->{pid};
	close $self->{in};
	waitpid $self->{pid}, 0;
	undef $self->{pid};
	return;
}

sub DESTROY { my ($self) = @_; local ($?, $!); $self->stop; return; }

1;
