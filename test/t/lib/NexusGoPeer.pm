# A handler on the old wire as the peer of a test: test/peers/go.
package NexusGoPeer;

use strict;
use warnings;

use HTTP::Tiny ();
use IPC::Open2 ();
use NexusTest ();

# Needs NEXUS_GO_PEER, the program.
sub start
{
	my ($class) = @_;
	my $program = $ENV{NEXUS_GO_PEER} or die "NEXUS_GO_PEER is not set\n";
	my $self = bless { http => HTTP::Tiny->new(timeout => 60) }, $class;

	$self->{pid} = IPC::Open2::open2($self->{out}, $self->{in}, $program);
	my ($port) = (readline($self->{out}) // '') =~ /^port (\d+)$/;
	die "the peer written in Go did not start\n" unless $port;
	$self->{base} = "http://127.0.0.1:$port";
	return $self;
}

sub url { return $_[0]{base} . '/nexus'; }

sub _ask
{
	my ($self, $method, $path, $content) = @_;
	my $answer = $self->{http}->request($method, $self->{base} . $path, { content => $content });
	die "the peer written in Go: $answer->{status} $answer->{content}\n" unless $answer->{success};
	return NexusTest::json_of($answer->{content});
}

# What it has seen of an operation: {started}, {starts}, {cancels}, {deliveries}.
sub record
{
	my ($self, $id) = @_;
	return $self->_ask('GET', "/record?request_id=$id", '');
}

# Deliver a completion of an operation; how that was answered.
sub complete
{
	my ($self, $id, %completion) = @_;
	return $self->_ask('POST', "/complete?request_id=$id", NexusTest::json_text(\%completion));
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
