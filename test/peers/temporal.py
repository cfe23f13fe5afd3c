#!/usr/bin/env python3
"""A Temporal Server with a Nexus endpoint and a worker behind it, for as long as
standard input stays open.

    temporal.py VENV LOG_DIRECTORY

VENV is where "test/packages temporal" installed it.  When everything answers,
lines of NAME VALUE are printed, "ready" being the last: address (gRPC), http,
namespace (the handlers'), endpoint (its name) and url (what CREATE SERVER takes).
"""
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

# The names of Temporal's own Nexus samples.
NAMESPACE = "nexus-simple-handler-namespace"
CALLER_NAMESPACE = "nexus-simple-caller-namespace"
ENDPOINT = "nexus-simple-endpoint"
TASK_QUEUE = "nexus-simple-handler-task-queue"
READY_WITHIN = 60
PR_SET_PDEATHSIG = 1

# Callbacks to this machine are allowed.  One that finds nobody is tried again
# within seconds, where the defaults would wait a minute after six of them.
SETTINGS = [
    'callback.allowedAddresses=[{"Pattern":"127.0.0.1:*","AllowInsecure":true}]',
    "callback.retryPolicy.maxInterval=\"2s\"",
    "component.callbacks.retryPolicy.maxInterval=\"2s\"",
    'history.outboundQueue.circuitBreakerSettings={"Timeout":"1s"}',
    "frontend.enableServerVersionCheck=false",
]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def leave_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Temporal:
    def __init__(self, venv, log_directory):
        self.temporal = os.path.join(venv, "bin", "temporal")
        self.python = os.path.join(venv, "bin", "python")
        self.log_directory = log_directory
        self.processes = []
        self.grpc, self.http, self.metrics = free_ports(3)
        self.address = f"127.0.0.1:{self.grpc}"
        self.environment = dict(os.environ, TEMPORAL_VERSION_CHECK_DISABLED="1", PYTHONDONTWRITEBYTECODE="1")

    def start_process(self, name, *command):
        with open(os.path.join(self.log_directory, name + ".log"), "ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env=self.environment, preexec_fn=leave_with_parent)
        self.processes.append(process)
        return process

    def ask(self, *arguments):
        return subprocess.run([self.temporal, "--address", self.address, *arguments], env=self.environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def start(self):
        settings = [part for setting in SETTINGS for part in ("--dynamic-config-value", setting)]
        self.start_process(
            "temporal", self.temporal, "server", "start-dev", "--headless", "--ip", "127.0.0.1",
            "--port", str(self.grpc), "--http-port", str(self.http), "--metrics-port", str(self.metrics),
            "--log-level", "error", "--namespace", NAMESPACE, "--namespace", CALLER_NAMESPACE, *settings)
        self.wait_for("the server", lambda: self.ask("operator", "cluster", "health").returncode == 0)
        self.wait_for("the endpoint", lambda: self.ask(
            "operator", "nexus", "endpoint", "create", "--name", ENDPOINT, "--target-namespace", NAMESPACE,
            "--target-task-queue", TASK_QUEUE).returncode == 0)
        endpoints = json.loads(self.ask("operator", "nexus", "endpoint", "list", "-o", "json").stdout)
        self.url = f"http://127.0.0.1:{self.http}/nexus/endpoints/{endpoints[0]['id']}/services"
        worker = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")
        self.start_process("worker", self.python, worker, self.address, NAMESPACE, TASK_QUEUE)
        self.wait_for("the worker", self.echoes)

    def echoes(self):
        request = urllib.request.Request(
            self.url + "/HelloService/Echo", data=b'{"Message":"ready?"}', method="POST",
            headers={"Content-Type": "application/json", "Nexus-Request-Id": "ready", "Request-Timeout": "2s"})
        try:
            with urllib.request.urlopen(request, timeout=3) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def wait_for(self, what, is_there):
        end = time.monotonic() + READY_WITHIN
        while not is_there():
            ended = [process.args[0] for process in self.processes if process.poll() is not None]
            if ended or time.monotonic() > end:
                raise SystemExit(f"temporal.py: {what} did not come up ({' '.join(ended) or 'timed out'}), "
                                 f"see {self.log_directory}")
            time.sleep(0.1)

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def leave(number, frame):
    raise SystemExit(128 + number)


def main(venv, log_directory):
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    temporal = Temporal(venv, log_directory)
    try:
        temporal.start()
        for name, value in (("address", temporal.address), ("http", f"http://127.0.0.1:{temporal.http}"),
                            ("namespace", NAMESPACE), ("endpoint", ENDPOINT), ("url", temporal.url)):
            print(name, value)
        print("ready", flush=True)
        while sys.stdin.buffer.read1(4096):
            pass
    finally:
        temporal.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
