"""pg_net beside us, where it is installed: requests in bulk to the same handler.

It takes pg_net.batch_size requests at a time, each over a connection of its
own, and sleeps a second after every batch.  So which size is best depends on
the count; rounds go through some, and the best of the complete runs counts.
"""
import os
import time

from environment import Server, run, wait_for

BATCH_SIZES = [5000, 4000, 3000]
SMALL_COUNT = 4000
GIVE_UP_SECONDS = 120

SEND = """SELECT count(net.http_post('{url}', '{{"name": "Ada Lovelace", "greeting": "hello"}}',
    timeout_milliseconds := 60000)) FROM generate_series(1, {count})"""

# In one session, since to ask is to start a process otherwise.
WAIT = """DO $$
DECLARE
    give_up timestamptz := clock_timestamp() + interval '{seconds} s';
BEGIN
    WHILE (SELECT count(*) FROM net._http_response) < {count} AND clock_timestamp() < give_up LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$"""


def is_installed():
    return os.path.exists(os.path.join(run("pg_config", "--sharedir"), "extension", "pg_net.control"))


class PgNet:
    """A server of its own with pg_net."""

    def __init__(self, directory, url):
        self.url = url
        path = os.path.join(directory, "pg_net")
        os.mkdir(path)
        self.server = Server(path, extension="pg_net")
        self.version = self.server.sql("SELECT extversion FROM pg_extension WHERE extname = 'pg_net'")
        self.send(SMALL_COUNT, SMALL_COUNT)  # which makes the connections

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.server.__exit__(*error)

    def prepare(self, batch_size):
        self.server.sql(f"ALTER SYSTEM SET pg_net.batch_size = {batch_size}")
        self.server.sql("SELECT pg_reload_conf()")
        self.server.sql("TRUNCATE net._http_response")
        wait_for(self.server, "SELECT state = 'idle' FROM pg_stat_activity WHERE backend_type LIKE 'pg_net%'")

    def send(self, count, batch_size):
        """From the SELECT until all responses are there; complete: each is a 200."""
        self.prepare(batch_size)
        start = time.monotonic()
        self.server.sql(SEND.format(url=self.url, count=count))
        self.server.sql(WAIT.format(count=count, seconds=GIVE_UP_SECONDS))
        seconds = time.monotonic() - start
        good = int(self.server.sql("SELECT count(*) FROM net._http_response WHERE status_code = 200"))
        return {"count": count, "batch_size": batch_size, "per_second": good / seconds, "complete": good == count}

    def measure_round(self, number, count):
        return {"bulk": self.send(count, BATCH_SIZES[number % len(BATCH_SIZES)]),
                "small": self.send(SMALL_COUNT, SMALL_COUNT)}
