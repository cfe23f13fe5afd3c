"""What the soak offers: kinds of operations, each at an endpoint of its own, so that counters tell them apart."""
import dataclasses
import math

PAYLOAD_BYTES = 100 * 1024
CANCEL_AFTER_MS = 1000

# The handler that answers at once, and what it answers besides.
LOCATIONS = """
        location /soak.service/refuse { return 400 '{"message": "nobody of that name"}'; }
        location /soak.service/busy { return 503 '{"message": "come back later"}'; }
"""

SETUP_SQL = f"""
CREATE TABLE soak_payload AS SELECT to_jsonb(string_agg(md5(i::text), '')) AS payload
    FROM generate_series(1, {PAYLOAD_BYTES} / 32) i;
CREATE SEQUENCE soak_key;
"""


@dataclasses.dataclass
class Kind:
    """All operations of a kind end in one state; second follows delay_ms after first, with the id."""
    name: str
    share: float
    sessions: int
    first: str
    second: str = ""
    delay_ms: int = 0
    state: str = "succeeded"
    is_async: bool = False
    waits_ms: int = 0  # until it may close, whatever we do
    calls: int = 1  # that make one operation
    options: str = ""

    def operations(self, calls):
        return math.ceil(calls / self.calls)


def schedule(kind, operation, document='{"name": "Ada Lovelace"}', more=""):
    return f"SELECT nexus.schedule('{kind}', 'soak.service', '{operation}', '{document}'{more})"


KINDS = [
    Kind("plain", 0.58, 8, schedule("plain", "greet")),
    Kind("callback", 0.20, 4, schedule("callback", "greet", more=", schedule_to_close_timeout => '1 min'"),
         is_async=True),
    Kind("execute", 0.06, 8,
         "SELECT nexus.execute('execute', 'soak.service', 'greet', '{\"name\": \"Ada Lovelace\"}')"),
    Kind("await", 0.04, 16, schedule("await", "delay-20", more=", schedule_to_close_timeout => '1 min'"),
         "SELECT nexus.await($1)", is_async=True, waits_ms=20),
    Kind("keyed", 0.06, 4, f"""SELECT nexus.schedule('keyed', 'soak.service', 'greet', '{{}}',
         operation_key => 'order ' || (nextval('soak_key') + 1) / 2)""", calls=2),
    Kind("cancel", 0.02, 4, schedule("cancel", "until-canceled", more=", schedule_to_close_timeout => '1 min'"),
         "SELECT nexus.cancel($1, 'nobody waits for it any more')", CANCEL_AFTER_MS, state="canceled", is_async=True,
         waits_ms=CANCEL_AFTER_MS),
    Kind("refused", 0.02, 2, schedule("refused", "refuse"), state="failed"),
    # breakers would open: nothing but failures come from there
    Kind("busy", 0.01, 2, schedule("busy", "busy", more=", schedule_to_close_timeout => '5 s'"), state="timed_out",
         waits_ms=5000, options=", breaker_failures '0'"),
    Kind("silent", 0.008, 2, schedule("silent", "hold", more=", schedule_to_close_timeout => '2 s'"),
         state="timed_out", is_async=True, waits_ms=2000),
    Kind("large", 0.002, 2, """SELECT nexus.schedule('large', 'soak.service', 'greet',
         (SELECT payload FROM soak_payload))"""),
]


def endpoints_sql(handler, async_handler):
    def url(kind):
        return f"http://127.0.0.1:{async_handler.port if kind.is_async else handler.port}"

    return "".join(f"""CREATE SERVER "{kind.name}" FOREIGN DATA WRAPPER nexus
        OPTIONS (url '{url(kind)}'{kind.options});""" for kind in KINDS)


def load_arguments(server, rate, seconds, report_seconds=0):
    """Of the load generator, for the whole mix: so many calls a second."""
    arguments = [server.conninfo() + " application_name=load", seconds, report_seconds]
    for kind in KINDS:
        arguments += [kind.name, rate * kind.share, kind.sessions, kind.first, kind.delay_ms, kind.second]
    return list(map(str, arguments))
