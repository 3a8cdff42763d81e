"""How many images `datagen serve` answers for, with a judge that takes no time: what HTTP, JSON and decoding cost.

`python -m benchmarks judge_service [--seconds N]`. 64 clients in a process of their own send the world's pictures,
64×64 PNG files, from memory to a service with one judge that looks at the picture and says 0, one image a request and
eight, by turns. What is measured is the service's own processor time, as the machine also runs the clients; latencies
are the clients'.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import aiohttp

from benchmarks.support.results import Row, record
from datagen.world import captions, grammar, render

ROOT = Path(__file__).parents[2]
CLIENTS, SIZES, ROUNDS, SEED = 64, (1, 8), 3, 0
GOAL = "≥ 2000"


def body(images: int, rng: random.Random) -> bytes:
    """A request for some pictures of the world, each of a scene of its own."""
    requests = []
    for _ in range(images):
        scene, file = grammar.sample_scene(rng), io.BytesIO()
        render.render(scene).save(file, "PNG")
        image = base64.b64encode(file.getvalue()).decode()
        turn = {"text": captions.caption(scene, grammar.ATTRIBUTES, rng), "image_b64": image}
        requests.append({"history": [turn], "required_rewards": ["null"]})
    return json.dumps({"requests": requests}).encode()


async def clients(address: str, bodies: list[bytes], images: int, seconds: float) -> list[float]:
    """The latency of each request that 64 clients got an answer to, in seconds; RuntimeError for a wrong one."""
    until, took = time.monotonic() + seconds, list[float]()

    async def one(session: aiohttp.ClientSession, number: int) -> None:
        while time.monotonic() < until:
            number, begun = number + 1, time.perf_counter()
            headers = {"Content-Type": "application/json"}
            async with session.post(f"{address}/score", data=bodies[number % len(bodies)], headers=headers) as reply:
                found = await reply.json()
            took.append(time.perf_counter() - begun)
            if found != {"results": [{"null": {"null": 0.0}}] * images, "errors": [{}] * images}:
                raise RuntimeError(f"answered {found}")

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(one(session, number) for number in range(CLIENTS)))
    return took


def processor_s(pid: int) -> float:
    """The processor time that a process has had so far."""
    words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8-sig").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=10, help="of asking, each of three times (10)")
    given = parser.parse_args()
    command = [sys.executable, "-m", "datagen", "serve", "--judges", "benchmarks.support.null_judge", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        address = next(line.split()[-1] for line in service.stderr if line.startswith("serving on "))
        rng, rates = random.Random(SEED), {size: list[float]() for size in SIZES}
        waits = {size: list[float]() for size in SIZES}
        bodies = {size: [body(size, rng) for _ in range(CLIENTS)] for size in SIZES}
        for _ in range(ROUNDS):
            for size in SIZES:
                before = processor_s(service.pid)
                took = asyncio.run(clients(address, bodies[size], size, given.seconds))
                rates[size].append(len(took) * size / (processor_s(service.pid) - before))
                waits[size] += took
        service.terminate()
    rows = []
    for size in SIZES:
        rate, each = statistics.median(rates[size]), f"{size} image{'s' if size > 1 else ''} a request"
        p50, p99 = (statistics.quantiles(waits[size], n=100)[at - 1] * 1000 for at in (50, 99))
        print(
            f"{each}: {rate:,.0f} images a second of one core; 50 % of replies in {p50:.0f} ms, 99 % in {p99:.0f} ms"
        )
        spread = f"{min(rates[size]):,.0f} to {max(rates[size]):,.0f} in {ROUNDS} rounds"
        rows.append(Row(f"images a second of the service's processor time, {each}", rate, "", GOAL, spread))
        note = f"64 clients on the same two cores; the median is {p50:.0f} ms"
        rows.append(Row(f"time to a reply, 99 % of them, {each}", p99, "ms", "", "", note))
    record("judge_service", rows)


if __name__ == "__main__":
    main()
