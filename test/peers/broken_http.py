#!/usr/bin/env python3
"""A Nexus handler whose HTTP may be broken in any way that can be written down.

    broken_http.py [--port N]

prints "port N N" when it listens, and leaves when its standard input ends.  What
well-formed answers may say is for handler.py; here the answer is bytes.

A request's header X-Script is a JSON object that says what becomes of it:

    send    a list of what is sent, one after the other:
                "text"                      these bytes; a character is one byte, up to \\u00ff
                {"repeat": "text"}          without end, or {"times": N}
                {"text": "text", "every": ms}   byte by byte, with so much time in between
                {"wait": ms}                nothing for so long
                {"size": N}                 so many bytes "x"
    read    "body" (before anything is sent, the default), "head" (the body is left unread)
    end     "keep" (the connection serves another request, the default), "close", "reset",
            "hang" (it stays open, silent), "desert" (as keep, but the next request on it is
            read and the connection closed without an answer)

    cancel  such an object, for a later cancel request (POST .../cancel)

    GET /stats      {"requests": how many came, "played": how many were answered to the end of
                    their list, "connections", "open_connections"}
"""
import argparse
import asyncio
import json
import socket
import struct
import sys

BLOCK = 64 * 1024  # what repeats is sent in pieces of about this size
HEAD_MAX = 256 * 1024


class Server:
    def __init__(self):
        self.requests = 0
        self.played = 0
        self.connections = 0
        self.open_connections = 0

    async def serve(self, reader, writer):
        self.connections += 1
        self.open_connections += 1
        try:
            await Connection(self, reader, writer).run()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open_connections -= 1
            writer.close()

    def stats(self):
        return {"requests": self.requests, "played": self.played, "connections": self.connections,
                "open_connections": self.open_connections}


class Connection:
    def __init__(self, server, reader, writer):
        self.server = server
        self.reader = reader
        self.writer = writer

    async def run(self):
        is_deserted = False
        while True:
            target, headers = await self.read_head()
            if target == "/stats":
                await self.answer_stats()
                continue
            if is_deserted:
                return
            self.server.requests += 1
            script = json.loads(headers.get("x-script", "{}"))
            if target.endswith("/cancel"):
                script = script.get("cancel", {})
            if script.get("read", "body") == "body":
                await self.reader.readexactly(int(headers.get("content-length", 0)))
            for part in script.get("send", ()):
                await self.send(part)
            self.server.played += 1
            end = script.get("end", "keep")
            if end in ("close", "reset"):
                self.leave(end == "reset")
                return
            if end == "hang":
                await self.reader.read()
                return
            is_deserted = end == "desert"

    async def read_head(self):
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head[1:]}
        return head[0].split(" ")[1], headers

    async def answer_stats(self):
        body = json.dumps(self.server.stats()).encode()
        await self.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async def write(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def send(self, part):
        if isinstance(part, str):
            await self.write(to_bytes(part))
        elif "repeat" in part:
            await self.repeat(to_bytes(part["repeat"]), part.get("times", sys.maxsize))
        elif "size" in part:
            await self.write(b"x" * part["size"])
        elif "every" in part:
            for byte in to_bytes(part["text"]):
                await self.write(bytes([byte]))
                await asyncio.sleep(part["every"] / 1000)
        else:
            await asyncio.sleep(part["wait"] / 1000)

    async def repeat(self, data, times):
        in_block = min(times, max(1, BLOCK // len(data)))
        block = data * in_block
        while times > 0:
            count = min(times, in_block)
            await self.write(block[:count * len(data)])
            times -= count

    def leave(self, with_reset):
        if not with_reset:
            return
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def to_bytes(text):
    return text.encode("latin-1")


async def serve(options):
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", options.port, limit=HEAD_MAX, backlog=1024)
    port = listening.sockets[0].getsockname()[1]
    print("port %d %d" % (port, port), flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(
        sys.stdin.fileno(), lambda: ended.set() if not sys.stdin.buffer.read1(4096) else None)
    await ended.wait()


def main():
    parser = argparse.ArgumentParser(description="a Nexus handler with broken HTTP")
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
