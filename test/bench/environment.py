"""What the benchmarks run in: a server, handlers, programs, and the clock on their processors.

test/run starts them as an ordinary user with the private programs first in
PATH.
"""
import contextlib
import json
import os
import platform
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

MAX_CONNECTIONS = 600

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join("build", "bench")
CFLAGS = ["-std=gnu99", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]
PROGRAMS = {"bare_client": [], "throughput": [], "latency": [], "sleepers": [], "load": [],
            "async_handler": ["callbacks", "connection"]}
CALLBACK_CONNECTIONS = 64

RUN_SECONDS = 900  # that a command may take
REQUEST_SECONDS = 60  # that a request of ours may take to come
END_SECONDS = 10  # that a handler may take to end

NGINX_CONF = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    default_type application/json;
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 '{{"message": "Hello, Ada Lovelace!", "language": "en"}}'; }}
        location /bench.service/start {{
            return 201 '{{"token": "$http_nexus_callback_nexus_pg_token", "state": "running"}}';
        }}
        {locations}
    }}
}}
"""

SERVER_CONF = """
listen_addresses = ''
unix_socket_directories = '{directory}'
max_connections = {connections}
shared_preload_libraries = '{extension}'
nexus_pg.port = 0
"""

# libcurl writes these itself.
OWN_HEADERS = {"host", "accept", "content-length", "user-agent"}


def run(*command, timeout=RUN_SECONDS):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        sys.exit(f"bench: {' '.join(command)} did not end within {timeout} s")
    if done.returncode != 0:
        sys.exit(f"bench: {' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


@contextlib.contextmanager
def directory_of_its_own():
    """Gone afterwards, unless KEEP=1; test/run removes it where we cannot."""
    directory = tempfile.mkdtemp(prefix="bench.", dir=os.environ.get("NEXUS_WORK"))
    try:
        yield directory
    finally:
        if os.environ.get("KEEP") != "1":
            shutil.rmtree(directory, ignore_errors=True)


def pkg_config(*arguments):
    return run("pkg-config", *arguments).split()


def raise_limits():
    """pg_net has a connection for each request of a batch, and nginx the other ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def build():
    raise_limits()
    os.makedirs(OUT, exist_ok=True)
    for program, parts in PROGRAMS.items():
        sources = [os.path.join(HERE, name + ".c") for name in [program, "bench"] + parts]
        run(os.environ.get("CC", "cc"), *CFLAGS, *pkg_config("--cflags", "libpq", "libcurl"), *sources,
            "-o", os.path.join(OUT, program), *pkg_config("--libs", "libpq", "libcurl"), "-lm")


def program(name, *arguments):
    return json.loads(run(os.path.join(OUT, name), *map(str, arguments)))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_seconds(pid):
    with open(f"/proc/{pid}/schedstat") as file:
        return int(file.read().split()[0]) / 1e9


def end(process):
    """Of a process that was told to; killed where it does not."""
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Handler:
    """nginx on a free port; locations are more of its configuration."""

    def __init__(self, directory, locations=""):
        self.port = free_port()
        conf = os.path.join(directory, "nginx.conf")
        with open(conf, "w") as file:
            file.write(NGINX_CONF.format(directory=directory, port=self.port, locations=locations))
        self.process = subprocess.Popen(["nginx", "-c", conf, "-e", os.path.join(directory, "nginx.log")])
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                break
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    sys.exit("bench: nginx did not start")
                time.sleep(0.02)
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(children) as file:
            self.worker = int(file.read().split()[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGQUIT)
        end(self.process)


class AsyncHandler:
    """async_handler on a free port; counters are what it says at its end."""

    def __init__(self, connections=CALLBACK_CONNECTIONS):
        self.process = subprocess.Popen([os.path.join(OUT, "async_handler"), str(connections)],
                                        stdout=subprocess.PIPE, text=True)
        first = self.process.stdout.readline()
        if not first:
            sys.exit("bench: async_handler did not start")
        self.port = json.loads(first)["port"]
        self.pid = self.process.pid
        self.counters = None

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        self.process.terminate()
        end(self.process)
        last = self.process.stdout.read()
        if self.process.returncode != 0 and error is None:
            sys.exit("bench: async_handler has failed")
        self.counters = json.loads(last) if last else None


class Server:
    """A PostgreSQL of our own, with its defaults but for settings."""

    def __init__(self, directory, settings=(), extension="nexus_pg"):
        self.directory = directory
        self.data = os.path.join(directory, "data")
        run("initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "--no-locale", "-E", "UTF8")
        with open(os.path.join(self.data, "postgresql.conf"), "a") as file:
            file.write(SERVER_CONF.format(directory=directory, connections=MAX_CONNECTIONS, extension=extension))
            for name, value in dict(settings).items():
                file.write(f"{name} = '{value}'\n")
        self.control("start")
        self.sql(f"CREATE EXTENSION {extension}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.control("-m", "fast", "stop")

    def control(self, *arguments):
        run("pg_ctl", "-D", self.data, "-w", "-s", "-l", os.path.join(self.directory, "server.log"), *arguments)

    def conninfo(self, database="postgres"):
        return f"host={self.directory} user=postgres dbname={database}"

    def sql(self, text, database="postgres"):
        return run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo(database), "-c", text)

    def settle(self, database="postgres"):
        """No vacuum or checkpoint that is owed to what was done before."""
        self.sql("VACUUM (ANALYZE) nexus.operation", database)
        self.sql("CHECKPOINT")

    def worker(self, database="postgres"):
        return int(self.sql(f"SELECT pid FROM nexus.workers WHERE kind = 'worker' AND database = '{database}'"))

    def listener(self):
        return int(self.sql("SELECT pid FROM nexus.workers WHERE kind = 'listener'"))

    def launcher(self):
        return int(self.sql("SELECT pid FROM nexus.workers WHERE kind = 'launcher'"))


class Request:
    """One start request as the worker sends it, for the bare client to repeat."""

    def __init__(self, directory):
        self.headers = os.path.join(directory, "headers")
        self.body = os.path.join(directory, "body.json")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(REQUEST_SECONDS)
        self.port = self.listener.getsockname()[1]
        self.data = b""

    def answer(self):
        peer, _ = self.listener.accept()
        peer.settimeout(REQUEST_SECONDS)
        length = 0
        while b"\r\n\r\n" not in self.data or len(self.data.partition(b"\r\n\r\n")[2]) < length:
            more = peer.recv(65536)
            if not more:
                raise EOFError("the request to capture is not complete")
            self.data += more
            found = re.search(rb"content-length: *(\d+)", self.data, re.I)
            length = int(found.group(1)) if found else 0
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        peer.close()

    def capture(self, server):
        server.sql(f"""CREATE SERVER capture FOREIGN DATA WRAPPER nexus
            OPTIONS (url 'http://127.0.0.1:{self.port}')""")
        thread = threading.Thread(target=self.answer, daemon=True)
        thread.start()
        server.sql(f"""SELECT nexus.execute('capture', 'bench.service', 'say-hello',
            '{{"name": "Ada Lovelace", "greeting": "hello"}}', await_timeout => '{REQUEST_SECONDS} s')""")
        thread.join()
        head, _, body = self.data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.target = lines[0].split()[1]
        self.size = len(self.data)
        kept = [line for line in lines[1:] if line.split(":")[0].lower() not in OWN_HEADERS]
        with open(self.headers, "w") as file:
            file.write("\n".join(kept + ["Expect:"]) + "\n")
        with open(self.body, "wb") as file:
            file.write(body)


class Clock:
    """Processor time of some processes while something runs."""

    def __init__(self, **pids):
        self.pids = pids

    def __enter__(self):
        self.start = {name: cpu_seconds(pid) for name, pid in self.pids.items()}
        return self

    def __exit__(self, *_):
        self.used = {name: cpu_seconds(pid) - self.start[name] for name, pid in self.pids.items()}


def wakes(pid):
    """How often a process has gone to sleep, so how often it was awake.  Of one with threads, the first one's."""
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", file.read(), re.M).group(1))


def own_memory_mb(pid):
    """What a process has for itself: neither files nor shared buffers, whoever else has touched them."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return int(re.search(r"^Anonymous: *(\d+) kB", file.read(), re.M).group(1)) / 1024


def wait_for(server, question, seconds=60, database="postgres", pause=0.05):
    """Until the answer is true."""
    deadline = time.monotonic() + seconds
    while server.sql(question, database) != "t":
        if time.monotonic() > deadline:
            sys.exit(f"bench: not so in time: {question}")
        time.sleep(pause)


def file_system(path):
    found = subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "-T", path], stdout=subprocess.PIPE, text=True).stdout
    return found.strip() or "unknown"


def machine(server):
    with open("/proc/cpuinfo") as file:
        cpu = re.search(r"model name\s*: (.*)", file.read())
    version = subprocess.run(["nginx", "-v"], stderr=subprocess.PIPE, text=True).stderr
    return {
        "kernel": platform.release(),
        "cpu": cpu.group(1) if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "postgresql": server.sql("SHOW server_version"),
        "libcurl": pkg_config("--modversion", "libcurl")[0],
        "nginx": version.strip().rpartition("/")[2],
        "file_system": file_system(server.data),
        "settings": {name: server.sql(f"SHOW {name}") for name in
                     ("fsync", "synchronous_commit", "wal_sync_method", "full_page_writes", "shared_buffers")},
    }
