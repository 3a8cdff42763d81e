"""OpenAI-compatible servers on loopback that misbehave as they are told, and count and log every call.

`Stub` runs one in a process and a session of its own, so that it outlives whoever is killed; `serving` runs one in a
thread of ours. What is said comes from the mock (datagen/llm/providers/mock.py), what goes wrong is said here.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from datagen.llm.providers import mock

ROOT = Path(__file__).parents[2]
KEY, MODEL = "stub-key", "stub-model"


class Server:
    """What all stubs have: `faults` that can be changed while it runs, `counts`, and both over HTTP."""

    def __init__(self, faults: Any) -> None:
        self.faults = faults  # a dataclass
        self.counts: collections.Counter[str] = collections.Counter()

    def app(self) -> web.Application:
        """The server for aiohttp."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_get("/stats", self._show)
        app.router.add_post("/faults", self._set)
        return app

    def stats(self) -> dict[str, Any]:
        """What `/stats` shows."""
        return dict(self.counts)

    def change(self, **faults: Any) -> None:
        """Behave otherwise from now on."""
        self.faults = dataclasses.replace(self.faults, **faults)

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response(self.stats())

    async def _set(self, request: web.Request) -> web.Response:
        self.change(**await request.json())
        return web.json_response({})


@dataclasses.dataclass(frozen=True)
class Faults:
    """Shares of the calls (0 to 1) that go wrong in each way, and what holds for all of them."""

    busy: float = 0.0  # 429
    busy_code: str = "rate_limit_exceeded"  # the code in a 429's error
    retry_after: str = ""  # its Retry-After; none if empty
    error: float = 0.0  # 500
    drop: float = 0.0  # the connection ends half-way through the body
    hang: float = 0.0  # no answer at all
    broken: float = 0.0  # content that is not JSON, under HTTP 200
    garbage: float = 0.0  # a body that is not JSON, under HTTP 200
    refusal: float = 0.0
    html: float = 0.0
    rejected: float = 0.0  # 400
    delay: float = 0.0  # seconds of thinking
    ignores_format: bool = False  # response_format is ignored, and prose comes
    size: int = 0  # characters of filling in every string
    secret: bool = False  # wants KEY and MODEL
    writes: bool = False  # says what the mock says, and another text each time that the same is asked


class ChatServer(Server):
    """POST /v1/chat/completions. Unless it `writes`, every string of a reply is `saying` of what was asked."""

    def __init__(self, faults: Faults, log: Path | None = None, seed: int = 0) -> None:
        super().__init__(faults)
        self.rng = random.Random(seed)
        self.open = self.most_open = 0
        self._asked: collections.Counter[str] = collections.Counter()
        self._log = log.open("a", buffering=1) if log else None

    def app(self) -> web.Application:
        """The server for aiohttp."""
        app = super().app()
        app.router.add_post("/v1/chat/completions", self.complete)
        return app

    def stats(self) -> dict[str, Any]:
        """How often each fate befell a call, and the calls at once, now and at most."""
        return {**self.counts, "open": self.open, "most_open": self.most_open}

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer one call, or not."""
        raw = await request.read()
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            return await self._answer(request, raw, self._fate())
        finally:
            self.open -= 1

    def _fate(self) -> str:
        dice = self.rng.random()
        for name in ("busy", "error", "drop", "hang", "broken", "garbage", "refusal", "html", "rejected"):
            dice -= getattr(self.faults, name)
            if dice < 0:
                return name
        return "ok"

    def _note(self, fate: str, raw: bytes) -> None:
        self.counts[fate] += 1
        if self._log:
            call = hashlib.sha256(raw).hexdigest()
            line = {"time": time.time(), "fate": fate, "call": call, "bytes": len(raw), "open": self.open}
            self._log.write(json.dumps(line) + "\n")

    async def _answer(self, request: web.Request, raw: bytes, fate: str) -> web.StreamResponse:
        asked = json.loads(raw)
        if self.faults.secret and (refused := self._credentials(request, asked)):
            return refused
        if fate in ("busy", "error", "html", "rejected"):
            self._note(fate, raw)
            return self._refusal(fate)
        if fate == "hang":
            self._note(fate, raw)
            await asyncio.sleep(3600)
        if self.faults.delay:
            await asyncio.sleep(self.faults.delay)
        body = json.dumps(self._completion(asked, fate)).encode()
        self._note(fate, raw)
        if fate == "garbage":
            body = body[: len(body) // 2]
        if fate == "drop":
            response = web.StreamResponse(headers={"Content-Length": str(len(body))})
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
            assert request.transport is not None
            request.transport.abort()
            return response
        return web.Response(body=body, content_type="application/json")

    def _credentials(self, request: web.Request, asked: dict[str, Any]) -> web.Response | None:
        if (given := request.headers.get("Authorization", "")) != f"Bearer {KEY}":
            return error(401, f"Incorrect API key provided: {given.removeprefix('Bearer ')}.", "invalid_api_key")
        if asked["model"] != MODEL:
            return error(404, f"The model {asked['model']!r} does not exist.", "model_not_found")
        return None

    def _refusal(self, fate: str) -> web.Response:
        if fate == "busy":
            response = error(429, "Rate limit reached.", self.faults.busy_code)
            if self.faults.retry_after:
                response.headers["Retry-After"] = self.faults.retry_after
            return response
        if fate == "html":
            return web.Response(text="<!doctype html><title>Welcome</title>", content_type="text/html")
        if fate == "rejected":
            return error(400, "This model's maximum context length is 128 tokens.", "context_length_exceeded")
        return error(500, "The server had an error.", "server_error")

    def _completion(self, asked: dict[str, Any], fate: str) -> dict[str, Any]:
        if fate == "broken":
            return mock.completion(asked, "Well, let me think about that.")
        if fate == "refusal":
            return mock.completion(asked, None, refusal="I'm sorry, I can't help with that.")
        question = next(message["content"] for message in asked["messages"] if message["role"] == "user")
        if self.faults.writes:
            self._asked[question] += 1
            return mock.completion(asked, mock.answer(asked, self._asked[question]))
        return mock.completion(asked, self._reply(asked, saying(question) + "x" * self.faults.size))

    def _reply(self, asked: dict[str, Any], text: str) -> str:
        """Text that only this question gets, in the shape that was asked for."""
        form = asked.get("response_format")
        if not form or self.faults.ignores_format:
            return text
        if form["type"] == "json_object":
            return json.dumps({"text": text})
        schema, rng = form["json_schema"]["schema"], random.Random(text)
        return json.dumps(mock.value(schema, lambda longest, place: text, rng, entries=1))


def saying(question: Any) -> str:
    """The text that a first user message is answered with."""
    return f"reply {hashlib.sha256(json.dumps(question).encode()).hexdigest()[:16]}"


def error(status: int, message: str, code: str, **parts: Any) -> web.Response:
    """An error as OpenAI words it."""
    return web.json_response({"error": {"message": message, "type": "error", "code": code, **parts}}, status=status)


class Stub:
    """A server in a process of its own; as a context manager it ends with the block, whoever else was killed."""

    program = Path(__file__)

    def __init__(self, log: Path | None = None, *, seed: int = 0, **faults: Any) -> None:
        # -P: the modules that lie beside the program are not to be found by their bare names.
        command = [sys.executable, "-P", str(self.program), "--seed", str(seed), "--faults", json.dumps(faults)]
        command += ["--log", str(log)] if log else []
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ, "PYTHONPATH": path}
        )
        assert self.process.stdout is not None
        self.address = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self.base_url = f"{self.address}/v1"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def stats(self) -> collections.Counter[str]:
        """The server's `stats`; 0 for what never happened."""
        with urllib.request.urlopen(f"{self.address}/stats") as answer:
            return collections.Counter(json.load(answer))

    def change(self, **faults: Any) -> None:
        """Behave otherwise from now on."""
        request = urllib.request.Request(f"{self.address}/faults", json.dumps(faults).encode())
        urllib.request.urlopen(request).close()


@contextlib.contextmanager
def serving(**faults: Any) -> Iterator[tuple[str, ChatServer]]:
    """The base URL of a server in a thread of ours, and the server, whose `counts` may be read."""
    server = ChatServer(Faults(**faults))
    with in_a_thread(server) as url:
        yield url, server


@contextlib.contextmanager
def in_a_thread(server: Server) -> Iterator[str]:
    """Serve in a thread of ours; the base URL."""
    loop = asyncio.new_event_loop()
    stop, ready, ports = asyncio.Event(), threading.Event(), list[int]()

    def listening(port: int) -> None:
        ports.append(port)
        ready.set()

    async def run() -> None:
        await serve(server, listening, stop)
        hanging = asyncio.all_tasks() - {asyncio.current_task()}
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield f"http://127.0.0.1:{ports[0]}/v1"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


async def serve(server: Server, listening: Any, stop: asyncio.Event) -> None:
    """Serve at a free port, of which `listening` is told, until `stop`."""
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    listening(runner.addresses[0][1])
    await stop.wait()
    await runner.cleanup()


PAID = ("ok", "broken", "refusal")  # fates of calls whose completion was delivered whole


def calls(log: Path, fates: tuple[str, ...] = PAID) -> list[str]:
    """The calls of a log that had one of these fates, in order, as hashes of what was asked."""
    lines = map(json.loads, log.read_text().splitlines()) if log.exists() else []
    return [line["call"] for line in lines if line["fate"] in fates]


def main(make: Any) -> None:
    """Serve `make(faults, log, seed)` until killed, and print its port."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=json.loads, default={}, help="JSON of the fields of its faults")
    given = parser.parse_args()
    server = make(given.faults, given.log, given.seed)
    asyncio.run(serve(server, lambda port: print(port, flush=True), asyncio.Event()))


if __name__ == "__main__":
    main(lambda faults, log, seed: ChatServer(Faults(**faults), log, seed))
