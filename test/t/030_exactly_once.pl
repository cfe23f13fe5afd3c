# Every operation that commits is sent once, and no other, whatever the order of
# commits, with savepoints, rollbacks and prepared transactions.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use NexusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $WRITERS = 8;
my $TRANSACTIONS = 500;    # of each writer; about five operations come of each
my $AT_LEAST = 16_000;
my $node = nexus_node('main', conf => "max_connections = 30");
my $handler = NexusTest::Handler->start;
create_endpoint($node, 'hello', $handler);

# One in ten rolls back, one in ten is prepared; three in ten of the others roll
# back to a savepoint.  Every writer pauses for a while of its own before it
# commits, so that ids, transaction ids and commits come in different orders.
my $directory = PostgreSQL::Test::Utils::tempdir();
append_to_file("$directory/write.sql", <<'SQL');
\set how random(1, 10)
\set count random(1, 9)
\set pause random(0, 4000)
BEGIN;
SELECT count(nexus.schedule('hello', 'any', 'sync', '{}')) FROM generate_series(1, :count);
SAVEPOINT a;
SELECT nexus.schedule('hello', 'scripted', 'async', '{"after": 0, "result": 1}');
\if :how > 7
ROLLBACK TO a;
\else
RELEASE a;
\endif
SELECT pg_sleep(:pause / 1000000.0);
\if :how = 1
ROLLBACK;
\elif :how = 2
PREPARE TRANSACTION 'writer_:client_id';
SELECT pg_sleep(:pause / 1000000.0);
COMMIT PREPARED 'writer_:client_id';
\else
COMMIT;
\endif
SQL
my $prepared = 'abandoned';
value($node, "SELECT nexus.execute('hello', 'any', 'first')");
value($node, "BEGIN; SELECT nexus.schedule('hello', 'any', 'prepared'); PREPARE TRANSACTION '$prepared'");
command_ok([ 'pgbench', '-n', '-c', $WRITERS, '-j', 2, '-t', $TRANSACTIONS, '-f', "$directory/write.sql", $node->connstr('postgres') ],
	"$WRITERS writers");

my $count = value($node, 'SELECT count(*) FROM nexus.operations');
cmp_ok($count, '>=', $AT_LEAST, "$count operations were committed");
ok($node->poll_query_until('postgres', "SELECT count(*) FROM nexus.operations WHERE state <> 'succeeded'", '0'), 'all succeed');

# Compare without printing tens of thousands of ids where they differ.
sub same_ids
{
	my ($name) = @_;
	my $committed = ids_of($node);
	my $seen = $handler->request_ids;
	my @lost = grep { !$seen->{$_} } keys %$committed;
	my @strange = grep { !$committed->{$_} } keys %$seen;
	my @repeated = grep { $seen->{$_} != 1 } keys %$seen;
	is(scalar(@lost), 0, "$name: none is lost") or diag("for example $lost[0]");
	is(scalar(@strange), 0, "$name: none was sent that did not commit") or diag("for example $strange[0]");
	is(scalar(@repeated), 0, "$name: none was sent twice") or diag("for example $repeated[0]");
	return;
}

same_ids('all of them');
is(value($node, 'SELECT scheduled, succeeded FROM nexus.stat_endpoints'), "$count|$count", 'counted');
is(value($node, 'SELECT count(DISTINCT close_time) FROM nexus.operations'), $count, 'each closed at a time of its own');

# --- one that was prepared before all of them, and commits after them

value($node, "COMMIT PREPARED '$prepared'");
ok($node->poll_query_until('postgres', "SELECT count(*) FROM nexus.operations WHERE operation = 'prepared' AND state = 'succeeded'", '1'),
	'a transaction that was prepared first and commits last');
value($node, "BEGIN; SELECT nexus.schedule('hello', 'any', 'gone'); PREPARE TRANSACTION 'gone'");
value($node, "ROLLBACK PREPARED 'gone'");

# --- prepared before a crash, committed after it

value($node, "BEGIN; SELECT nexus.schedule('hello', 'any', 'survivor'); PREPARE TRANSACTION 'survivor'");
$node->stop('immediate');
$node->start;
wait_running($node);
value($node, "COMMIT PREPARED 'survivor'");
ok($node->poll_query_until('postgres', "SELECT count(*) FROM nexus.operations WHERE operation = 'survivor' AND state = 'succeeded'", '1'),
	'one that was prepared before a crash');
same_ids('in the end');

$handler->stop;
$node->stop;
done_testing();
