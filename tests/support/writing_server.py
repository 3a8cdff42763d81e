"""The stub server with something to say: it answers the writer's requests as `FakeLlm` does, in a thread of ours."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import json
import random
import threading
from collections.abc import Iterator
from typing import Any

from aiohttp import web
from fake_llm import FakeLlm
from stub_server import Faults, Server

from datagen.llm.messages import Message, Request
from datagen.writers import replies


class WritingServer(Server):
    """Counts calls, and gives another text each time that the same is asked."""

    def __init__(self, faults: Faults, seed: int = 0) -> None:
        super().__init__(faults, None, seed)
        self._llm = FakeLlm(brief=True)  # the embedded tokenizer spells what is not of its world
        self._times: collections.Counter[str] = collections.Counter()

    def change_now(self, **faults: Any) -> None:
        """Behave otherwise from now on."""
        self.faults = dataclasses.replace(self.faults, **faults)

    def _completion(self, asked: dict[str, Any], raw: bytes, fate: str) -> dict[str, Any]:
        completion = super()._completion(asked, raw, fate)
        name = (asked.get("response_format") or {}).get("json_schema", {}).get("name", "")
        if fate == "ok" and (reply := getattr(replies, name, None)) is not None:
            text = next(message["content"] for message in asked["messages"] if message["role"] == "user")
            self._times[text] += 1
            rng = random.Random(f"{text} {self._times[text]}")
            value = self._llm.value(Request((Message("user", text),), reply), rng)
            completion["choices"][0]["message"]["content"] = json.dumps(value.model_dump())
        return completion


@contextlib.contextmanager
def serving(**faults: Any) -> Iterator[tuple[str, WritingServer]]:
    """The base URL of a server on loopback, and the server, whose `counts` and `faults` may be read and set."""
    server, loop, ready = WritingServer(Faults(**faults)), asyncio.new_event_loop(), threading.Event()
    address: list[str] = []

    async def serve() -> None:
        runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address.append(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
        ready.set()
        await stop.wait()
        await runner.cleanup()

    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield address[0], server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
