#!/usr/bin/env python3
#
# test_listener.py
#	  The program nexus_listener against a fake worker, without PostgreSQL.
#
# Usage: test_listener.py [path of nexus_listener], or NEXUS_LISTENER names it.
# Prints TAP.
import json
import os
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAMED = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("NEXUS_LISTENER")
PROGRAM = os.path.abspath(NAMED) if NAMED else os.path.join(ROOT, "src/listener/nexus_listener")

PATIENCE = 10  # seconds until something that should happen counts as missing
HELLO, COMPLETION, COMPLETION_ANSWER = 1, 4, 5
TOKEN = "1.1." + "A" * 43
HEAD_MAX = 16 * 1024
MAX_BODY = 100000

failures = 0
checks = 0
print_lock = threading.Lock()


def ok(passed, name, detail=""):
    global checks, failures
    with print_lock:
        checks += 1
        if not passed:
            failures += 1
        print("%sok %d - %s" % ("" if passed else "not ", checks, name))
        if not passed and detail != "":
            print("# " + str(detail)[:500].replace("\n", "\n# "))
        sys.stdout.flush()


def equal(got, expected, name):
    ok(got == expected, name, "got %r, expected %r" % (got, expected))


def until(condition, patience=PATIENCE):
    """Poll until the condition yields something true; return that."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.005)


class Frame:
    def __init__(self, connection, correlation, body):
        self.connection = connection
        self.correlation = correlation
        self.incarnation = uuid.UUID(bytes=body[0:16])
        self.operation_id = uuid.UUID(bytes=body[16:32])
        self.position = 36
        self.text = body
        self.headers = [(self.take().decode("latin-1"), self.take().decode("latin-1"))
                        for _ in range(struct.unpack(">I", body[32:36])[0])]
        self.body = self.take()

    def take(self):
        (length,) = struct.unpack(">I", self.text[self.position:self.position + 4])
        start = self.position + 4
        self.position = start + length
        return self.text[start:self.position]

    def header(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Worker:
    """What stands behind pgsql_tmp_nexus/{incarnation}."""

    def __init__(self, directory, incarnation, link=True):
        self.path = os.path.join(directory, "pgsql_tmp_nexus", incarnation[:8] + ".db")
        self.link = os.path.join(directory, "pgsql_tmp_nexus", incarnation)
        self.frames = []
        self.hellos = []
        self.connections = []
        self.on_frame = None
        self.listening = None
        if link:
            self.make_link()

    def make_link(self):
        os.symlink(os.path.basename(self.path), self.link)

    def start(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listening = socket.socket(socket.AF_UNIX)
        # bind by the short name, as a data directory's path may be too long
        here = os.open(".", os.O_RDONLY)
        os.chdir(os.path.dirname(self.path))
        try:
            self.listening.bind(os.path.basename(self.path))
        finally:
            os.fchdir(here)
            os.close(here)
        self.listening.listen(16)
        threading.Thread(target=self.accept, args=(self.listening,), daemon=True).start()
        return self

    def accept(self, listening):
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.read, args=(connection,), daemon=True).start()

    def read(self, connection):
        stream = connection.makefile("rb")
        try:
            while True:
                head = stream.read(13)
                if len(head) < 13:
                    return
                length, kind, correlation = struct.unpack(">IBQ", head)
                body = stream.read(length - 9)
                if kind == HELLO:
                    self.hellos.append(struct.unpack(">I", body)[0])
                elif kind == COMPLETION:
                    frame = Frame(connection, correlation, body)
                    self.frames.append(frame)
                    if self.on_frame is not None:
                        self.on_frame(frame)
        except OSError:
            pass

    def next_frame(self, count=1):
        until(lambda: len(self.frames) >= count)
        return self.frames[count - 1]

    def stop(self):
        if self.listening is not None:
            self.listening.shutdown(socket.SHUT_RDWR)
            self.listening.close()
            self.listening = None
        self.drop()

    def drop(self):
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()
        self.connections = []


def answer(frame, status=200, message="", duplicate=0):
    text = message.encode()
    body = struct.pack(">HBI", status, duplicate, len(text)) + text
    frame.connection.sendall(struct.pack(">IBQ", 9 + len(body), COMPLETION_ANSWER, frame.correlation) + body)


class Listener:
    """The program in a directory of its own."""

    def __init__(self, settings=None, sockets=1, files=None, **changes):
        self.directory = tempfile.mkdtemp(prefix="nexus_listener.")
        os.mkdir(os.path.join(self.directory, "pgsql_tmp_nexus"))
        self.values = {"connections": 64, "deadline": 20000, "body": MAX_BODY, "scanned": 0}
        self.sockets = []
        self.ports = []
        for _ in range(sockets):
            listening = socket.socket()
            listening.bind(("127.0.0.1", 0))
            listening.listen(128)
            self.sockets.append(listening)
            self.ports.append(listening.getsockname()[1])
        arguments = [PROGRAM]
        for listening in self.sockets:
            arguments += ["--socket-fd", str(listening.fileno())]
        self.process = subprocess.Popen(
            arguments, cwd=self.directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, pass_fds=[listening.fileno() for listening in self.sockets],
            preexec_fn=None if files is None else
            lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))
        self.lines = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        if settings is not False:
            self.set(**changes)

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))

    def set(self, **changes):
        self.values.update(changes)
        self.write("settings %(connections)d %(deadline)d %(body)d %(scanned)d\n" % self.values)

    def write(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def figures(self):
        """connections, waiting, rejected of the last report"""
        lines = [line for line in self.lines if line.startswith("figures ")]
        return [int(number) for number in lines[-1].split()[1:]] if lines else [0, 0, 0]

    def logged(self, text):
        return any(line.startswith("log ") and text in line for line in self.lines)

    def worker(self, incarnation=None, link=True):
        return Worker(self.directory, incarnation or str(uuid.uuid4()), link)

    def client(self, which=0):
        return Client(self.ports[which])

    def switches(self):
        with open("/proc/%d/status" % self.process.pid) as status:
            for line in status:
                if line.startswith("voluntary_ctxt_switches"):
                    return int(line.split()[1])

    def rests(self, client):
        """Whether it is asleep, and for a moment nothing wakes it; it may have to get there first."""
        def is_left_alone():
            before = self.switches()
            client.is_silent()
            with open("/proc/%d/stat" % self.process.pid) as status:
                is_asleep = status.read().rsplit(")", 1)[1].split()[0] == "S"
            return is_asleep and self.switches() == before
        return until(is_left_alone)

    def unread(self):
        """bytes that were sent to it and that it has not read"""
        total = 0
        with open("/proc/net/tcp") as connections:
            for fields in (line.split() for line in list(connections)[1:]):
                sent, arrived = (int(length, 16) for length in fields[4].split(":"))
                if fields[3] == "01" and int(fields[1].split(":")[1], 16) in self.ports:
                    total += arrived
                elif int(fields[2].split(":")[1], 16) in self.ports:
                    total += sent
        return total

    def memory(self):
        """kB that it ever had at most"""
        with open("/proc/%d/status" % self.process.pid) as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

    def end(self):
        """Close its input and return its exit status."""
        if self.process.poll() is None:
            self.process.stdin.close()
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.reader.join(PATIENCE)
        complaint = self.process.stderr.read().decode()
        for listening in self.sockets:
            listening.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        if complaint:
            ok(False, "nothing on standard error", complaint)
        return status


class Response:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def failure(self):
        """(status, type of the handler error), where all else is right too"""
        try:
            value = json.loads(self.body)
            if self.headers.get("content-type") != "application/json" or not value["message"] or \
               value["metadata"]["type"] != "nexus.HandlerError":
                return (self.status, None)
            return (self.status, value["details"]["type"])
        except (ValueError, KeyError):
            return (self.status, None)


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bytes = b""

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        chunk = self.socket.recv(65536)
        self.bytes += chunk
        return len(chunk) > 0

    def response(self):
        """The next response; None where the connection ends first."""
        try:
            while b"\r\n\r\n" not in self.bytes:
                if not self.more():
                    return None
            head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
            lines = head.decode("latin-1").split("\r\n")
            headers = dict((line.split(":", 1)[0].lower(), line.split(":", 1)[1].strip()) for line in lines[1:])
            length = int(headers.get("content-length", 0))
            while len(self.bytes) < length:
                if not self.more():
                    return None
        except ConnectionError:
            return None
        body, self.bytes = self.bytes[:length], self.bytes[length:]
        return Response(int(lines[0].split()[1]), headers, body)

    def is_silent(self):
        return self.bytes == b"" and not select.select([self.socket], [], [], 0.05)[0]

    def call(self, data):
        self.send(data)
        return self.response()

    def is_closed(self):
        """Whether the other side ends the connection within our patience."""
        try:
            return until(lambda: not self.more())
        except ConnectionError:
            return True
        except socket.timeout:
            return False

    def close(self):
        self.socket.close()


def path(incarnation, operation_id=None):
    return "/nexus/callback/%s/%s" % (incarnation, operation_id or uuid.uuid4())


def post(target, body=b"", token=TOKEN, method="POST", headers=(), length=None):
    lines = ["%s %s HTTP/1.1" % (method, target), "Host: localhost"]
    if token is not None:
        lines.append("Nexus-Pg-Token: " + token)
    lines += ["%s: %s" % header for header in headers]
    if length is not False:
        lines.append("Content-Length: %d" % (len(body) if length is None else length))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_usage():
    def run(*arguments):
        done = subprocess.run([PROGRAM] + list(arguments), stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
        return done.returncode == 2 and b"nexus_listener: " in done.stderr and done.stdout == b""

    ok(run(), "no socket: a sentence and exit status 2")
    ok(run("--socket-fd", "x"), "a descriptor that is no number: the same")
    ok(run("--socket-fd", "0"), "a descriptor that is no socket: the same")
    ok(run("--nonsense"), "an unknown option: the same")


def test_routing():
    listener = Listener(settings=False, sockets=2)
    incarnation = str(uuid.uuid4())
    worker = listener.worker(incarnation).start()
    worker.on_frame = answer
    client = listener.client()
    client.send(post(path(incarnation), b"early"))
    ok(client.is_silent() and not worker.frames, "nothing is accepted before the settings have come")
    listener.write("nonsense\n")
    ok(until(lambda: listener.logged("does not understand")), "a line that is no settings is logged")
    listener.set()
    equal(client.response().status, 200, "a callback that waited for them is answered")
    equal(worker.hellos, [1], "the worker gets a hello first")

    operation_id = uuid.uuid4()
    response = client.call(post(path(incarnation, operation_id) + "?a=b", b'{"x":1}', headers=[
        ("Nexus-Operation-State", "succeeded"), ("Nexus-Link", "one"), ("Nexus-Link", "two"),
        ("Connection", "keep-alive"), ("Keep-Alive", "x"), ("TE", "gzip"), ("Upgrade", "h2c"),
        ("Proxy-Authorization", "secret")]))
    frame = worker.next_frame(2)
    equal((response.status, response.body), (200, b""), "item 44: a completion taken: 200 without a body")
    equal((str(frame.incarnation), frame.operation_id), (incarnation, operation_id), "the frame names both ids")
    equal(frame.body, b'{"x":1}', "and carries the body")
    equal(frame.header("nexus-pg-token"), [TOKEN], "and the token")
    equal(frame.header("nexus-link"), ["one", "two"], "and every header of the same name in order")
    equal(frame.header("nexus-operation-state"), ["succeeded"], "and the state")
    equal([frame.header(name) for name in ("Connection", "Keep-Alive", "TE", "Upgrade", "Proxy-Authorization")],
          [[]] * 5, "but no hop-by-hop header")
    second = listener.client(1)
    equal(second.call(post(path(incarnation))).status, 200, "a second socket is served as well")
    worker.on_frame = lambda frame: answer(frame, 200, "", 1)
    equal(client.call(post(path(incarnation))).status, 200, "item 57: a duplicate is answered 200")
    for status, kind in ((400, "BAD_REQUEST"), (401, "UNAUTHENTICATED"), (404, "NOT_FOUND"), (503, "UNAVAILABLE")):
        worker.on_frame = lambda frame: answer(frame, status, 'why "not"')
        response = client.call(post(path(incarnation)))
        equal(response.failure(), (status, kind), "item 60: the worker's %d comes back as a Failure" % status)
        equal(json.loads(response.body)["message"], 'why "not"', "with its message")
        equal(response.headers.get("nexus-request-retryable"), "true" if status == 503 else None, "item 59: retryable is said of 503 only")
    worker.on_frame = lambda frame: answer(frame, 7, "x")
    equal(client.call(post(path(incarnation))).status, 500, "a status that is none becomes 500")
    worker.on_frame = answer
    client.send(post(path(incarnation), b"12345", headers=[("Expect", "100-continue")])[:-5])
    equal(client.response().status, 100, "Expect: 100-continue gets its answer")
    client.send(b"12345")
    equal(client.response().status, 200, "and then the body is taken")
    before = len(worker.frames)
    client.send(b"".join(post(path(incarnation), b"%d" % i) for i in range(20)))
    equal([client.response().status for _ in range(20)], [200] * 20, "pipelined requests are all answered")
    equal([frame.body for frame in worker.frames[before:]], [b"%d" % i for i in range(20)], "in their order")
    worker.frames.clear()
    body = os.urandom(MAX_BODY)
    equal(client.call(post(path(incarnation), body)).status, 200, "item 61: a body of exactly the limit is taken")
    ok(worker.next_frame().body == body, "unchanged")
    data = post(path(incarnation), length=False, headers=[("Transfer-Encoding", "chunked")])
    data += b"".join(chunk(body[i:i + 999]) for i in range(0, MAX_BODY, 999)) + b"0\r\nNexus-Trailer: x\r\n\r\n"
    equal(client.call(data).status, 200, "item 48: a chunked one of exactly the limit is taken")
    ok(worker.next_frame(2).body == body, "unchanged, too")
    equal(worker.frames[1].header("nexus-trailer"), [], "without the trailers")
    ok(until(lambda: listener.figures()[1:] == [0, 4]), "the figures count what was rejected", listener.lines[-3:])
    second.close()
    ok(until(lambda: listener.figures()[0] == 1), "and connections", listener.lines[-3:])
    ok(listener.rests(client), "nothing wakes it while it is idle")
    listener.process.send_signal(signal.SIGINT)
    equal(client.call(post(path(incarnation))).status, 200, "SIGINT is ignored")
    listener.process.send_signal(signal.SIGTERM)
    equal(listener.process.wait(PATIENCE), 0, "SIGTERM ends it with status 0")
    listener.end()
    worker.stop()


def test_refusals():
    listener = Listener()
    incarnation = str(uuid.uuid4())
    worker = listener.worker(incarnation).start()
    good = path(incarnation)

    def refused(data, status, kind, name):
        client = listener.client()
        response = client.call(data)
        equal(response and response.failure(), (status, kind), name)
        client.close()
        return response

    for token, name in ((None, "no token"), ("", "an empty token"), ("1.1.short", "a short token"),
                        ("2.1." + "A" * 43, "a token of another version"), (TOKEN + "A", "a long token"),
                        ("1.1." + "*" * 43, "a token with wrong characters")):
        refused(post(good, b"x", token), 401, "UNAUTHENTICATED", name + ": 401")
    refused(post("/", b"x", None, "GET"), 401, "UNAUTHENTICATED", "no token, other path, other method: 401")
    refused(post(good, b"x", None, length=MAX_BODY), 401, "UNAUTHENTICATED", "no token: 401 before the body has come")
    client = listener.client()
    client.send(post(good, b"", None, headers=[("Transfer-Encoding", "chunked")], length=False))
    equal(client.response().failure(), (401, "UNAUTHENTICATED"), "no token: 401 before the first chunk")
    ok(client.is_closed(), "and no more answers")
    try:
        for _ in range(20):
            client.send(chunk(b"x" * 10000))
            time.sleep(0.002)
        ok(True, "what is still sent is thrown away without a reset")
    except ConnectionError as error:
        ok(False, "what is still sent is thrown away without a reset", error)
    for target, name in (("/", "the root"), ("/nexus/callback", "scenario 52: the bare prefix"), (good + "/x", "one segment more"),
                         ("/nexus/callback/%s/x" % incarnation, "an id that is no uuid"), ("/x" + good, "another prefix"),
                         (good.replace("callback", "call%62ack"), "an escaped path"), ("*", "an asterisk")):
        refused(post(target, b"x"), 404, "NOT_FOUND", name + ": 404")
    response = refused(post(good, b"", method="GET"), 400, "BAD_REQUEST", "GET: 400")
    equal(json.loads(response.body)["message"], "invalid request method: expected POST, got GET", "with the protocol's words")
    refused(post(good, b"", method="BREW"), 400, "BAD_REQUEST", "an unknown method: 400")
    response = refused(post(good, b"", length=MAX_BODY + 1), 413, "BAD_REQUEST",
                       "item 61, scenario 53: a declared length of one over the limit: 413 before the body")
    equal(response.headers.get("nexus-request-retryable"), None, "413 says nothing of being retryable")
    refused(post(good, length=False, headers=[("Transfer-Encoding", "chunked")]) + chunk(b"x" * MAX_BODY) +
            chunk(b"x") + b"0\r\n\r\n", 413, "BAD_REQUEST", "a chunked body of one over the limit: 413")
    refused(post(good, b"12345", headers=[("Content-Length", "4")]), 400, "BAD_REQUEST", "two lengths: 400")
    refused(post(good, b"0\r\n\r\n", headers=[("Transfer-Encoding", "chunked")]), 400, "BAD_REQUEST",
            "length and chunks: 400")
    listener.set(deadline=300)
    clients = []
    for garbage in (b"\r\n\r\n\x00\xff garbage\r\n\r\n", b"POST\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
                    post(good, b"", headers=[("Content-Length", "-1")], length=False)):
        client = listener.client()
        client.send(garbage)
        clients.append((client, garbage))
    for client, garbage in clients:
        response = client.response()
        ok(response is None or 400 <= response.status < 500, "%r is refused" % garbage[:20], response and response.status)
    listener.set(deadline=20000)

    worker.on_frame = answer
    base = [("Host", "localhost"), ("Nexus-Pg-Token", TOKEN), ("Content-Length", "0")]
    room = HEAD_MAX - sum(len(name) + len(value) for name, value in base)
    equal(listener.client().call(post(good, headers=[("a", "x" * (room - 1))])).status, 200,
          "headers of exactly 16 KiB are taken")
    ok(len(worker.next_frame().header("a")[0]) == room - 1, "and passed on whole")
    refused(post(good, headers=[("a", "x" * room)]), 431, "BAD_REQUEST", "one byte more: 431")
    client = listener.client()
    client.send(b"POST %s HTTP/1.1\r\n" % good.encode())
    try:
        for i in range(200):
            client.send(b"h%d: %s\r\n" % (i, b"x" * 1000))
    except ConnectionError:
        pass
    response = client.response()
    ok(response is None or response.status in (413, 431), "a head without end is refused")
    equal(len(worker.frames), 1, "the worker saw nothing of all that")
    equal(listener.client().call(post(good)).status, 200, "and a good callback is served after it")
    equal(listener.end(), 0, "it leaves with status 0")
    worker.stop()


def test_answer_after_commit():
    listener = Listener()
    incarnation = str(uuid.uuid4())
    worker = listener.worker(incarnation).start()
    clients = [listener.client() for _ in range(3)]
    for i, client in enumerate(clients):
        client.send(post(path(incarnation), b"%d" % i))
        worker.next_frame(i + 1)
    ok(all(client.is_silent() for client in clients), "no answer before the worker's")
    ok(until(lambda: listener.figures()[:2] == [3, 3]), "the figures show who waits", listener.figures())
    answer(worker.frames[2], 200)
    equal(clients[2].response().status, 200, "answers may come in another order")
    ok(clients[0].is_silent() and clients[1].is_silent(), "and concern nobody else")
    clients[1].close()
    answer(worker.frames[1], 200)
    answer(worker.frames[1], 200)
    worker.frames[1].correlation = 1 << 60
    answer(worker.frames[1], 200)
    answer(worker.frames[0], 200)
    equal(clients[0].response().status, 200, "a peer that left and answers that belong to nobody do no harm")
    ok(until(lambda: listener.figures()[:2] == [2, 0]), "nobody waits any more", listener.figures())
    clients[0].send(post(path(incarnation), b"again"))
    worker.next_frame(4)
    worker.frames[3].connection.sendall(b"\xff" * 100)
    ok(until(lambda: listener.logged("malformed frame")), "a malformed frame is logged")
    answer(worker.next_frame(5))
    equal(clients[0].response().status, 200, "and the callback is sent again on a new connection")
    clients[0].send(post(path(incarnation)))
    frame = worker.next_frame(6)
    whole = struct.pack(">IBQHBI", 9 + 7 + 2, COMPLETION_ANSWER, frame.correlation, 404, 0, 2) + b"no"
    for i in range(len(whole)):
        frame.connection.sendall(whole[i:i + 1])
    equal(clients[0].response().failure(), (404, "NOT_FOUND"), "an answer that comes byte by byte is put together")
    listener.end()
    worker.stop()


def test_hold():
    listener = Listener()
    incarnation = str(uuid.uuid4())
    worker = listener.worker(incarnation, link=False)
    client = listener.client()
    client.send(post(path(incarnation), b"held"))
    ok(until(lambda: listener.figures()[1] == 1), "an incarnation not known yet: the callback is held")
    os.symlink("nothing", worker.link)
    ok(client.is_silent(), "also while its symlink leads nowhere")
    listener.set(scanned=1)
    ok(client.is_silent(), "also once every database was looked at, since the symlink is there")
    os.unlink(worker.link)
    equal(client.response().failure(), (404, "NOT_FOUND"), "404 once it is gone and every database was looked at")
    equal(client.call(post(path(incarnation))).failure(), (404, "NOT_FOUND"), "and at once for the next")
    equal(client.call(post(path(incarnation))).status, 404, "on the same connection")
    listener.set(scanned=0)
    until(lambda: listener.figures()[1] == 0)
    client.send(post(path(incarnation), b"held again"))
    ok(until(lambda: listener.figures()[1] == 1), "held again when databases are being looked at again")
    other = listener.client()
    other.send(post(path(uuid.uuid4())))
    ok(until(lambda: listener.figures()[1] == 2), "as one of an incarnation that does not exist")
    worker.make_link()
    worker.on_frame = answer
    worker.start()
    equal(client.response().status, 200, "released when the worker comes")
    equal([frame.body for frame in worker.frames], [b"held again"], "with what was held")
    listener.set(scanned=1)
    equal(other.response().status, 404, "404 for the other as soon as it is certain")

    worker.on_frame = None
    worker.frames.clear()
    clients = [listener.client() for _ in range(3)]
    for client in clients:
        client.send(post(path(incarnation), b"lost"))
    worker.next_frame(3)
    worker.stop()
    ok(clients[0].is_silent(), "a worker that is lost before it answers: held")
    worker.frames.clear()
    worker.on_frame = answer
    worker.start()
    equal([client.response().status for client in clients], [200] * 3, "sent again when it is back")
    equal(len(worker.frames), 3, "each once")
    worker.stop()
    until(lambda: listener.figures()[1] == 0)
    clients[0].send(post(path(incarnation), b"refused"))
    ok(until(lambda: listener.figures()[1] == 1) and clients[0].is_silent(), "a worker that is down: held")
    worker.start()
    equal(clients[0].response().status, 200, "and answered when it is up")
    for _ in range(3):
        worker.drop()
        equal(clients[0].call(post(path(incarnation))).status, 200, "an idle connection to a worker may be lost")
    listener.end()
    worker.stop()


def test_large_and_many():
    """More bytes than sockets hold, to a worker that does not read at first."""
    listener = Listener(connections=200, body=1000000)
    incarnation = str(uuid.uuid4())
    worker = listener.worker(incarnation)
    bodies = [os.urandom(900000) for _ in range(8)]
    clients = [listener.client() for _ in bodies]
    for client, body in zip(clients, bodies):
        client.send(post(path(incarnation), body))
    ok(until(lambda: listener.figures()[1] == len(bodies)), "large callbacks wait")
    worker.on_frame = answer
    worker.start()
    equal([client.response().status for client in clients], [200] * 8, "and all are answered")
    ok(sorted(frame.body for frame in worker.frames) == sorted(bodies), "whole")
    many = [listener.client() for _ in range(100)]
    for _ in range(5):
        for client in many:
            client.send(post(path(incarnation), b"small"))
        ok([client.response().status for client in many] == [200] * 100, "a hundred at a time")
    listener.end()
    worker.stop()


def test_deadline():
    listener = Listener(deadline=600)
    incarnation = str(uuid.uuid4())
    worker = listener.worker(incarnation).start()
    worker.on_frame = answer
    good = listener.client()
    kept = listener.client()
    kept.call(post(path(incarnation)))
    dripping = [(listener.client(), b"POST / HTTP/1.1\r\n", b"a: b\r\n"),
                (listener.client(), b"", b"P"),
                (kept, b"POST / HTTP/1.1\r\n", b"a: b\r\n"),
                (listener.client(), post(path(incarnation), length=90000), b"x"),
                (listener.client(), post(path(incarnation), length=False, headers=[("Transfer-Encoding", "chunked")]),
                 chunk(b"x"))]
    for client, first, _ in dripping:
        client.send(first)
    start = time.monotonic()
    ends = {}
    served = []

    def drip():
        for i, (client, _, data) in enumerate(dripping):
            if i in ends:
                continue
            try:
                client.send(data)
                if select.select([client.socket], [], [], 0)[0] and not client.more():
                    ends[i] = time.monotonic() - start
            except ConnectionError:
                ends[i] = time.monotonic() - start
        served.append(good.call(post(path(incarnation))).status)
        time.sleep(0.03)
        return len(ends) == len(dripping)

    until(drip)
    equal(len(ends), len(dripping), "peers that drip head or body are cut off")
    ok(ends and min(ends.values()) > 0.4 and max(ends.values()) < 3, "at the deadline", ends)
    equal(set(served), {200}, "while a good callback is served all the time")
    silent = listener.client()
    ok(silent.is_closed(), "a connection that never sends anything is closed, too")
    worker.on_frame = None
    start = time.monotonic()
    response = good.call(post(path(incarnation)))
    elapsed = time.monotonic() - start
    equal(response.failure(), (503, "UNAVAILABLE"), "a worker that does not answer: 503")
    equal(response.headers.get("nexus-request-retryable"), "true", "which says that it may be tried again")
    ok(0.5 < elapsed < 3, "at the deadline of the request", elapsed)
    answer(worker.frames[-1])
    worker.on_frame = answer
    equal(good.call(post(path(incarnation))).status, 200, "and its late answer is nobody's")
    worker.stop()
    equal(good.call(post(path(incarnation))).status, 503, "a worker that does not come back: 503")
    start = time.monotonic()
    ok(good.is_silent() and time.monotonic() - start < 1, "an idle connection is kept")
    listener.end()


def test_slow_reader():
    """One that sends requests and reads no answers, until nothing more fits."""
    listener = Listener(deadline=20000)
    incarnation = str(uuid.uuid4())
    worker = listener.worker(incarnation).start()
    worker.on_frame = answer
    greedy = socket.socket()
    greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    greedy.connect(("127.0.0.1", listener.ports[0]))
    greedy.settimeout(0.5)
    requests = post(path(incarnation)) * 100
    try:
        while True:
            greedy.sendall(requests)
    except socket.timeout:
        ok(True, "a peer that reads no answers can send no more requests")
    good = listener.client()
    equal(good.call(post(path(incarnation))).status, 200, "a good callback is served meanwhile")
    start = time.monotonic()
    listener.set(deadline=600)
    closed = select.poll()
    closed.register(greedy, 0)
    ok(closed.poll(PATIENCE * 1000), "it is cut off")
    ok(time.monotonic() - start < 3, "at the deadline for taking an answer", time.monotonic() - start)
    ok(until(lambda: listener.figures()[:2] == [1, 0]), "and forgotten", listener.figures())
    equal(good.call(post(path(incarnation))).status, 200, "a good one goes on")
    greedy.close()
    listener.end()
    worker.stop()


def test_body_room():
    """More large bodies than may be held at a time."""
    length = 2000000
    fit = 64 * 1024 * 1024 // length
    listener = Listener(connections=200, body=length)
    incarnation = str(uuid.uuid4())
    worker = listener.worker(incarnation).start()
    worker.on_frame = answer
    crowd = [listener.client() for _ in range(fit + 40)]
    for client in crowd:
        client.send(post(path(incarnation), b"x" * (length - 1), length=length))
    ok(until(lambda: listener.unread() == 0), "many large bodies but for their last byte", listener.unread())
    good = listener.client()
    equal(good.call(post(path(incarnation), b"x" * 60000)).status, 200, "a small body has room at any time")
    equal(good.call(post(path(incarnation), b"x" * length)).failure(), (503, "UNAVAILABLE"), "a large one among many: 503")
    ok(listener.memory() < 200 * 1024, "the memory of all of them is bounded", listener.memory())
    for client in crowd:
        client.send(b"x")
    statuses = [client.response().status for client in crowd]
    equal((statuses.count(200), statuses.count(503)), (fit, 40), "those that fit are taken, the others get 503")
    ok(all(client.call(post(path(incarnation), b"x" * length)).status == 200 for client in crowd),
       "later each is taken, over the same connection")
    listener.end()
    worker.stop()

    listener = Listener(body=100 * 1024 * 1024)
    worker = listener.worker(incarnation).start()
    worker.on_frame = answer
    equal(listener.client().call(post(path(incarnation), b"x" * (80 * 1024 * 1024))).status, 200, "one alone may be of any length")
    listener.end()
    worker.stop()


def test_connection_limit():
    listener = Listener(connections=4)
    incarnation = str(uuid.uuid4())
    worker = listener.worker(incarnation).start()
    busy = [listener.client() for _ in range(4)]
    for client in busy[:2]:
        client.send(post(path(incarnation)))
    for client in busy[2:]:
        client.send(b"POST / HT")
    until(lambda: listener.figures()[:2] == [4, 2])
    ok(listener.client().is_closed(), "a connection over the limit is closed")
    ok(until(lambda: listener.logged("limit of 4 connections")), "and logged")
    for _ in range(20):
        listener.client().is_closed()
    ok(len([line for line in listener.lines if "limit of" in line]) < 5, "but not every time")
    listener.set(connections=5)
    worker.on_frame = answer
    response = until(lambda: try_call(listener, incarnation))
    equal(response and response.status, 200, "a higher limit counts at once")
    for frame in worker.frames[:2]:
        answer(frame)
    equal([client.response().status for client in busy[:2]], [200, 200], "those that wait are answered")
    fresh = [try_call(listener, incarnation, keep=True) for _ in range(8)]
    equal([response and response.status for response in fresh], [200] * 8, "idle connections make room for new ones")
    listener.end()
    worker.stop()

    listener = Listener(connections=512, files=84)
    worker = listener.worker(incarnation).start()
    worker.on_frame = answer
    ok(until(lambda: listener.logged("takes only 20 connections")), "too few descriptors lower the limit", listener.lines)
    crowd = [listener.client() for _ in range(60)]
    until(lambda: listener.figures()[0] == 20)
    equal(listener.figures()[0], 20, "and it is kept")
    ok(listener.rests(crowd[0]), "without spinning")
    for client in crowd:
        client.close()
    response = until(lambda: try_call(listener, incarnation))
    equal(response and response.status, 200, "callbacks are served when they are gone")
    listener.end()
    worker.stop()


kept_clients = []


def try_call(listener, incarnation, keep=False):
    client = listener.client()
    try:
        response = client.call(post(path(incarnation)))
    except ConnectionError:
        response = None
    if keep:
        kept_clients.append(client)
    else:
        client.close()
    return response


def test_leaving():
    listener = Listener()
    incarnation = str(uuid.uuid4())
    worker = listener.worker(incarnation).start()
    waiting, idle, partial = listener.client(), listener.client(), listener.client()
    waiting.send(post(path(incarnation), b"waiting"))
    worker.next_frame(1)
    partial.send(post(path(incarnation), b"123", length=6))
    until(lambda: listener.figures()[:2] == [3, 1])
    listener.process.stdin.close()
    ok(waiting.is_silent() and listener.process.poll() is None, "at the end of its input it waits for requests in flight")
    late = listener.client()
    late.send(post(path(incarnation), b"late"))
    ok(late.is_silent() and len(worker.frames) == 1, "and accepts no new connection")
    partial.send(b"456")
    equal(worker.next_frame(2).body, b"123456", "a body that was on its way is taken")
    for frame in worker.frames:
        answer(frame)
    response = waiting.response()
    equal((response.status, response.headers.get("connection", "").lower()), (200, "close"), "they are answered, and the connection ends")
    equal(partial.response().status, 200, "all of them")
    equal(listener.process.wait(PATIENCE), 0, "then it leaves with status 0")
    ok(idle.is_closed(), "and closes idle connections")
    listener.end()

    listener = Listener()
    os.symlink("nowhere", os.path.join(listener.directory, "pgsql_tmp_nexus", incarnation))
    client = listener.client()
    client.send(post(path(incarnation)))
    until(lambda: listener.figures()[1] == 1)
    start = time.monotonic()
    listener.process.stdin.close()
    equal(client.response().failure(), (503, "UNAVAILABLE"), "what cannot be answered gets 503")
    ok(1.5 < time.monotonic() - start < 4, "after two seconds", time.monotonic() - start)
    equal(listener.process.wait(PATIENCE), 0, "then it leaves with status 0, too")
    listener.end()
    equal(Listener(settings=False).end(), 0, "it leaves also before settings have come")
    worker.stop()


def test_hold_limit():
    """Takes as long as the limit, so it runs beside the others."""
    listener = Listener()
    incarnation = str(uuid.uuid4())
    os.symlink("nowhere", os.path.join(listener.directory, "pgsql_tmp_nexus", incarnation))
    client = Client(listener.ports[0])
    client.socket.settimeout(2 * PATIENCE)
    start = time.monotonic()
    response = client.call(post(path(incarnation)))
    elapsed = time.monotonic() - start
    equal(response and response.failure(), (503, "UNAVAILABLE"), "what was held for too long gets 503")
    ok(7.5 < elapsed < 9.5, "after eight seconds", elapsed)
    client.send(post(path(incarnation)))
    ok(client.is_silent(), "and the connection goes on")
    listener.end()


def main():
    beside = threading.Thread(target=test_hold_limit)
    beside.start()
    for test in (test_usage, test_routing, test_refusals, test_answer_after_commit, test_hold, test_large_and_many,
                 test_deadline, test_slow_reader, test_body_room, test_connection_limit, test_leaving):
        try:
            test()
        except Exception as error:
            ok(False, test.__name__ + " runs to its end", "line %d: %r" % (error.__traceback__.tb_next.tb_lineno, error))
    beside.join()
    print("1..%d" % checks)
    sys.exit(1 if failures else 0)


main()
