#!/usr/bin/env python3
"""Callers that forge callbacks, as fast as they are told to.

    forger.py --port N --incarnation UUID --operation UUID [--rate 1000] [--connections 8]

starts at once, and when its standard input ends prints one JSON object:

    {"sent", "seconds", "lost": connections that ended without an answer,
     "slowest": seconds until an answer came, "answers": {KIND: {STATUS: how many}}}

The kinds, one after the other:

    mac             this operation, a well-formed token that is not its
    operation       an operation that does not exist, such a token
    incarnation     a database that does not exist
    path            anywhere
    none, malformed no token, or what is none
    method          GET
    large           as mac, with 100 kB of body
    garbage         no HTTP; an answer is waited for only shortly
"""
import argparse
import asyncio
import json
import random
import string
import sys
import time
import uuid

KINDS = ("mac", "operation", "incarnation", "path", "none", "malformed", "method", "large", "garbage")
GARBAGE_PATIENCE = 0.1
LARGE = b"x" * 100_000
BASE64URL = string.ascii_letters + string.digits + "-_"


def forged_token():
    # the last digit stands for four bits only
    return "1.1." + "".join(random.choices(BASE64URL, k=42)) + random.choice("AEIMQUYcgkosw048")


class Forger:
    def __init__(self, options):
        self.options = options
        self.answers = {kind: {} for kind in KINDS}
        self.sent = 0
        self.lost = 0
        self.slowest = 0
        self.is_over = False

    def request(self, kind):
        options = self.options
        incarnation, operation, token, method, body = options.incarnation, options.operation, forged_token(), "POST", b"1"
        if kind == "garbage":
            return random.randbytes(60).replace(b"\n", b"") + b"\r\n\r\n"
        if kind == "operation":
            operation = uuid.uuid4()
        elif kind == "incarnation":
            incarnation = uuid.uuid4()
        elif kind == "none":
            token = None
        elif kind == "malformed":
            token = "".join(random.choices(string.printable[:94], k=47))
        elif kind == "method":
            method, body = "GET", b""
        elif kind == "large":
            body = LARGE
        path = "/nexus/callback/%s/%s" % (incarnation, operation)
        if kind == "path":
            path = "/" + "/".join("".join(random.choices(BASE64URL, k=8)) for _ in range(random.randrange(6)))
        head = ["%s %s HTTP/1.1" % (method, path), "Host: localhost", "Content-Type: application/json",
                "Nexus-Operation-State: succeeded", "Content-Length: %d" % len(body)]
        if token is not None:
            head.append("Nexus-Pg-Token: " + token)
        return "\r\n".join(head + ["", ""]).encode() + body

    async def attack(self, number):
        reader = writer = None
        pause = self.options.connections / self.options.rate
        due = time.monotonic() + pause * random.random()
        while not self.is_over:
            await asyncio.sleep(max(0, due - time.monotonic()))
            due += pause
            kind = KINDS[(self.sent + number) % len(KINDS)]
            self.sent += 1
            begin = time.monotonic()
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.options.port)
                writer.write(self.request(kind))
                patience = GARBAGE_PATIENCE if kind == "garbage" else None
                status, is_last = await asyncio.wait_for(self.answer(reader), patience)
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                status, is_last = "none", True
            self.slowest = max(self.slowest, time.monotonic() - begin)
            self.answers[kind][status] = self.answers[kind].get(status, 0) + 1
            if is_last and writer is not None:
                self.lost += status == "none"
                writer.close()
                writer = None

    async def answer(self, reader):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head[1:]}
        await reader.readexactly(int(headers.get("content-length", 0)))
        return head[0].split(" ")[1], headers.get("connection", "").lower() == "close"

    async def run(self):
        begin = time.monotonic()
        tasks = [asyncio.ensure_future(self.attack(number)) for number in range(self.options.connections)]
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(
            sys.stdin.fileno(), lambda: ended.set() if not sys.stdin.buffer.read1(4096) else None)
        await ended.wait()
        self.is_over = True
        await asyncio.gather(*tasks)
        print(json.dumps({"sent": self.sent, "seconds": time.monotonic() - begin, "lost": self.lost,
                          "slowest": self.slowest, "answers": self.answers}))


def main():
    parser = argparse.ArgumentParser(description="forges callbacks")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--incarnation", required=True)
    parser.add_argument("--operation", required=True)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--connections", type=int, default=8)
    asyncio.run(Forger(parser.parse_args()).run())


if __name__ == "__main__":
    main()
