"""The LLM client against `asyncio.gather` over the stock openai SDK: calls a second of client CPU, and latency.

Both ask the same rows of one loopback server at the same concurrency, both validate replies with the same type; ours
also writes cache and ledger, which the SDK's side does not. Rounds alternate (ABBA); each side is a process of its own
on one core, and the server stays on the others where there are any. Results are compared before any figure counts.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from benchmarks.support.results import Row, record
from benchmarks.support.stub_server import Stub

CONCURRENCY = 256
SIDES = {"ours": "our client", "stock": "the openai SDK", "aiohttp": "the openai SDK over aiohttp"}


class Written(BaseModel):
    """What a row asks for: as the writer's own replies, some text and some numbers with bounds."""

    prompt: str = Field(max_length=400)
    negative: str
    words: int = Field(ge=0)
    tags: list[str] = Field(min_length=1)


def texts(count: int, round_: int) -> list[str]:
    filling = "Write a neutral caption of about 25 words, without style or harm words. " * 13
    return [f"Row {round_}-{number}. {filling}" for number in range(count)]


def ours(base_url: str, rows: list[str]) -> tuple[list[dict[str, Any]], list[float]]:
    """Our client with cache and ledger in a fresh folder; the replies and each call's seconds on the wire."""
    from datagen.llm.accounts.cache import Cache
    from datagen.llm.accounts.money import Ledger, totals
    from datagen.llm.client import Client
    from datagen.llm.endpoint import Endpoint
    from datagen.llm.messages import Message, Request
    from datagen.llm.providers import Hear, deaf
    from datagen.llm.providers.http import HttpTransport

    seconds: list[float] = []
    send = HttpTransport.send

    async def timed(self: HttpTransport, body: bytes, sample: int = 0, hear: Hear = deaf) -> dict[str, Any]:
        started = time.perf_counter()
        completion = await send(self, body, sample, hear)
        seconds.append(time.perf_counter() - started)
        return completion

    HttpTransport.send = timed  # type: ignore[method-assign]
    endpoint = Endpoint(base_url, "stub-model", "stub-key", concurrency=CONCURRENCY)
    requests = [Request((Message("user", row),), Written, "prompts") for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        cache, ledger = Cache(Path(folder, "replies.sqlite")), Ledger(Path(folder, "ledger.sqlite"))
        with Client(endpoint, cache, ledger) as client:
            replies = client.ask(requests)
        booked = totals(ledger.path)["prompts"].calls
        if booked != len(rows) or any(reply.cached for reply in replies):
            sys.exit(f"{booked} of {len(rows)} calls are in the ledger")
    return [reply.value.model_dump() for reply in replies], seconds  # type: ignore[union-attr]


def stock(base_url: str, rows: list[str], aiohttp: bool) -> tuple[list[dict[str, Any]], list[float]]:
    """The SDK as its README has it, with a semaphore."""
    import openai

    from datagen.llm.typed.schemas import schema_of

    seconds: list[float] = []
    form: Any = {
        "type": "json_schema",
        "json_schema": {"name": "Written", "strict": True, "schema": schema_of(Written)},
    }

    async def everything() -> list[dict[str, Any]]:
        places = asyncio.Semaphore(CONCURRENCY)
        transport = openai.DefaultAioHttpClient() if aiohttp else None
        # Its own 5 s for a connection end the whole gather when 256 are opened at once on a busy machine.
        async with openai.AsyncOpenAI(
            base_url=base_url, api_key="stub-key", http_client=transport, timeout=600.0
        ) as client:

            async def one(row: str) -> dict[str, Any]:
                async with places:
                    started = time.perf_counter()
                    completion = await client.chat.completions.create(
                        model="stub-model",
                        messages=[{"role": "user", "content": row}],
                        response_format=form,
                        temperature=1.0,
                        max_tokens=1024,
                    )
                    seconds.append(time.perf_counter() - started)
                return Written.model_validate_json(completion.choices[0].message.content or "").model_dump()

            return await asyncio.gather(*map(one, rows))

    return asyncio.run(everything()), seconds


def side(name: str, base_url: str, count: int, round_: int) -> None:
    """One round of one side, in this process; its figures as a line of JSON."""
    import openai  # both sides have it loaded, so that neither pays for that in the figures

    assert openai.__version__
    rows = texts(count, round_)
    run = ours if name == "ours" else lambda url, some: stock(url, some, name == "aiohttp")
    started, busy = time.perf_counter(), time.process_time()
    values, seconds = run(base_url, rows)
    wall, cpu = time.perf_counter() - started, time.process_time() - busy
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    ordered = sorted(seconds)
    p99 = ordered[int(0.99 * (len(ordered) - 1))]
    print(json.dumps({"wall": wall, "cpu": cpu, "p50": statistics.median(ordered), "p99": p99, "digest": digest}))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--delay", type=float, default=0.02, help="seconds that the server thinks")
    parser.add_argument("--aiohttp", action="store_true", help="also the SDK with its own aiohttp transport")
    parser.add_argument("--side", nargs=3, metavar=("NAME", "URL", "ROUND"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        side(given.side[0], given.side[1], given.calls, int(given.side[2]))
        return 0
    cores = sorted(os.sched_getaffinity(0))
    names = ["ours", "stock", *(["aiohttp"] if given.aiohttp else [])]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    os.sched_setaffinity(0, cores[1:] or cores)  # inherited by the server
    with Stub(delay=given.delay) as server:
        os.sched_setaffinity(0, cores[:1])  # inherited by the sides
        for round_ in range(given.rounds):
            for name in names if round_ % 2 == 0 else names[::-1]:
                command = [sys.executable, "-m", "benchmarks.llm.llm_throughput", "--calls", str(given.calls)]
                command += ["--side", name, server.base_url, str(round_)]
                output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
                found[name].append(json.loads(output.splitlines()[-1]))
            if len({found[name][-1]["digest"] for name in names}) != 1:
                sys.exit("the two sides' results differ")
    return report(found, given.calls, len(cores))


def report(found: dict[str, list[dict[str, Any]]], calls: int, cores: int) -> int:
    where = "the server on another" if cores > 1 else "the server on the same (no other is free)"
    print(f"{calls} calls, {CONCURRENCY} in flight at most, one client core, {where}; results equal in every round")
    rows = []
    for name, rounds in found.items():
        each = {key: [figures[key] for figures in rounds] for key in ("wall", "cpu", "p50", "p99")}
        rate = [calls / cpu for cpu in each["cpu"]]
        print(
            f"{name:8} {statistics.median(rate):7.0f} calls a core-second [{min(rate):.0f}-{max(rate):.0f}], "
            f"{1000 * statistics.median(each['cpu']) / calls:.2f} ms CPU a call, "
            f"{calls / statistics.median(each['wall']):.0f} calls/s, "
            f"p50 {1000 * statistics.median(each['p50']):.0f} ms, p99 {1000 * statistics.median(each['p99']):.0f} ms"
        )
        side, spread = SIDES[name], f"{min(rate):.0f}–{max(rate):.0f}, {len(rounds)} rounds"
        rows += [
            Row(f"{side}: calls", statistics.median(rate), "calls a core-second", spread=spread),
            Row(f"{side}: slowest 1 % of the calls (p99)", 1000 * statistics.median(each["p99"]), "ms"),
        ]
    good = True
    for name in list(found)[1:]:
        pairs = list(zip(found["ours"], found[name], strict=True))
        ratios = sorted(theirs["cpu"] / our["cpu"] for our, theirs in pairs)
        slower = statistics.median(our["p99"] / theirs["p99"] for our, theirs in pairs)
        print(f"ours/{name}: {statistics.median(ratios):.1f}x [{ratios[0]:.1f}-{ratios[-1]:.1f}], p99 {slower:.2f}x")
        goal = {"stock": ("≥ 3", "≤ 1")}.get(name, ("", ""))
        spread = f"{ratios[0]:.1f}–{ratios[-1]:.1f}, {len(ratios)} rounds"
        rows += [
            Row(f"ours over {SIDES[name]}, calls a core-second", statistics.median(ratios), "×", goal[0], spread),
            Row(f"ours over {SIDES[name]}, p99", slower, "×", goal[1]),
        ]
        good = good and (name != "stock" or (statistics.median(ratios) >= 3 and slower <= 1))
    record("llm_throughput", rows)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
