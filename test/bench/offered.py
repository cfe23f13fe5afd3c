"""The curve of latency against the rate at which operations are offered.

Sessions schedule an operation and commit, each at a time that was fixed
beforehand; that time is in the operation's summary, and latency counts from
there until close_time, which is taken when the close is written: without the
commit that shows it.  So what had to wait for a session counts as late, too.
The largest rates are more than the sessions can commit.

Keys of the values: p50, p90, p99 and max, milliseconds; achieved, operations
per second until the last was closed; late_p99, milliseconds by which calls were
sent too late; worker_us, processor time of the worker per operation.
"""
import json
import statistics

from curve import ROUNDS, Curve, Line, Panel, interleaved
from environment import Clock, program, wait_for
from growth import COUNT, INPUT, SCALE, site

SESSIONS = 8
SECONDS = max(4 * SCALE, 0.3)
SHARES = [0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0, 1.1]  # of what the sessions can do
ALL_AT_ONCE = 1e6

STATEMENT = f"SELECT nexus.schedule('bench', 'bench.service', 'say-hello', '{INPUT}', summary => $1)"

LATENCY_SQL = """
SELECT to_json(q) FROM (
    SELECT count(*), percentile_cont(ARRAY[0.5, 0.9, 0.99, 1]) WITHIN GROUP (
            ORDER BY 1000 * (extract(epoch FROM close_time) - summary::numeric)) AS latency,
        extract(epoch FROM max(close_time)) - {start} AS seconds
    FROM nexus.operation WHERE close_time > to_timestamp({start})) AS q
"""


def offer(here, rate, seconds):
    with Clock(worker=here.server.worker()) as clock:
        report = program("load", here.server.conninfo(), seconds, 0, "one", rate, SESSIONS, STATEMENT, 0, "")
        wait_for(here.server, "SELECT NOT EXISTS (SELECT FROM nexus.operation WHERE state = 'scheduled')")
    stream = report["streams"]["one"]
    found = json.loads(here.server.sql(LATENCY_SQL.format(start=report["start"])))
    if stream["failed"] or found["count"] != stream["done"]:
        raise SystemExit(f"bench: of {stream['done']} operations {found['count']} are closed")
    return {**dict(zip(("p50", "p90", "p99", "max"), found["latency"])), "offered": rate, "count": found["count"],
            "achieved": found["count"] / found["seconds"], "late_p99": stream["late"]["p99"],
            "worker_us": clock.used["worker"] / found["count"] * 1e6}


def measure_offered():
    with site() as here:
        saturation = statistics.median(offer(here, ALL_AT_ONCE, COUNT / ALL_AT_ONCE)["achieved"] for _ in range(ROUNDS))
        rates = [round(share * saturation, -1) for share in SHARES]
        return interleaved(list(map(int, rates)), lambda rate: offer(here, rate, SECONDS))


CURVES = [
    Curve("offered", f"Latency against offered load, {SESSIONS} sessions with a commit each",
          "operations offered per second",
          [Panel("from the time meant to the close, ms,\nwithout the commit that shows it",
                 [Line("p50", "p50"), Line("p90", "p90", dashed=True), Line("p99", "p99")], log_y=True),
           Panel("operations per second", [Line("achieved", "closed"), Line("offered", "offered", reference=True)]),
           Panel("processor, µs per operation", [Line("worker_us", "worker")])],
          [], measure_offered, also=["max", "late_p99"], log_x=False),
]
