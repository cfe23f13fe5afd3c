"""The curves of throughput and its cost.

Keys of the values: per_second from the SELECT on, from_commit from its COMMIT
on, bare of libcurl alone; worker_us and server_us, processor time per
operation of the worker and of all processes of the server; worker_mb, memory;
schedule_us, how long scheduling took, per operation; mean_group, outcomes in a
commit; closed, rows that had closed before the run.  one_ is before those of
one endpoint among many that rest.
"""
import contextlib
import json
import os
import random
import string

from curve import Cost, Curve, Line, Panel, interleaved, median, step_by_step
from environment import (AsyncHandler, Clock, Handler, Request, Server, cpu_seconds, directory_of_its_own,
                         own_memory_mb, program, wait_for)

SCALE = float(os.environ.get("SCALE", 1))
IN_FLIGHT = 64
COUNT = max(int(20000 * SCALE), 2 * IN_FLIGHT)  # operations of a run, where all runs have as many
SECONDS = max(2.5 * SCALE, 0.2)  # of a run, where they do not
LEAST, MOST = 32, 50000  # operations of such a run
CHUNK = 100000  # operations scheduled in one statement to be held
HOLD_SECONDS = 300

OPEN = [max(int(n * SCALE), 1) for n in (1000, 10000, 100000, 1000000)]
CLOSED = [int(n * SCALE) for n in (0, 10000, 100000, 1000000)]
SIZES = [10, 100, 1000, 10000, 100000, 1000000]
IN_FLIGHTS = [1, 2, 4, 8, 16, 32, 64, 128, 256]
ENDPOINTS = [n for n in (1, 10, 100, 1000, 10000) if n <= COUNT]

INPUT = '{"name": "Ada Lovelace", "greeting": "hello"}'
CLOSED_DAYS = 5  # over which closed rows are spread; less than retention

# Files cannot be POSTed to, so the error is a redirect to the file.
PAYLOAD_LOCATION = """location /payload.service/ {{
            root {directory};
            error_page 405 =200 $uri;
            client_max_body_size 0;
            open_file_cache max=100;
        }}"""


def schedule(count, endpoint="'bench'", service="bench.service", operation="say-hello", document=INPUT):
    """A statement; endpoint is an expression that may use i, which counts from 0."""
    return (f"SELECT count(nexus.schedule({endpoint}, '{service}', '{operation}', '{document}'))"
            f" FROM generate_series(0, {count} - 1) i")


# --- what is read from the kernel -------------------------------------------

def server_cpu_seconds(postmaster, tries=10):
    """Of all processes of a server, also of those that have ended."""
    with open(f"/proc/{postmaster}/stat") as file:
        ended = sum(map(int, file.read().rpartition(")")[2].split()[13:15])) / os.sysconf("SC_CLK_TCK")
    with open(f"/proc/{postmaster}/task/{postmaster}/children") as file:
        running = file.read().split()
    try:
        return ended + sum(map(cpu_seconds, running))
    except (FileNotFoundError, ProcessLookupError):  # one has ended meanwhile
        if tries == 0:
            raise
        return server_cpu_seconds(postmaster, tries - 1)


# --- where it runs ----------------------------------------------------------

class Site:
    """A handler and a server of their own, and the programs that load them."""

    def __init__(self, directory, handler, server):
        self.directory = directory
        self.handler = handler
        self.server = server
        self.statement = os.path.join(directory, "statement.sql")
        self.request = Request(directory)
        self.request.capture(server)
        with open(os.path.join(server.data, "postmaster.pid")) as file:
            self.postmaster = int(file.readline())
        self.endpoint("bench", handler.port)

    def endpoint(self, name, port, in_flight=IN_FLIGHT):
        self.server.sql(f"""CREATE SERVER {name} FOREIGN DATA WRAPPER nexus
            OPTIONS (url 'http://127.0.0.1:{port}', max_in_flight '{in_flight}')""")

    def ours(self, statement, count):
        """One statement that schedules so many operations."""
        with open(self.statement, "w") as file:
            file.write(statement)
        worker = self.server.worker()
        server_start = server_cpu_seconds(self.postmaster)
        with Clock(worker=worker) as clock:
            run = program("throughput", self.server.conninfo(), "file", count, self.statement)
        server_used = server_cpu_seconds(self.postmaster) - server_start
        return {"count": count, "per_second": run["per_second"], "from_commit": run["per_second_from_commit"],
                "schedule_us": 1e6 / run["per_second"] - 1e6 / run["per_second_from_commit"],
                "worker_us": clock.used["worker"] / count * 1e6, "server_us": server_used / count * 1e6,
                "mean_group": run["mean_group"], "worker_mb": own_memory_mb(worker)}

    def bare(self, count, concurrency=IN_FLIGHT, path="/bench.service/say-hello", body=None):
        """The same requests by libcurl alone."""
        query = self.request.target.partition("?")[2]
        url = f"http://127.0.0.1:{self.handler.port}{path}?{query}"
        return program("bare_client", url, self.request.headers, body or self.request.body, max(count, concurrency),
                       concurrency)["per_second"]

    def usual(self):
        return {**self.ours(schedule(COUNT), COUNT), "bare": self.bare(COUNT)}


@contextlib.contextmanager
def site(settings=(), locations=""):
    with directory_of_its_own() as directory, \
            Handler(directory, locations.format(directory=directory)) as handler, \
            Server(directory, settings) as server:
        here = Site(directory, handler, server)
        here.usual()
        yield here


def enough(per_second):
    """Operations for a run of the wanted length."""
    return min(max(int(per_second * SECONDS), LEAST), MOST)


# --- open operations --------------------------------------------------------

def measure_open():
    with site() as here, AsyncHandler() as holder:
        server = here.server
        here.endpoint("hold", holder.port)

        def hold(count):
            held = int(server.sql("SELECT count(*) FROM nexus.operation WHERE endpoint = 'hold'"))
            while held < count:
                more = min(CHUNK, count - held)
                server.sql(f"""SELECT count(nexus.schedule('hold', 'bench.service', 'hold', '{INPUT}', '1 day'))
                    FROM generate_series(1, {more})""")
                held += more
                wait_for(server, f"SELECT started = {held} FROM nexus.endpoint_stat WHERE endpoint = 'hold'",
                         HOLD_SECONDS)
            server.settle()

        return step_by_step(OPEN, hold, here.usual)


# --- closed rows ------------------------------------------------------------

def copy_closed(server, count):
    """Copies of a row that closed earlier, the more so the higher their number, with ids of their time."""
    names = server.sql("""SELECT attname FROM pg_attribute
        WHERE attrelid = 'nexus.operation'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum""").split()
    earlier = f"interval '{CLOSED_DAYS} days' * ((i + 1) / {CLOSED[-1]}::float8)"
    expressions = {name: f"o.{name}" for name in names}
    for name in ("scheduled_time", "last_attempt_complete_time", "close_time"):
        expressions[name] = f"o.{name} - {earlier}"
    milliseconds = f"(extract(epoch FROM {expressions['scheduled_time']}) * 1000)::bigint"
    expressions["id"] = f"(lpad(to_hex({milliseconds}), 12, '0') || '7' || right(md5(i::text), 19))::uuid"
    server.sql(f"""INSERT INTO nexus.operation ({', '.join(names)}) SELECT {', '.join(expressions.values())}
        FROM closed_operation o, generate_series(0, {count - 1}) i""")


def measure_closed():
    with site() as here:
        server = here.server
        server.sql("CREATE TABLE closed_operation AS SELECT * FROM nexus.operation WHERE state = 'succeeded' LIMIT 1")

        def keep(count):
            server.sql("TRUNCATE nexus.operation")
            copy_closed(server, count)
            server.settle()

        def counted():
            closed = int(server.sql("SELECT count(*) FROM nexus.operation WHERE close_time IS NOT NULL"))
            return {"closed": closed, **here.usual()}

        points = step_by_step(CLOSED, keep, counted)
        for point in points:  # runs leave rows, too
            point["x"] = int(median(point, "closed"))
        return points


# --- size -------------------------------------------------------------------

def document_of(size):
    """JSON of so many bytes as jsonb prints it: records of words, filled up by a string.  Always the same."""
    choices = random.Random(size)
    words = ["".join(choices.choices(string.ascii_lowercase, k=choices.randint(3, 9))) for _ in range(500)]
    records = []
    length = 0
    while True:
        record = {"id": len(records), "name": " ".join(choices.choices(words, k=2)), "price": choices.randint(1, 9999),
                  "remark": " ".join(choices.choices(words, k=8))}
        length += len(json.dumps(record)) + 2
        if length > size - len('[""]'):
            break
        records.append(record)
    if not records:
        return json.dumps("x" * (size - 2))
    missing = size - len(json.dumps(records + [""]))
    return json.dumps(records + ["x" * missing])


def write_payloads(directory):
    """A document of each size, for the handler to return and for the bare client to send."""
    os.mkdir(os.path.join(directory, "payload.service"))
    documents = {}
    for size in SIZES:
        documents[size] = document_of(size)
        with open(os.path.join(directory, "payload.service", str(size)), "w") as file:
            file.write(documents[size])
    return documents


def measure_size():
    with site(locations=PAYLOAD_LOCATION) as here:
        documents = write_payloads(here.directory)
        counts = {}

        def ours(size, count):
            here.server.sql("TRUNCATE nexus.operation")
            return here.ours(schedule(count, service="payload.service", operation=size, document=documents[size]), count)

        def bare(size, count):
            body = os.path.join(here.directory, "payload.service", str(size))
            return here.bare(count, path=f"/payload.service/{size}", body=body)

        def both(size):
            if size not in counts:
                few = max(min(COUNT // 4, int(2e7 / size)), LEAST)
                counts[size] = enough(ours(size, few)["per_second"]), enough(bare(size, few))
            return {**ours(size, counts[size][0]), "bare": bare(size, counts[size][1])}

        return interleaved(SIZES, both)


# --- concurrency ------------------------------------------------------------

def measure_concurrency():
    with site({"nexus_pg.max_in_flight": IN_FLIGHTS[-1]}) as here:
        counts = {}

        def both(in_flight):
            here.server.sql(f"ALTER SERVER bench OPTIONS (SET max_in_flight '{in_flight}')")
            here.server.sql("TRUNCATE nexus.operation")
            few = max(COUNT // 20, in_flight)
            rate = here.ours(schedule(few), few)["per_second"]  # also for the change to be seen
            if in_flight not in counts:
                counts[in_flight] = enough(rate), enough(here.bare(few, in_flight))
            our_count, bare_count = counts[in_flight]
            return {**here.ours(schedule(our_count), our_count), "bare": here.bare(bare_count, in_flight)}

        return interleaved(IN_FLIGHTS, both)


# --- endpoints --------------------------------------------------------------

def measure_endpoints():
    """The worker remembers each endpoint that it has seen, so the state only grows."""
    with site({"nexus_pg.max_in_flight": IN_FLIGHT}) as here:
        made = 0

        def make(count):
            nonlocal made
            here.server.sql(f"""DO $$ BEGIN FOR i IN {made}..{count - 1} LOOP
                EXECUTE format('CREATE SERVER %I FOREIGN DATA WRAPPER nexus
                    OPTIONS (url ''http://127.0.0.1:{here.handler.port}'', max_in_flight ''{IN_FLIGHT}'')', 'bench_' || i);
                END LOOP; END $$""")
            made = count

        def both():
            here.server.sql("TRUNCATE nexus.operation")
            in_turn = here.ours(schedule(COUNT, endpoint=f"'bench_' || i % {made}"), COUNT)
            one = here.ours(schedule(COUNT), COUNT)
            return {**in_turn, **{"one_" + key: value for key, value in one.items()}, "bare": here.bare(COUNT)}

        return step_by_step(ENDPOINTS, make, both)


# --- the curves -------------------------------------------------------------

RATE = Panel("operations per second", [Line("per_second", "from the SELECT"),
                                       Line("from_commit", "from its COMMIT", dashed=True),
                                       Line("bare", "bare libcurl, requests", reference=True)])
CPU = Panel("processor, µs per operation", [Line("worker_us", "worker"), Line("server_us", "whole server")])
MEMORY = Panel("worker's own memory, MB", [Line("worker_mb", "without shared buffers")])

ENDPOINTS_RATE = Panel(RATE.y_label, [Line("per_second", "all in turn, from the SELECT"),
                                      Line("one_per_second", "one of them, from the SELECT"), RATE.lines[-1]])
ENDPOINTS_CPU = Panel("worker's processor, µs per operation", [Line("worker_us", "all in turn"),
                                                               Line("one_worker_us", "one of them")])
ALSO = ["schedule_us", "mean_group"]


def costs(grows=False):
    return [Cost("worker_us", "worker's processor time, µs per operation", grows),
            Cost("server_us", "whole server's processor time, µs per operation", grows)]


def logarithmic(panel):
    return Panel(panel.y_label, panel.lines, log_y=True)


CURVES = [
    Curve("open", "Throughput against open operations", "operations started and held", [RATE, CPU, MEMORY], costs(),
          measure_open, ALSO),
    Curve("size", "Throughput against payload size", "bytes of input and of result",
          [logarithmic(RATE), logarithmic(CPU)], costs(grows=True), measure_size, ALSO),
    Curve("concurrency", "Throughput against concurrency", "requests in flight at most", [RATE, CPU], costs(),
          measure_concurrency, ALSO),
    Curve("endpoints", "Throughput against number of endpoints", "endpoints", [ENDPOINTS_RATE, ENDPOINTS_CPU, MEMORY],
          [*costs(), Cost("one_worker_us", "worker's processor time with one of them in use, µs per operation")],
          measure_endpoints, ALSO),
    Curve("closed", "Throughput against closed rows kept", "closed rows", [RATE, CPU], costs(), measure_closed, ALSO),
]
