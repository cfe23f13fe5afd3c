# TLS towards handlers: whom we trust, who we say that we are, which versions.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $PASSWORD = 'pass word';
my $directory = PostgreSQL::Test::Utils::tempdir();

sub file { return "$directory/$_[0]"; }

sub openssl
{
	my $out;
	IPC::Run::run([ 'openssl', @_ ], '>&', \$out) or die "openssl @_: $out";
	return;
}

# A key NAME.key and a certificate NAME.crt, by an authority or by itself.
sub certificate
{
	my ($name, $authority, $subject_alt_name) = @_;
	my @key = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file("$name.key"));
	if (!$authority)
	{
		openssl('req', '-x509', @key, '-out', file("$name.crt"), '-subj', "/CN=$name", '-days', 2);
		return;
	}
	append_to_file(file("$name.ext"), "basicConstraints = CA:FALSE\n" . ($subject_alt_name ? "subjectAltName = $subject_alt_name\n" : ''));
	openssl('req', '-new', @key, '-out', file("$name.csr"), '-subj', "/CN=$name");
	openssl('x509', '-req', '-in', file("$name.csr"), '-CA', file("$authority.crt"), '-CAkey', file("$authority.key"),
		'-CAcreateserial', '-days', 2, '-extfile', file("$name.ext"), '-out', file("$name.crt"));
	return;
}

sub tls_handler
{
	my ($name, %options) = @_;
	return NexusTest::Handler->start(cert => file("$name.crt"), key => file("$name.key"), %options);
}

certificate('authority');
certificate('stranger');
certificate('handler', 'authority', 'IP:127.0.0.1');
certificate('elsewhere', 'authority', 'DNS:elsewhere.example');
certificate($_, 'authority') for qw(of-server of-mapping);
certificate('unknown', 'stranger');
openssl('ec', '-in', file('of-mapping.key'), '-aes256', '-passout', "pass:$PASSWORD", '-out', file('locked.key'));

my $node = nexus_node('main');
my $handler = tls_handler('handler');
my $trust = file('authority.crt');

# The first attempt fails, to be tried again, for this reason; nothing arrives.
sub is_refused
{
	my ($endpoint, $to, $reason, $name) = @_;
	my $id = schedule($node, $endpoint, 'echo');
	is(wait_state($node, $id, 'backing_off|succeeded|failed'), 'backing_off', "scenario 23: $name: fails, and is tried again");
	my ($attempt) = attempts_of($node, $id);
	is($attempt->{http_status}, undef, "$name: there was no answer");
	like($attempt->{failure}{message}, $reason, "$name: the reason is said");
	is(scalar($to->log(request_id => $id)), 0, "$name: no request has come through");
	return $id;
}

sub succeeds
{
	my ($endpoint, $name, $user) = @_;
	is($node->safe_psql('postgres', "SELECT nexus.execute('$endpoint', 'any', 'o', '17', await_timeout => '10 s')",
			extra_params => $user ? [ '-U', $user ] : []), '17', $name);
	return;
}

# Whose certificate the handler saw of the last request.
sub client_of { return ($_[0]->log)[-1]{client}; }

# --- whom we trust

create_endpoint($node, 'untrusting', $handler);
my $waiting = is_refused('untrusting', $handler, qr/certificate/, 'an authority that the system does not know');
create_endpoint($node, 'trusting', $handler, sslrootcert => $trust);
succeeds('trusting', 'with sslrootcert');
is_refused('untrusting', $handler, qr/certificate/, 'a connection of another endpoint to the same place');
value($node, "ALTER SERVER untrusting OPTIONS (ADD sslrootcert '$trust')");
is(wait_closed($node, $waiting), 'succeeded', 'sslrootcert is added: it goes on');

create_endpoint($node, 'mistaken', $handler, sslrootcert => file('stranger.crt'));
is_refused('mistaken', $handler, qr/certificate/, 'another authority');
create_endpoint($node, 'lost', $handler, sslrootcert => file('missing.crt'));
is_refused('lost', $handler, qr/missing\.crt|CAfile/, 'a file that is not there');

my $elsewhere = tls_handler('elsewhere');
create_endpoint($node, 'elsewhere', $elsewhere, sslrootcert => $trust);
is_refused('elsewhere', $elsewhere, qr/certificate|name/, 'a certificate of another host');

for my $option (qw(sslmode sslverify ssl_verify_peer ssl_verify_host insecure))
{
	is(error_of($node, "ALTER SERVER elsewhere OPTIONS (ADD $option 'off')"), 'HV00D', "there is no option $option");
}

# --- which versions

is(error_of($node, q{ALTER SERVER trusting OPTIONS (ADD ssl_min_protocol_version 'TLSv1.1')}), '22023', 'not below TLS 1.2');
my $dated = tls_handler('handler', max_tls => '1.2');
create_endpoint($node, 'modern', $dated, sslrootcert => $trust, ssl_min_protocol_version => 'TLSv1.3');
is_refused('modern', $dated, qr/version|protocol|alert|SSL/i, 'TLS 1.3 wanted, 1.2 found');
create_endpoint($node, 'dated', $dated, sslrootcert => $trust, ssl_min_protocol_version => 'TLSv1.2');
succeeds('dated', 'TLS 1.2 wanted and found');
create_endpoint($node, 'usual', $dated, sslrootcert => $trust);
succeeds('usual', 'TLS 1.2 is enough where nothing is said');
value($node, q{ALTER SERVER trusting OPTIONS (ADD ssl_min_protocol_version 'TLSv1.3')});
succeeds('trusting', 'TLS 1.3 wanted and found');

# --- who we say that we are

my $strict = tls_handler('handler', client_ca => $trust);
create_endpoint($node, 'nameless', $strict, sslrootcert => $trust);
is_refused('nameless', $strict, qr/alert|certificate|reset|SSL|empty reply/i, 'no client certificate');
create_endpoint($node, 'strict', $strict, sslrootcert => $trust, sslcert => file('of-server.crt'), sslkey => file('of-server.key'));
succeeds('strict', 'with that of the server');
is(client_of($strict), 'of-server', 'the handler has seen it');
create_endpoint($node, 'unknown', $strict, sslrootcert => $trust, sslcert => file('unknown.crt'), sslkey => file('unknown.key'));
is_refused('unknown', $strict, qr/alert|certificate|reset|SSL|empty reply/i, 'one that the handler does not accept');
create_endpoint($node, 'mismatched', $strict, sslrootcert => $trust, sslcert => file('of-server.crt'), sslkey => file('unknown.key'));
is_refused('mismatched', $strict, qr/key/i, 'with the key of another, though a connection is there');

value($node, 'CREATE ROLE alice LOGIN; GRANT USAGE ON FOREIGN SERVER strict TO alice; CREATE USER MAPPING FOR alice SERVER strict '
	. 'OPTIONS (' . join(', ', 'sslcert ' . quote(file('of-mapping.crt')), 'sslkey ' . quote(file('of-mapping.key'))) . ')');
succeeds('strict', "with that of the role's mapping", 'alice');
is(client_of($strict), 'of-mapping', "it comes before the server's");
succeeds('strict', 'others');
is(client_of($strict), 'of-server', "go on with the server's");
my %connections = map { $_->{connection} => 1 } grep { $_->{client} eq 'of-server' } $strict->log;
is(scalar(keys %connections), 1, 'on the connection of before');

# --- a key that is locked

create_endpoint($node, 'locked', $strict, sslrootcert => $trust);
value($node, 'CREATE USER MAPPING FOR PUBLIC SERVER locked OPTIONS (sslcert ' . quote(file('of-mapping.crt'))
	. ', sslkey ' . quote(file('locked.key')) . ')');
$waiting = is_refused('locked', $strict, qr/key/i, 'a locked key without a password');
value($node, q{ALTER USER MAPPING FOR PUBLIC SERVER locked OPTIONS (ADD sslpassword 'wrong')});
is_refused('locked', $strict, qr/key/i, 'a wrong password');
value($node, "ALTER USER MAPPING FOR PUBLIC SERVER locked OPTIONS (SET sslpassword '$PASSWORD')");
is(wait_closed($node, $waiting), 'succeeded', 'with sslpassword it goes on');
is(client_of($strict), 'of-mapping', 'under that name');
unlike(slurp_file($node->logfile), qr/$PASSWORD(?!')/, 'the password is not in the log');

$_->stop for $handler, $elsewhere, $dated, $strict;
$node->stop;
done_testing();
