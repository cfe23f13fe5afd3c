#!/bin/bash
#
# coverage.sh
#	  Every scenario of a Nexus caller (1 to 98) and every item of the protocol
#	  (1 to 110) is named by a test or stands among those that do not apply.
#
# A test names them in its name: "scenario 7", "items 4 and 5", "items 10 to 12".
# Those that do not apply are rows of a table in test/README.md, "| items 62 to 69
# | why |".  doc/conformance.md says which tests name an item, and is held to it.
set -uo pipefail
cd "$(dirname "$0")/../.."

perl <<'PERL'
use strict;
use warnings;

my %LAST = (scenario => 98, item => 110);
my $NUMBER = qr/\d+(?: to \d+)?/;
my $NUMBERS = qr/$NUMBER(?:(?:, | and )$NUMBER)*/;
my $bad = 0;
my (%named, %spared, %documented);

sub complain { print "@_\n"; $bad = 1; }

sub lines_of
{
	my ($file) = @_;
	open my $handle, '<', $file or die "$file: $!";
	return <$handle>;
}

# The numbers of "4, 5 and 7 to 9"; what is out of range is said and left out.
sub expand
{
	my ($kind, $text, $where) = @_;
	my @found;
	for my $part (split /, | and /, $text)
	{
		my ($from, $to) = split / to /, $part;
		$to = $from unless defined $to;
		if ($from < 1 || $to > $LAST{$kind} || $from > $to) { complain("$where: no $kind $part"); }
		else { push @found, $from .. $to; }
	}
	return @found;
}

# "021", "unit url", "listener" or "regress", as doc/conformance.md calls the file.
sub place_of
{
	my ($file) = @_;
	return $1 if $file =~ m{^test/t/(\d+)_};
	return "unit $1" if $file =~ m{^test/unit/test_(\w+)\.c$};
	return 'listener' if $file eq 'test/unit/test_listener.py';
	return $file =~ m{^sql/} ? 'regress' : 'isolation';
}

sub read_tests
{
	my %comment = (pl => qr/^\s*#/, py => qr/^\s*#/, c => qr{^\s*(?:/\*|\*)});
	for my $file (glob 'test/t/*.pl test/unit/*.c test/unit/*.py sql/*.sql test/isolation/specs/*.spec')
	{
		next if $file =~ m{^sql/nexus_pg--};
		my ($type) = $file =~ /\.(\w+)$/;
		my $number = 0;
		for my $line (lines_of($file))
		{
			$number++;
			next if $comment{$type} && $line =~ $comment{$type};
			while ($line =~ /\b(scenario|item)s? ($NUMBERS)/g)
			{
				$named{$1}{$_}{ place_of($file) } = 1 for expand($1, $2, "$file:$number");
			}
		}
	}
	return;
}

sub read_spared
{
	for my $line (lines_of('test/README.md'))
	{
		next unless $line =~ /^\| (scenario|item)s? ($NUMBERS) \|(.*)\|$/;
		my ($kind, $numbers, $why) = ($1, $2, $3);
		complain("test/README.md: $kind $numbers: no reason") unless $why =~ /\w/;
		for my $number (expand($kind, $numbers, 'test/README.md'))
		{
			complain("test/README.md: $kind $number stands there twice") if $spared{$kind}{$number}++;
		}
	}
	return;
}

# Numbers and the places of their tests: each place names one of them, and each of
# them is named by one of the places.
sub check_places
{
	my ($document, $kind, $numbers, @places) = @_;
	my %actual;
	for my $number (expand($kind, $numbers, $document))
	{
		my %tests = %{ $named{$kind}{$number} || {} };
		complain("$document: $kind $number is named by " . join ', ', sort keys %tests) unless grep { $tests{$_} } @places;
		$documented{$number}++ && complain("$document: item $number stands there twice") if $kind eq 'item';
		%actual = (%actual, %tests);
	}
	complain("$document: $_ names none of $numbers") for grep { !$actual{$_} } @places;
	return;
}

# Rows "| 7, 25 | what | unit url, 021 |" of items, and those that end in
# "| scenarios 4 and 5: 020 |".
sub check_document
{
	my $document = 'doc/conformance.md';
	for my $line (lines_of($document))
	{
		if ($line =~ /^\| ($NUMBERS) \|.*\| ([^|]+) \|$/) { check_places($document, 'item', $1, split /, /, $2); }
		elsif ($line =~ /\| scenarios? ($NUMBERS): ([^|]+) \|$/) { check_places($document, 'scenario', $1, split /, /, $2); }
	}
	for my $number (sort { $a <=> $b } keys %{ $named{item} })
	{
		complain("$document: item $number is missing") unless $documented{$number};
	}
	return;
}

read_tests();
read_spared();
for my $kind (sort keys %LAST)
{
	for my $number (1 .. $LAST{$kind})
	{
		my ($is_named, $is_spared) = ($named{$kind}{$number}, $spared{$kind}{$number});
		complain("$kind $number: no test names it, and test/README.md does not say why") if !$is_named && !$is_spared;
		complain("$kind $number: test/README.md says it does not apply, but a test names it: " . join ', ', sort keys %$is_named)
		  if $is_named && $is_spared;
	}
}
check_document();
exit $bad;
PERL
