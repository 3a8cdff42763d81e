"""The engine against a simulated server in simulated time: nothing waits, and the machine's load changes nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from simulated_time import simulated

from datagen.llm.accounts.cache import Cache
from datagen.llm.accounts.money import Ledger
from datagen.llm.accounts.prices import Prices
from datagen.llm.chat import Chat
from datagen.llm.endpoint import Endpoint
from datagen.llm.engine import Engine
from datagen.llm.messages import Message, Reply, Request
from datagen.llm.providers import Hear, deaf, mock


class Queueing:
    """A server of four places that take 20 ms each: whoever comes beyond that waits without being told."""

    def __init__(self) -> None:
        self.places = asyncio.Semaphore(4)
        self.open = self.most_open = 0

    async def send(self, body: bytes, sample: int = 0, hear: Hear = deaf) -> dict[str, Any]:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        async with self.places:
            await asyncio.sleep(0.02)
        self.open -= 1
        asked = json.loads(body)
        return mock.completion(asked, asked["messages"][-1]["content"])

    async def close(self) -> None: ...


def test_a_server_that_queues_in_silence_is_not_swamped(tmp_path: Path) -> None:
    requests = [Request((Message("user", f"row {number}"),), stage="prompts") for number in range(600)]
    cache, ledger = Cache(tmp_path / "replies.sqlite"), Ledger(tmp_path / "ledger.sqlite")
    replies: dict[int, Reply] = {}

    async def run() -> tuple[int, float]:
        server = Queueing()
        endpoint = Endpoint("http://127.0.0.1/v1", "m")
        engine = Engine(endpoint, server, Chat(endpoint, print), cache, ledger, None, Prices({}, {}), print)
        await engine.work(requests, replies.update)
        await engine.close()
        return server.most_open, asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=simulated) as runner:
        most_open, seconds = runner.run(run())
    cache.close()
    ledger.close()
    assert [replies[number].value for number in range(600)] == [f"row {number}" for number in range(600)]
    assert most_open < 128
    assert seconds < 1.1 * 600 / 4 * 0.02  # and its four places never stood empty for long
