"""Every operation of the soak has to be accounted for, and the log has to be quiet."""
import collections
import json
import re
import time

from soak_mix import KINDS

GIVE_UP_SECONDS = 90
STATES = ("succeeded", "failed", "canceled", "timed_out", "terminated")

LOG = re.compile(r" (LOG|WARNING|ERROR|FATAL|PANIC):  ")
USUAL_LOG = re.compile(r" LOG:  (starting PostgreSQL|listening on|database system|checkpoint |nexus_listener listens)")
MAX_LINES = 20

PARTS = ("failed_attempt", "operation_key", "request", "completion")  # go with their operations


class Account:
    """What the load generator was answered, over all of its runs."""

    def __init__(self):
        self.calls = collections.Counter()
        self.failed = collections.Counter()

    def add(self, report):
        for kind, stream in report["streams"].items():
            self.calls[kind] += stream["done"]
            self.failed[kind] += stream["failed"]

    def expected(self, kind):
        return dict.fromkeys(STATES, 0) | {kind.state: kind.operations(self.calls[kind.name])}


def rows(server, query):
    return json.loads(server.sql(f"SELECT coalesce(json_agg(q), '[]') FROM ({query}) AS q"))


def eventually_none(server, query, seconds):
    """What is left in the end of what should go away."""
    deadline = time.monotonic() + seconds
    while (left := rows(server, query)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def outcomes(server, account):
    """Counters know what retention has deleted, too."""
    counted = {row["endpoint"]: row for row in rows(server, "SELECT * FROM nexus.endpoint_stat")}
    for kind in KINDS:
        if account.failed[kind.name]:
            yield f"{account.failed[kind.name]} calls of the kind {kind.name} failed"
        found = {state: counted.get(kind.name, {}).get(state, 0) for state in STATES}
        if found != account.expected(kind):
            yield f"operations of the kind {kind.name} became {found}, and not {account.expected(kind)}"


def leftovers(server, retention):
    open_operations = """SELECT endpoint, state, count(*), min(scheduled_time) AS since FROM nexus.operation
        WHERE close_time IS NULL GROUP BY 1, 2"""
    for left in eventually_none(server, open_operations, GIVE_UP_SECONDS):
        yield f"still open: {left}"
    kept = "SELECT endpoint, state, count(*) FROM nexus.operation GROUP BY 1, 2"
    for left in eventually_none(server, kept, retention + GIVE_UP_SECONDS):
        yield f"retention has left {left}"
    for table in PARTS:
        for left in rows(server, f"SELECT count(*) FROM nexus.{table} HAVING count(*) > 0"):
            yield f"retention has left {left['count']} rows in nexus.{table}"


def errors(server):
    for row in rows(server, "SELECT kind, last_error FROM nexus.workers WHERE last_error IS NOT NULL"):
        yield f"the {row['kind']} has had an error: {row['last_error']}"


def log_lines(path):
    """Lines that are grave, and those that are only not usual."""
    grave, odd = [], []
    with open(path, errors="replace") as file:
        for line in file:
            if LOG.search(line) and not USUAL_LOG.search(line):
                (odd if " LOG:  " in line else grave).append(line.rstrip())
    return grave, odd


def print_log(grave, odd):
    for name, lines in (("not expected in the log", grave), ("in the log besides", odd)):
        if lines:
            print(f"{name}, {len(lines)} lines:")
            for line in lines[:MAX_LINES]:
                print(f"  {line}")
