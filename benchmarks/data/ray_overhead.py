"""What it costs to have shards worked by Ray's actors, beside the same shards in processes of this machine.

`python -m benchmarks ray_overhead [--turns N]`. Two workers of each work shards that take a processor a quarter of a
second, and shards that take nothing, by turns, and in the other order each second time. Time counts from when both
have begun to the last shard's end, so that what is measured is handing them out and not start-up.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from unittest import mock

from benchmarks.support.burning import Burn
from benchmarks.support.results import Row, percent, record
from datagen.executors import Executor, Failure, local, ray

WORKERS, SHARDS, EMPTY = 2, 32, 400
SHARD_S = 0.25


def blocks() -> int:
    """How many a processor hashes in SHARD_S."""
    took = min(ended - began for _, began, ended in (Burn(100)(0) for _ in range(5)))
    return int(100 * SHARD_S / took)


def each_s(run: Executor, task: Burn, shards: int) -> float:
    """Seconds a shard, of those that began once all workers had; RuntimeError if any is not done once."""
    done = [result for _, result in run(task, range(shards), WORKERS) if not isinstance(result, Failure)]
    if len(done) != shards:
        raise RuntimeError(f"{len(done)} of {shards} shards were done")
    first: dict[int, float] = {}
    for worker, began, _ in done:
        first[worker] = min(began, first.get(worker, began))
    since = max(first.values())
    counted: list[float] = [ended for _, began, ended in done if began >= since]
    return (max(counted) - since) / len(counted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--turns", type=int, default=6)
    given = parser.parse_args()
    tasks = {"full": (Burn(blocks()), SHARDS), "empty": (Burn(0), EMPTY)}
    executors: dict[str, Executor] = {"local": local.run, "ray": ray.run}
    took = {(name, what): list[float]() for name in executors for what in tasks}
    with tempfile.TemporaryDirectory() as home, mock.patch.dict("os.environ", {"HOME": home, "RAY_ADDRESS": ""}):
        begun = time.perf_counter()
        list(ray.run(Burn(0), range(WORKERS), WORKERS))
        start_up = time.perf_counter() - begun
        for turn in range(given.turns):
            for name in list(executors)[:: 1 if turn % 2 else -1]:
                for what, (task, shards) in tasks.items():
                    took[name, what].append(each_s(executors[name], task, shards))
            print({" ".join(key): round(1e3 * times[-1], 2) for key, times in took.items()}, flush=True)
        ray._connected(0).shutdown()
    ratios = [one / other for one, other in zip(took["local", "full"], took["ray", "full"], strict=True)]
    rows = [Row("efficiency of Ray beside processes, full shards", percent(statistics.median(ratios)), "%", "≥ 90",
                f"{percent(min(ratios))} to {percent(max(ratios))} in {given.turns} turns",
                f"{SHARDS} shards of {SHARD_S} s of a processor, {WORKERS} workers")]  # fmt: skip
    for name in executors:
        each = [1e3 * seconds for seconds in took[name, "empty"]]
        spread = f"{min(each):.2f} to {max(each):.2f} ms"
        rows.append(Row(f"overhead a shard, {name}", statistics.median(each), "ms", "≤ 5", spread))
    rows.append(Row("start of a Ray cluster with its first two shards", start_up, "s", "", "once"))
    for row in rows:
        print(f"{row.what}: {row.figure:g} {row.unit} ({row.spread})")
    record("ray_overhead", rows)


if __name__ == "__main__":
    main()
