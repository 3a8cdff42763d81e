"""A server's limits, told in headers, against servers that really have them, in simulated time."""

from __future__ import annotations

import asyncio
import collections
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulated_time import simulated

from benchmarks.support import stub_server
from datagen.llm.accounts.cache import Cache
from datagen.llm.accounts.money import Ledger
from datagen.llm.accounts.prices import Prices
from datagen.llm.chat import Chat
from datagen.llm.client import Client
from datagen.llm.endpoint import Endpoint
from datagen.llm.engine import Engine
from datagen.llm.messages import Message, Reply, Request
from datagen.llm.providers import Hear, RetryableError, deaf, mock
from datagen.llm.wire import allowances

Headers = dict[str, str]
Tell = Callable[[float, float, float], Headers]


def openai(limit: float, left: float, reset: float) -> Headers:
    minutes, seconds = divmod(reset, 60)
    span = f"{minutes:.0f}m{seconds:.3f}s" if minutes else f"{reset * 1000:.0f}ms" if reset < 1 else f"{reset:.3f}s"
    return {
        "x-ratelimit-limit-requests": f"{limit:.0f}",
        "x-ratelimit-remaining-requests": f"{left:.0f}",
        "x-ratelimit-reset-requests": span,
    }


def plain_seconds(limit: float, left: float, reset: float) -> Headers:
    return {
        "RateLimit-Limit": f"{limit:.0f}, {limit:.0f};w=60",
        "RateLimit-Remaining": f"{left:.0f}",
        "RateLimit-Reset": f"{reset:.3f}",
    }


def by_the_minute(limit: float, left: float, reset: float) -> Headers:
    return {
        "x-ratelimit-limit-requests-minute": f"{limit:.0f}",
        "x-ratelimit-remaining-requests-minute": f"{left:.0f}",
        "x-ratelimit-reset-requests-minute": f"{reset:.3f}",
        "x-ratelimit-limit-requests-day": "100000",
        "x-ratelimit-remaining-requests-day": "90000",
        "x-ratelimit-reset-requests-day": "80000",
    }


def without_a_reset(limit: float, left: float, reset: float) -> Headers:
    name = "anthropic-ratelimit-requests"
    return {f"{name}-limit": f"{limit:.0f}", f"{name}-remaining": f"{left:.0f}"}


class Limited:
    """A server with a limit of requests that takes `slow` seconds a call, and refuses what is beyond it.

    `kind`: a "window" that begins anew every `period` seconds, or a "bucket" that fills evenly and is full after one.
    """

    def __init__(self, kind: str, limit: int, tell: Tell, slow: float = 0.5, period: float = 60.0) -> None:
        self.kind, self.limit, self.tell, self.slow, self.period = kind, limit, tell, slow, period
        self.left, self.at = float(limit), 0.0
        self.fates: collections.Counter[str] = collections.Counter()
        self.first_heard = False
        self.refused_after = 0

    def fill(self) -> float:
        """Fill up what time has filled; the seconds until it is full."""
        now = asyncio.get_running_loop().time()
        if self.kind == "bucket":
            self.left = min(self.limit, self.left + (now - self.at) * self.limit / self.period)
            self.at = now
            return (self.limit - self.left) * self.period / self.limit
        if now - self.at >= self.period:
            self.at += self.period * ((now - self.at) // self.period)
            self.left = float(self.limit)
        return self.at + self.period - now

    async def send(self, body: bytes, sample: int = 0, hear: Hear = deaf) -> dict[str, Any]:
        reset = self.fill()
        refused = self.left < 1
        if not refused:
            self.left -= 1
            if self.kind == "bucket":
                reset += self.period / self.limit
        headers = self.tell(self.limit, int(self.left), reset)
        self.fates["refused" if refused else "good"] += 1
        self.refused_after += refused and self.first_heard
        await asyncio.sleep(0.01 if refused else self.slow)
        self.first_heard = True
        hear(allowances.told(headers), not refused)
        if refused:
            raise RetryableError("HTTP 429", busy=True, retry_after=reset)
        asked = json.loads(body)
        return mock.completion(asked, asked["messages"][-1]["content"])

    async def close(self) -> None: ...


def ask(server: Any, count: int, tmp_path: Path, said: list[str] | None = None, **request: Any) -> tuple[int, float]:
    """How many of `count` requests were answered, and the seconds that it took."""
    requests = [Request((Message("user", f"row {number}"),), stage="prompts", **request) for number in range(count)]
    cache, ledger = Cache(tmp_path / "replies.sqlite"), Ledger(tmp_path / "ledger.sqlite")
    replies: dict[int, Reply] = {}
    say = (said if said is not None else []).append

    async def run() -> float:
        endpoint = Endpoint("http://127.0.0.1/v1", "m")
        engine = Engine(endpoint, server, Chat(endpoint, say), cache, ledger, None, Prices({}, {}), say)
        await engine.work(requests, replies.update)
        await engine.close()
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=simulated) as runner:
        seconds = runner.run(run())
    cache.close()
    ledger.close()
    return sum(reply.error is None for reply in replies.values()), seconds


@pytest.mark.parametrize("kind", ["window", "bucket"])
@pytest.mark.parametrize(("limit", "period", "slow"), [(60, 60, 0.5), (200, 60, 1.0), (20, 2, 0.05), (30, 10, 0.2)])
@pytest.mark.parametrize("tell", [openai, plain_seconds, by_the_minute])
def test_nothing_is_refused_once_limits_were_told_and_the_limit_is_used(
    kind: str, limit: int, period: float, slow: float, tell: Tell, tmp_path: Path
) -> None:
    server = Limited(kind, limit, tell, slow, period)
    answered, seconds = ask(server, 6 * limit, tmp_path)
    assert answered == 6 * limit
    assert server.fates["refused"] == 0
    assert answered / seconds >= 0.9 * limit / period


@pytest.mark.parametrize("kind", ["window", "bucket"])
def test_a_limit_without_a_reset_is_taken_to_be_by_the_minute(kind: str, tmp_path: Path) -> None:
    server = Limited(kind, 100, without_a_reset)
    answered, seconds = ask(server, 500, tmp_path)
    assert (answered, server.fates["refused"]) == (500, 0)
    assert answered / seconds >= 0.9 * 100 / 60


def test_what_is_waited_for_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    ask(Limited("window", 50, openai), 200, tmp_path, said)
    assert said == ["http://127.0.0.1/v1: its limit of 50 requests is used up: calls wait until it begins anew"]


def test_a_server_without_headers_is_asked_as_fast_as_it_answers(tmp_path: Path) -> None:
    answered, seconds = ask(Limited("window", 10_000, lambda *_: {}), 400, tmp_path)
    assert answered == 400 and seconds < 10


class TokenLimited(Limited):
    """The limit is of tokens, and a call counts all that it may answer, as OpenAI's do."""

    async def send(self, body: bytes, sample: int = 0, hear: Hear = deaf) -> dict[str, Any]:
        asked = json.loads(body)
        reset, cost = self.fill(), asked["max_tokens"] + 2
        refused = self.left < cost
        if not refused:
            self.left -= cost
        self.fates["refused" if refused else "good"] += 1
        headers = {
            "x-ratelimit-limit-tokens": f"{self.limit}",
            "x-ratelimit-remaining-tokens": f"{self.left:.0f}",
            "x-ratelimit-reset-tokens": f"{reset:.2f}s",
        }
        await asyncio.sleep(self.slow)
        hear(allowances.told(headers), not refused)
        if refused:
            raise RetryableError("HTTP 429", busy=True, retry_after=reset)
        return mock.completion(asked, asked["messages"][-1]["content"])


def test_tokens_are_counted_with_all_that_a_call_may_answer(tmp_path: Path) -> None:
    server = TokenLimited("window", 30_000, openai)
    answered, seconds = ask(server, 300, tmp_path, max_tokens=500)
    assert (answered, server.fates["refused"]) == (300, 0)
    assert 300 * 502 / seconds >= 0.9 * 30_000 / 60


NONSENSE: dict[str, Headers] = {
    "negative": {"limit": "-5", "remaining": "-1", "reset": "-3"},
    "not a number": {"limit": "nan", "remaining": "nan", "reset": "nan"},
    "infinite": {"limit": "inf", "remaining": "inf", "reset": "inf"},
    "huge": {"limit": "9" * 400, "remaining": "0", "reset": "1s"},
    "more left than there is": {"limit": "5", "remaining": "50", "reset": "1s"},
    "words": {"limit": "unlimited", "remaining": "none", "reset": "soon"},
    "a reset in the past": {"limit": "60", "remaining": "0", "reset": "2001-01-01T00:00:00Z"},
    "a reset far away": {"limit": "60", "remaining": "0", "reset": "9999999"},
    "a reset next week": {"limit": "60", "remaining": "0", "reset": "80000"},
    "never any left, each second": {"limit": "60", "remaining": "0", "reset": "1s"},
    "never any left": {"limit": "60", "remaining": "0", "reset": "60s"},
    "none at all": {"limit": "0", "remaining": "0", "reset": "60s"},
    "empty": {"limit": "", "remaining": "", "reset": ""},
}


@pytest.mark.parametrize("values", NONSENSE.values(), ids=NONSENSE)
def test_headers_that_make_no_sense_hold_nothing_up_for_long(values: Headers, tmp_path: Path) -> None:
    headers = {f"x-ratelimit-{role}-requests": value for role, value in values.items()}
    answered, seconds = ask(Limited("window", 10_000, lambda *_: headers), 400, tmp_path)
    assert answered == 400 and seconds < 4 * 65


def test_vendors_headers_are_read() -> None:
    told = allowances.told(
        {
            "anthropic-ratelimit-input-tokens-limit": "40000",
            "anthropic-ratelimit-input-tokens-remaining": "39000",
            "anthropic-ratelimit-input-tokens-reset": "2020-01-01T00:00:00Z",
            "X-RateLimit-Limit-Tokens": "6000",
            "X-RateLimit-Remaining-Tokens": "5500",
            "X-RateLimit-Reset-Tokens": "6m0s",
            "x-ratelimit-limit-req-minute": "10",
            "x-ratelimit-remaining-req-minute": "9",
            "x-ratelimit-reset-requests": "1s",  # of nothing
            "llm_provider-x-ratelimit-limit-requests": "3",
            "llm_provider-x-ratelimit-remaining-requests": "0",
            "retry-after": "7",
        }
    )
    assert [(one.unit, one.limit, one.left, one.reset) for one in told] == [
        ("input", 40000, 39000, 0), ("tokens", 6000, 5500, 360), ("requests", 10, 9, 60),
    ]  # fmt: skip


def test_headers_of_a_real_answer_are_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = stub_server.ChatServer._answer

    async def with_limits(self: Any, request: Any, raw: bytes, fate: str) -> Any:
        response = await answer(self, request, raw, fate)
        self.counts["told"] += 1
        used = self.counts["told"]
        response.headers.update(openai(4, max(0, 4 - used), 0.4) if used <= 4 else openai(1000, 900, 0.4))
        return response

    monkeypatch.setattr(stub_server.ChatServer, "_answer", with_limits)
    said: list[str] = []
    with stub_server.serving() as (url, _):
        cache, ledger = Cache(tmp_path / "c.sqlite"), Ledger(tmp_path / "l.sqlite")
        endpoint = Endpoint(url, "m", concurrency=1)
        with Client(endpoint, cache, ledger, say=said.append) as client:
            replies = client.ask([Request((Message("user", f"{n}"),)) for n in range(9)])
    assert all(reply.error is None for reply in replies)
    assert said == []  # 0.4 seconds are not worth a word
