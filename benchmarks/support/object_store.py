"""An object store on loopback: an S3 server of a package, and a proxy in front of it that loses things."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import importlib
import logging
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FAULTS = ("busy", "away", "reset", "lost reply", "slow")
ENDING = FAULTS[:-1]  # those that end a run if all requests get them


@dataclasses.dataclass
class Store:
    """Where it answers, what it was asked, and what is to go wrong with it."""

    folder: Path  # of its buckets
    endpoint: str = ""
    backend: int = 0
    requests: Counter[str] = dataclasses.field(default_factory=Counter)
    faults: Counter[str] = dataclasses.field(default_factory=Counter)
    rate: float = 0.0  # of requests that get a fault
    only: str = ""  # the one fault, of FAULTS
    when: str = ""  # only requests whose method and path hold this
    spared: int = 0  # so many of those before the first that gets a fault
    rng: random.Random = dataclasses.field(default_factory=lambda: random.Random(0))
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def fault(self, line: str) -> str:
        """The fault that a request gets, "" for none."""
        with self.lock:
            self.requests[line.partition(" ")[0] + (" list" if "list-type" in line else "")] += 1
            if self.when not in line:
                return ""
            self.spared -= 1
            if self.spared >= 0 or self.rng.random() >= self.rate:
                return ""
            name = self.only or self.rng.choice(FAULTS)
            self.faults[name] += 1
            return name


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Store]:
    """A store whose buckets are the folders in `folder`."""
    localbucket = importlib.import_module("localbucket")  # here, as it is no part of what users install
    logging.getLogger("localbucket").setLevel(logging.ERROR)
    store = Store(folder)
    backend = type(
        "Backend",
        (localbucket.S3Handler,),
        {"data_root": folder, "log_message": _quiet, "disable_nagle_algorithm": True},
    )
    with _started(backend) as port, _started(type("Proxy", (_Proxy,), {"store": store})) as front:
        store.backend, store.endpoint = port, f"http://127.0.0.1:{front}"
        yield store


@contextlib.contextmanager
def _started(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def _quiet(self: BaseHTTPRequestHandler, format: str, *args: object) -> None:
    """No log of requests."""


class _Proxy(BaseHTTPRequestHandler):
    """Hands requests on, and makes of some of them what networks and busy stores do."""

    store: Store
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the other side
    log_message = _quiet

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.store.fault(f"{self.command} {self.path}")
        if fault == "busy":
            return self._answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
        if fault in ("reset", "away"):
            return self._cut(fault == "reset")
        status, headers, reply = self._forward(body)
        if fault == "lost reply":
            return self._cut(True)
        if fault == "slow":
            time.sleep(0.05)
        return self._answer(status, headers, reply)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _handle

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.store.backend)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        connection.request(self.command, self.path, body or None, headers)
        reply = connection.getresponse()
        data = reply.read()
        connection.close()
        return reply.status, dict(reply.getheaders()), data

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        length = headers.get("Content-Length", str(len(body))) if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _cut(self, reset: bool) -> None:
        self.close_connection = True
        if reset:  # the other side is told that all is over, not that this was all
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR) if not reset else self.connection.close()


def environment(store: Store, copies: Path) -> dict[str, str]:
    """What a user of the store has set, with the folder of his copies."""
    return {
        "AWS_ENDPOINT_URL": store.endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "DATAGEN_COPIES": str(copies),
    }
