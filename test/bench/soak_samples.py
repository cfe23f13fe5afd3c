"""What the soak looks at every now and then: processes by /proc, the rest by one query."""
import json
import os
import statistics

from environment import cpu_seconds, own_memory_mb
from soak_mix import KINDS

MB = 1024 * 1024
AWAITED = ("execute", "await")
WAITS_MS = {kind.name: kind.waits_ms for kind in KINDS}

# Partial indexes find what is open, whatever there is of closed rows.  All that waits for a callback has a deadline.
SAMPLE_SQL = """
SET enable_seqscan = off;
SET jit = off;
SELECT json_build_object(
    'time', extract(epoch FROM clock_timestamp()),
    'open', (SELECT count(*) FROM nexus.operation WHERE state = 'scheduled' AND deadline IS NULL)
        + (SELECT count(*) FROM nexus.operation WHERE state = 'backing_off' AND deadline IS NULL)
        + (SELECT count(*) FROM nexus.operation WHERE close_time IS NULL AND deadline IS NOT NULL),
    'closed', (SELECT coalesce(sum(succeeded + failed + canceled + timed_out + terminated), 0)
        FROM nexus.endpoint_stat),
    'latency', (SELECT coalesce(json_object_agg(endpoint, quantiles), '{{}}') FROM (
        SELECT endpoint, percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (
            ORDER BY 1000 * extract(epoch FROM close_time - scheduled_time)) AS quantiles
        FROM nexus.operation WHERE close_time > to_timestamp({since}) GROUP BY endpoint) AS of_endpoint),
    'sizes', (SELECT json_object_agg(relname, ARRAY[pg_table_size(oid), pg_indexes_size(oid),
            coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0)])
        FROM pg_class WHERE relnamespace = 'nexus'::regnamespace AND relkind = 'r'),
    'wal_bytes', (SELECT wal_bytes FROM pg_stat_wal),
    'vacuums', (SELECT sum(autovacuum_count) FROM pg_stat_all_tables WHERE schemaname = 'nexus'),
    'backends', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
        AND pid <> pg_backend_pid()),
    'loaders', (SELECT coalesce(json_agg(pid), '[]') FROM pg_stat_activity WHERE application_name = 'load'),
    'processes', (SELECT json_object_agg(kind, w) FROM nexus.workers w
        WHERE kind = 'listener' OR database = current_database()))
"""


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class LoadReports:
    """What the load generator has printed, a line each time."""

    def __init__(self, path):
        self.file = open(path)
        self.rest = ""
        self.newest = {"streams": {}}

    def read(self):
        """Whether there was a new one."""
        *lines, self.rest = (self.rest + self.file.read()).split("\n")
        if lines:
            self.newest = json.loads(lines[-1])
        return bool(lines)


class Sampler:
    """Each sample is what has been since the one before."""

    def __init__(self, server, reports):
        self.server = server
        self.reports = reports
        self.before = self.read(0)
        self.start = self.before["time"]
        self.samples = []

    def read(self, since):
        raw = json.loads(self.server.sql(SAMPLE_SQL.format(since=since)))
        raw["cpu"] = {}
        for name, process in raw["processes"].items():
            if process["pid"] is None:
                raise RuntimeError(f"the {name} does not run: {process['state']}, {process['last_error']}")
            raw["cpu"][name] = cpu_seconds(process["pid"])
        return raw

    def rates(self, raw):
        """Figures that are differences."""
        before = self.before
        seconds = raw["time"] - before["time"]
        total = max(raw["closed"] - before["closed"], 1)
        figures = {"closed per second": total / seconds,
                   "WAL, bytes per operation": (raw["wal_bytes"] - before["wal_bytes"]) / total}
        for name in raw["cpu"]:
            figures[f"processor, us per operation: {name}"] = (raw["cpu"][name] - before["cpu"][name]) / total * 1e6
        return figures

    def memory(self, raw):
        figures = {}
        for name, process in raw["processes"].items():
            figures[f"memory, MB: {name}"] = own_memory_mb(process["pid"])
            figures[f"descriptors: {name}"] = descriptors(process["pid"])
        loaders = [own_memory_mb(pid) for pid in raw["loaders"]]
        if loaders:
            figures["memory, MB: session, mean"] = statistics.mean(loaders)
            figures["memory, MB: session, largest"] = max(loaders)
        figures["backends"] = raw["backends"]
        return figures

    @staticmethod
    def sizes(raw):
        figures = {}
        for table, (whole, indexes, toast) in sorted(raw["sizes"].items()):
            figures[f"size, MB: {table}"] = (whole - toast) / MB
            figures[f"size, MB: {table}, indexes"] = indexes / MB
            figures[f"size, MB: {table}, out of line"] = toast / MB
        return figures

    def latencies(self, raw):
        """Medians, and tails: of the slowest hundredth.  Both without what a kind waits for anyway."""
        figures = {}
        for kind, (p50, p99) in sorted(raw["latency"].items()):
            figures[f"latency, ms: {kind}"] = p50 - WAITS_MS[kind]
            figures[f"tail, ms: {kind}"] = p99 - WAITS_MS[kind]
        streams = self.reports.newest["streams"] if self.reports.read() else {}
        for kind in set(AWAITED) & set(streams):
            seen = streams[kind]["latency"]
            figures[f"latency, ms: {kind}, as its session sees it"] = seen["p50"] - WAITS_MS[kind]
            figures[f"tail, ms: {kind}, as its session sees it"] = seen["p99"] - WAITS_MS[kind]
        if streams:
            figures["sent too late, ms, p99"] = max(stream["late"]["p99"] for stream in streams.values())
        return figures

    def take(self):
        raw = self.read(self.before["time"])
        for name, process in raw["processes"].items():
            if process["pid"] != self.before["processes"][name]["pid"]:
                raise RuntimeError(f"the {name} was started anew: {process['last_error']}")
        sample = {"seconds": raw["time"] - self.start, "vacuums": raw["vacuums"], **self.rates(raw), **self.memory(raw),
                  "open operations": raw["open"], **self.sizes(raw), **self.latencies(raw)}
        self.before = raw
        self.samples.append(sample)
        return sample
