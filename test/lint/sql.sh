#!/bin/bash
#
# sql.sh
#	  The install script: every object is created by its qualified name, every
#	  function states its behaviour, nothing runs with another's rights.
set -uo pipefail
cd "$(dirname "$0")/../.."

perl - sql/nexus_pg--*.sql <<'PERL'
use strict;
use warnings;

my $bad = 0;

sub complain { print "@_\n"; $bad = 1; }

# Cut a script into statements; quoted bodies stay whole.
sub statements
{
	my ($text) = @_;
	my @found;
	$text =~ s/^\\.*$//mg;
	while ($text =~ /\G\s*((?:--[^\n]*\n|\$(\w*)\$.*?\$\2\$|'(?:[^']|'')*'|[^;'\$-]|[\$-])+?);/gs)
	{
		my $statement = $1;
		$statement =~ s/^\s*--[^\n]*\n//mg;
		push @found, $statement;
	}
	return @found;
}

sub check_function
{
	my ($file, $name, $text) = @_;
	my ($head) = $text =~ /^(.*?)(?:\bAS\b|\bBEGIN\b|$)/s;
	my $is_c = $text =~ /\bLANGUAGE\s+'?c\b'?/i;
	complain("$file: $name: no PARALLEL") if $text !~ /\bPARALLEL\s+(SAFE|UNSAFE|RESTRICTED)/i && $text !~ /CREATE\s+PROCEDURE/i;
	complain("$file: $name: no volatility")
	  if $text !~ /\b(VOLATILE|STABLE|IMMUTABLE)\b/i && $text !~ /CREATE\s+PROCEDURE/i;
	complain("$file: $name: no search_path") if !$is_c && $text !~ /\bSET\s+search_path\b/i && $text !~ /\bBEGIN\s+ATOMIC\b|\bRETURN\s/i;
}

foreach my $file (@ARGV)
{
	open my $handle, '<', $file or die "$file: $!";
	my $text = join '', <$handle>;
	complain("$file: does not refuse to be run by psql") if $text !~ /^\\echo Use "(CREATE|ALTER) EXTENSION/m;
	complain("$file: SECURITY DEFINER") if $text =~ /SECURITY\s+DEFINER/i;
	complain("$file: OR REPLACE or IF NOT EXISTS takes over objects of others")
	  if $text =~ /^\s*CREATE\s+(OR\s+REPLACE|\w+\s+IF\s+NOT\s+EXISTS)/mi;
	foreach my $statement (statements($text))
	{
		next if $statement !~ /^\s*CREATE\s+(?:UNLOGGED\s+|UNIQUE\s+)?(TABLE|VIEW|TYPE|FUNCTION|PROCEDURE|SEQUENCE|DOMAIN)\s+([\w."]+)/i;
		my ($kind, $name) = (uc $1, $2);
		complain("$file: $kind $name is not in schema nexus") if $name !~ /^nexus\./;
		complain("$file: $name has no security_barrier") if $kind eq 'VIEW' && $statement !~ /security_barrier/i;
		check_function($file, $name, $statement) if $kind eq 'FUNCTION' || $kind eq 'PROCEDURE';
	}
}
exit $bad;
PERL
