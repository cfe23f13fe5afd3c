#!/usr/bin/env python3
"""A Nexus handler that does as it is told, for tests.

    handler.py [--port N] [--cert FILE --key FILE [--client-ca FILE] [--max-tls 1.2]]

prints "port N C" when it listens, C being the port for the requests of tests (N
too, unless that one speaks TLS), and leaves when its standard input ends.

Starts are POST .../SERVICE/OPERATION, cancels POST .../SERVICE/OPERATION/cancel.
The operation says what happens, the input (a JSON object) how; where the input
must be something else, the header X-Script carries that object.

    echo             200, the body and its content headers as they came
    headers          200, the request's headers as JSON
    empty            200 without a body
    reply            {"status", "headers", "body", "chunked"}: exactly that; headers may be a list of pairs,
                     and "body_base64" stands for a body that is no text (of a callback, too)
    async            201, then a callback: {"after": ms (null: never), "state", "result" or "body",
                     "headers", "chunked", "times", "early": before the 201, "token", "style": "old",
                     "close_time", "failure", "callback": another URL,
                     "repeat": ms after which one that was not taken is sent again}
    operation-error  424: {"state", "message", "style": "old"}
    handler-error    {"status", "type", "message", "retryable", "body": false for none}
    flaky            as handler-error, "times" times for each request id, then echo
    hang             no answer: {"for": ms, then echo}
    drip             an answer byte by byte: {"interval": ms, "size", "in": "body" or "head"}
    close, reset     the connection goes: {"after": ms, "sent": text to send first}
    garbage          bytes that are no HTTP
    huge             200 with {"size"} bytes of JSON, {"chunked"}
    bad-started      201 with {"body"} as it is
    redirect         {"status", "location"}

Every one of them takes "delay" (ms before the answer), "gate" (a name: no answer
before that is opened) and "links" (a list of {"url", "type"}); "cancel" says what
becomes of a later cancel request:
{"status": 202, "type", "retryable", "times": how often, "complete": state to
complete with, "after": ms, "early": complete before the 202, "hang": true}.  Service "any" echoes whatever the operation is.

    GET  /log?since=N[&request_id=ID][&kind=start|cancel]   requests as they came
    GET  /callbacks?since=N                                 callbacks sent and their answers
    GET  /stats                                             counters
    GET  /request_ids                                       how many starts there were of each request id
    POST /release?count=N        completes operations that were to wait for ever (0: all)
    POST /complete?request_id=ID input as for async: completes this one again
    POST /open?gate=NAME         lets answers go that wait for this gate, and those to come
    POST /forget                 empties the record
"""
import argparse
import asyncio
import base64
import email.utils
import json
import ssl
import sys
import time
import urllib.parse

ERROR_TYPES = {
    400: "BAD_REQUEST", 401: "UNAUTHENTICATED", 403: "UNAUTHORIZED", 404: "NOT_FOUND", 408: "REQUEST_TIMEOUT",
    409: "CONFLICT", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 501: "NOT_IMPLEMENTED", 503: "UNAVAILABLE",
    520: "UPSTREAM_TIMEOUT",
}
CALLBACK_PREFIX = "nexus-callback-"
MAX_RECORDED_BODY = 64 * 1024
MAX_IDLE_CONNECTIONS = 64


class Request:
    """One request, read completely."""

    __slots__ = ("method", "target", "path", "query", "pairs", "headers", "body", "service", "operation", "kind",
                 "request_id")

    def __init__(self, method, target, pairs, body):
        self.method = method
        self.target = target
        self.pairs = pairs
        self.headers = {name.lower(): value for name, value in pairs}
        self.body = body
        self.path, _, query = target.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query)) if query else {}
        self.request_id = self.headers.get("nexus-request-id", "")
        self.name_operation()

    def name_operation(self):
        segments = [urllib.parse.unquote(part) for part in self.path.split("/") if part]
        self.kind = "other"
        self.service = self.operation = ""
        if self.method != "POST":
            return
        if segments[-1:] == ["cancel"] and len(segments) > 2:
            self.kind = "cancel"
            self.service, self.operation = segments[-3:-1]
        elif len(segments) > 1:
            self.kind = "start"
            self.service, self.operation = segments[-2:]

    def script(self):
        """What the request asks for; nothing where it carries no object."""
        text = self.headers.get("x-script") or self.body
        if not text:
            return {}
        try:
            script = json.loads(text)
        except (ValueError, RecursionError):
            return {}
        return script if isinstance(script, dict) else {}


class Operation:
    """What is remembered of an asynchronous one."""

    __slots__ = ("request_id", "token", "callback", "callback_headers", "script", "service", "operation",
                 "start_time", "is_held")

    def __init__(self, request, script):
        self.request_id = request.request_id
        self.token = script.get("token") or "token-" + request.request_id
        self.callback = request.query.get("callback")
        self.callback_headers = [(name[len(CALLBACK_PREFIX):], value) for name, value in request.pairs
                                 if name.lower().startswith(CALLBACK_PREFIX)]
        self.script = script
        self.service = request.service
        self.operation = request.operation
        self.start_time = time.time()
        self.is_held = False


class Record:
    """All that happened since the start or the last /forget."""

    def __init__(self):
        self.forget()
        self.connections = 0
        self.open_connections = 0

    def forget(self):
        self.requests = []
        self.callbacks = []
        self.operations = {}
        self.held = {}
        self.failures = {}
        self.counts = {}
        self.starts_of = {}
        self.in_flight = set()
        self.max_in_flight = 0

    def take(self, request, connection, client=None):
        self.counts[request.kind] = self.counts.get(request.kind, 0) + 1
        if request.kind == "start":
            self.starts_of[request.request_id] = self.starts_of.get(request.request_id, 0) + 1
        self.requests.append((time.time(), request, connection, client))
        self.in_flight.add(connection)
        self.max_in_flight = max(self.max_in_flight, len(self.in_flight))

    def attempt_of(self, key):
        """How often this key was seen, this time included."""
        self.failures[key] = self.failures.get(key, 0) + 1
        return self.failures[key]

    def log(self, since, request_id, kind):
        entries = []
        for number in range(since, len(self.requests)):
            seen, request, connection, client = self.requests[number]
            if request_id and request.request_id != request_id or kind and request.kind != kind:
                continue
            entries.append({
                "n": number, "time": seen, "connection": connection, "client": client, "kind": request.kind,
                "method": request.method, "path": request.target, "service": request.service,
                "operation": request.operation, "request_id": request.request_id,
                "header_list": request.pairs, "headers": request.headers, **describe_body(request.body)})
        return {"next": len(self.requests), "entries": entries}

    def stats(self):
        return {
            "requests": len(self.requests), "starts": self.counts.get("start", 0),
            "cancels": self.counts.get("cancel", 0), "request_ids": len(self.starts_of), "held": len(self.held),
            "in_flight": len(self.in_flight), "max_in_flight": self.max_in_flight, "connections": self.connections,
            "open_connections": self.open_connections, "callbacks": len(self.callbacks),
            "callbacks_accepted": sum(1 for sent in self.callbacks if sent["status"] == 200)}


def describe_body(body):
    kept = body[:MAX_RECORDED_BODY]
    try:
        return {"body": kept.decode(), "body_bytes": len(body)}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(kept).decode(), "body_bytes": len(body)}


class Connection(asyncio.Protocol):
    """One client; requests of one connection are answered in their order."""

    def __init__(self, handler):
        self.handler = handler
        self.buffer = b""
        self.is_busy = False
        self.task = None
        self.number = 0

    def connection_made(self, transport):
        record = self.handler.record
        record.connections += 1
        record.open_connections += 1
        self.number = record.connections
        self.transport = transport

    def connection_lost(self, reason):
        self.handler.record.open_connections -= 1
        if self.is_busy:
            self.end_request()
        if self.task:
            self.task.cancel()

    def client(self):
        """The common name in the client's certificate, if it showed one."""
        certificate = self.transport.get_extra_info("peercert") or {}
        return next((value for names in certificate.get("subject", ()) for key, value in names if key == "commonName"),
                    None)

    def data_received(self, data):
        self.buffer += data
        self.take_requests()

    def take_requests(self):
        while not self.is_busy:
            request = self.read_request()
            if request is None:
                return
            self.is_busy = True
            self.handler.take(self, request)

    def read_request(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        try:
            method, target, _ = lines[0].split(" ")
        except ValueError:
            self.transport.close()
            return None
        pairs = []
        length = 0
        is_chunked = expects = False
        for line in lines[1:]:
            name, _, value = line.partition(":")
            value = value.strip()
            pairs.append((name, value))
            folded = name.lower()
            if folded == "content-length":
                length = int(value)
            elif folded == "transfer-encoding":
                is_chunked = "chunked" in value.lower()
            elif folded == "expect":
                expects = True
        if is_chunked:
            body, used = self.read_chunks(end + 4)
        else:
            body, used = self.buffer[end + 4:end + 4 + length], end + 4 + length
            if len(body) < length:
                body = None
        if body is None:
            if expects and len(self.buffer) == end + 4:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        self.buffer = self.buffer[used:]
        return Request(method, target, pairs, body)

    def read_chunks(self, at):
        parts = []
        while True:
            end = self.buffer.find(b"\r\n", at)
            if end < 0:
                return None, 0
            size = int(self.buffer[at:end].split(b";")[0], 16)
            at = end + 2 + size + 2
            if len(self.buffer) < at:
                return None, 0
            if size == 0:
                return b"".join(parts), at
            parts.append(self.buffer[end + 2:end + 2 + size])

    def send(self, status, headers=(), body=b"", is_chunked=False):
        if self.transport.is_closing():
            return
        head = ["HTTP/1.1 %d Status" % status]
        head += ["%s: %s" % pair for pair in headers]
        if is_chunked:
            head.append("Transfer-Encoding: chunked")
            body = chunked(body)
        else:
            head.append("Content-Length: %d" % len(body))
        self.transport.write(("\r\n".join(head) + "\r\n\r\n").encode("latin-1", "replace") + body)
        self.done()

    def done(self):
        """The answer is out: the next request of this connection may be read."""
        if not self.is_busy:
            return
        self.task = None
        self.end_request()
        if self.buffer:
            self.take_requests()

    def end_request(self):
        self.is_busy = False
        self.handler.record.in_flight.discard(self.number)

    def later(self, coroutine):
        self.task = asyncio.ensure_future(coroutine)


def chunked(body, size=4096):
    parts = [b"%x\r\n%s\r\n" % (len(body[at:at + size]), body[at:at + size]) for at in range(0, len(body), size)]
    return b"".join(parts) + b"0\r\n\r\n"


def json_bytes(value):
    return json.dumps(value, ensure_ascii=False).encode()


def as_bytes(value):
    return value.encode() if isinstance(value, str) else json_bytes(value)


def body_of(script):
    if "body_base64" in script:
        return base64.b64decode(script["body_base64"])
    return as_bytes(script.get("body", ""))


def pairs_of(headers):
    return [tuple(pair) for pair in headers] if isinstance(headers, list) else list(headers.items())


def link_headers(script):
    return [("Nexus-Link", '<%s>; type="%s"' % (link["url"], link["type"])) for link in script.get("links", ())]


def handler_failure(script, status):
    details = {"type": script.get("type", ERROR_TYPES.get(status, "INTERNAL"))}
    if script.get("retryable") is not None:
        details["retryableOverride"] = script["retryable"]
    return {"message": script.get("message", "scripted error"), "metadata": {"type": "nexus.HandlerError"},
            "details": details}


def seconds(milliseconds):
    return milliseconds / 1000.0


class Handler:
    def __init__(self):
        self.record = Record()
        self.sender = CallbackSender(self.record)
        self.gates = {}
        self.tasks = set()

    def background(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def take(self, connection, request):
        control = None
        if request.path.count("/") == 1:
            control = getattr(self, "control_" + request.path[1:], None)
        if control is not None:
            connection.send(200, [("Content-Type", "application/json")], json_bytes(control(request)))
            return
        self.record.take(request, connection.number, connection.client())
        if request.kind == "start":
            self.start(connection, request)
        elif request.kind == "cancel":
            self.cancel(connection, request)
        else:
            self.refuse(connection, {"message": "no such path"}, 404)

    def start(self, connection, request):
        script = request.script()
        name = "echo" if request.service == "any" else request.operation
        play = getattr(self, "play_" + name.replace("-", "_"), None)
        if play is None:
            self.refuse(connection, {"message": "no such operation"}, 404)
        elif script.get("gate"):
            connection.later(self.wait_for_gate(script["gate"], play, connection, request, script))
        elif script.get("delay"):
            connection.later(self.delay(seconds(script["delay"]), play, connection, request, script))
        else:
            play(connection, request, script)

    async def delay(self, wait, play, *arguments):
        await asyncio.sleep(wait)
        play(*arguments)

    async def wait_for_gate(self, gate, play, *arguments):
        await self.gate(gate).wait()
        play(*arguments)

    def gate(self, name):
        return self.gates.setdefault(name, asyncio.Event())

    def refuse(self, connection, script, status):
        headers = link_headers(script)
        if script.get("retryable") is not None:
            headers.append(("Nexus-Request-Retryable", "true" if script["retryable"] else "false"))
        headers += list(script.get("headers", {}).items())
        if script.get("body") is False:
            connection.send(status, headers)
        else:
            headers.append(("Content-Type", "application/json"))
            connection.send(status, headers, json_bytes(handler_failure(script, status)))

    # What operations do.

    def play_echo(self, connection, request, script):
        headers = [pair for pair in request.pairs
                   if pair[0].lower().startswith("content-") and pair[0].lower() != "content-length"]
        connection.send(200, headers + link_headers(script), request.body, script.get("chunked", False))

    def play_headers(self, connection, request, script):
        connection.send(200, [("Content-Type", "application/json")], json_bytes(request.headers))

    def play_empty(self, connection, request, script):
        connection.send(200, link_headers(script))

    def play_reply(self, connection, request, script):
        headers = pairs_of(script.get("headers", {})) + link_headers(script)
        connection.send(script.get("status", 200), headers, body_of(script), script.get("chunked", False))

    def play_operation_error(self, connection, request, script):
        state = script.get("state", "failed")
        failure = {"message": script.get("message", "scripted failure")}
        if script.get("style") != "old":
            failure = {"message": "operation error", "metadata": {"type": "nexus.OperationError"},
                       "details": {"state": state}, "cause": failure}
        connection.send(424, [("Content-Type", "application/json"), ("Nexus-Operation-State", state)],
                        json_bytes(failure))

    def play_handler_error(self, connection, request, script):
        self.refuse(connection, script, script.get("status", 500))

    def play_flaky(self, connection, request, script):
        if self.record.attempt_of(request.request_id) > script.get("times", 2):
            self.play_echo(connection, request, script)
        else:
            self.refuse(connection, script, script.get("status", 503))

    def play_hang(self, connection, request, script):
        if script.get("for"):
            connection.later(self.delay(seconds(script["for"]), self.play_echo, connection, request, script))

    def play_drip(self, connection, request, script):
        connection.later(self.drip(connection, script))

    async def drip(self, connection, script):
        size = script.get("size", 100)
        head = b"HTTP/1.1 200 Status\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % size
        body = b'"' + b"x" * (size - 2) + b'"'
        if script.get("in", "body") == "body":
            connection.transport.write(head)
        else:
            body = head + body
        for at in range(len(body)):
            await asyncio.sleep(seconds(script.get("interval", 10)))
            connection.transport.write(body[at:at + 1])
        connection.done()

    def play_close(self, connection, request, script):
        connection.later(self.go_away(connection, script, connection.transport.close))

    def play_reset(self, connection, request, script):
        connection.later(self.go_away(connection, script, lambda: abort(connection.transport)))

    async def go_away(self, connection, script, leave):
        if script.get("sent"):
            connection.transport.write(script["sent"].encode())
        await asyncio.sleep(seconds(script.get("after", 0)))
        leave()

    def play_garbage(self, connection, request, script):
        connection.transport.write(b"\x16\x03\x01 this is no HTTP \r\n\r\n")
        connection.transport.close()

    def play_huge(self, connection, request, script):
        body = b'"' + b"x" * (script.get("size", 4 * 1024 * 1024) - 2) + b'"'
        connection.send(200, [("Content-Type", "application/json")], body, script.get("chunked", False))

    def play_bad_started(self, connection, request, script):
        connection.send(201, [("Content-Type", "application/json")], as_bytes(script.get("body", "{}")))

    def play_redirect(self, connection, request, script):
        connection.send(script.get("status", 307), [("Location", script.get("location", "/elsewhere"))])

    def play_async(self, connection, request, script):
        operation = self.record.operations.get(request.request_id)
        if operation is not None:
            self.send_started(connection, operation)
            return
        operation = Operation(request, script)
        self.record.operations[request.request_id] = operation
        if script.get("early"):
            connection.later(self.complete_early(connection, operation))
            return
        self.send_started(connection, operation)
        if script.get("after", 10) is None:
            self.record.held[request.request_id] = operation
        else:
            self.background(self.complete(operation, script, script.get("after", 10)))

    def send_started(self, connection, operation):
        script = operation.script
        if script.get("style") == "old":
            body = {"id": operation.token, "state": "running"}
        else:
            body = {"token": operation.token, "state": "running"}
        connection.send(201, [("Content-Type", "application/json")] + link_headers(script), json_bytes(body))

    async def complete_early(self, connection, operation):
        await self.complete(operation, operation.script, operation.script.get("after", 0))
        self.send_started(connection, operation)

    async def complete(self, operation, script, after):
        if after:
            await asyncio.sleep(seconds(after))
        for _ in range(script.get("times", 1)):
            await self.sender.send(operation, script)

    # Cancel requests.

    def cancel(self, connection, request):
        token = request.headers.get("nexus-operation-token") or request.query.get("token", "")
        operation = next((found for found in self.record.operations.values() if found.token == token), None)
        script = operation.script.get("cancel", {}) if operation else {"status": 404}
        status = script.get("status", 202)
        if script.get("hang"):
            return
        if status != 202 and self.record.attempt_of("cancel " + token) <= script.get("times", sys.maxsize):
            self.refuse(connection, script, status)
            return
        if script.get("early"):
            connection.later(self.accept_late(connection, operation, script))
            return
        connection.send(202)
        if script.get("complete"):
            self.background(self.complete_canceled(operation, script))

    async def accept_late(self, connection, operation, script):
        await self.complete_canceled(operation, script)
        connection.send(202)

    async def complete_canceled(self, operation, script):
        self.record.held.pop(operation.request_id, None)
        outcome = dict(script, state=script["complete"], times=1)
        await self.complete(operation, outcome, script.get("after", 0))

    # What tests ask.

    def control_log(self, request):
        return self.record.log(int(request.query.get("since", 0)), request.query.get("request_id"),
                               request.query.get("kind"))

    def control_callbacks(self, request):
        since = int(request.query.get("since", 0))
        return {"next": len(self.record.callbacks), "entries": self.record.callbacks[since:]}

    def control_request_ids(self, request):
        return self.record.starts_of

    def control_stats(self, request):
        return self.record.stats()

    def control_release(self, request):
        count = int(request.query.get("count", 0)) or len(self.record.held)
        released = [self.record.held.pop(request_id) for request_id in list(self.record.held)[:count]]
        for operation in released:
            self.background(self.complete(operation, dict(operation.script, **request.script()), 0))
        return {"released": len(released)}

    def control_complete(self, request):
        operation = self.record.operations.get(request.query.get("request_id"))
        if operation is None:
            return {"completed": 0}
        script = dict(operation.script, **request.script())
        self.background(self.complete(operation, script, script.get("after") or 0))
        return {"completed": 1}

    def control_open(self, request):
        self.gate(request.query.get("gate")).set()
        return {}

    def control_forget(self, request):
        self.record.forget()
        return {}


def abort(transport):
    """Close so that the peer sees a reset."""
    import socket
    import struct
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class CallbackSender:
    """Sends completions over kept connections."""

    def __init__(self, record):
        self.record = record
        self.idle = {}

    async def send(self, operation, script):
        url = script.get("callback") or operation.callback
        if not url:
            return
        entry = {"time": time.time(), "request_id": operation.request_id, "url": url, "status": None}
        try:
            entry["status"], entry["body"] = await self.post(urllib.parse.urlsplit(url), *self.message(operation, script))
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            entry["error"] = str(error) or type(error).__name__
        self.record.callbacks.append(entry)
        if script.get("repeat") and (entry["status"] is None or entry["status"] >= 500):
            await asyncio.sleep(script["repeat"] / 1000)
            await self.send(operation, script)

    def message(self, operation, script):
        state = script.get("state", "succeeded")
        headers = dict(operation.callback_headers)
        headers.update({
            "Content-Type": "application/json", "Nexus-Operation-State": state,
            "Nexus-Operation-Token": operation.token,
            "Nexus-Operation-Start-Time": email.utils.formatdate(operation.start_time, usegmt=True)})
        if script.get("close_time"):
            headers["Nexus-Operation-Close-Time"] = script["close_time"]
        if "body" in script or "body_base64" in script:
            body = body_of(script)
        elif state == "succeeded":
            body = json_bytes(script.get("result", {"token": operation.token}))
        else:
            body = json_bytes(script.get("failure", {"message": "scripted " + state}))
        given = pairs_of(script.get("headers", {}))
        names = {name.lower() for name, value in given}
        pairs = [(name, value) for name, value in headers.items() if name.lower() not in names]
        pairs += [(name, value) for name, value in given if value is not None]
        return pairs + link_headers(script), body, script.get("chunked", False)

    async def post(self, url, headers, body, is_chunked):
        key = (url.scheme, url.hostname, url.port)
        target = url.path + ("?" + url.query if url.query else "")
        head = ["POST %s HTTP/1.1" % (target or "/"), "Host: " + url.netloc] + ["%s: %s" % pair for pair in headers]
        head.append("Transfer-Encoding: chunked" if is_chunked else "Content-Length: %d" % len(body))
        message = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + (chunked(body) if is_chunked else body)
        while self.idle.get(key):
            reader, writer = self.idle[key].pop()
            try:
                return await self.exchange(key, reader, writer, message)
            except (OSError, asyncio.IncompleteReadError):
                writer.close()
        context = None
        if url.scheme == "https":
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
        return await self.exchange(key, reader, writer, message)

    async def exchange(self, key, reader, writer, message):
        writer.write(message)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head[1:]}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        idle = self.idle.setdefault(key, [])
        if headers.get("connection", "").lower() == "close" or len(idle) >= MAX_IDLE_CONNECTIONS:
            writer.close()
        else:
            idle.append((reader, writer))
        return int(head[0].split(" ")[1]), body.decode("utf-8", "replace")


def server_tls(options):
    if not options.cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.cert, options.key)
    if options.client_ca:
        context.load_verify_locations(options.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if options.max_tls:
        context.maximum_version = ssl.TLSVersion["TLSv" + options.max_tls.replace(".", "_")]
    return context


def port_of(server):
    return server.sockets[0].getsockname()[1]


async def serve(options):
    loop = asyncio.get_running_loop()
    handler = Handler()
    tls = server_tls(options)
    server = await loop.create_server(lambda: Connection(handler), options.host, options.port, ssl=tls, backlog=1024)
    control = await loop.create_server(lambda: Connection(handler), "127.0.0.1", 0) if tls else server
    print("port %d %d" % (port_of(server), port_of(control)), flush=True)
    ended = asyncio.Event()
    if not options.stay:
        loop.add_reader(sys.stdin.fileno(), lambda: ended.set() if not sys.stdin.buffer.read1(4096) else None)
    await ended.wait()


def main():
    parser = argparse.ArgumentParser(description="a Nexus handler that does as it is told")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--client-ca")
    parser.add_argument("--max-tls", choices=["1.2", "1.3"])
    parser.add_argument("--stay", action="store_true", help="do not leave when the standard input ends")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
