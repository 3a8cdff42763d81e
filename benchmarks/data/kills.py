"""Kill -9 a process of a run at seeded moments of every stage, again and again, and look at what comes out.

`python -m benchmarks kills [--kills N] [--seed S] [--only local shares ray]`. Killed are workers, drivers and whole
groups of processes; processes that do a share; Ray's actors, drivers and nodes. Looked at: whether the dataset is
byte-identical to an undisturbed one; finished shards that were written again (must be none, so that work done twice is
at most what was in flight); processes that outlive their run; and locks that keep the next one from starting.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.support import attempts, null_models
from benchmarks.support.attempts import Attempts, Cluster
from benchmarks.support.results import Row, record

PROMPTS, SIZE, WORKERS = 48, 4, 2
ENDS_S = 30.0  # that processes may take to notice that their run was killed


@dataclasses.dataclass
class Seen:
    """What was found so far."""

    kills: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    stages: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    again: int = 0  # finished shards that were written again
    half: int = 0  # files under a temporary name when a run was finished
    orphans: int = 0
    refused: int = 0  # runs that did not start or did not finish after a kill
    runs: int = 0
    differ: int = 0

    def note(self, what: str, run: Attempts, ended: bool) -> None:
        """A kill of `what`; where that ends the run, nothing of it may be left."""
        last = max(run.shards().items(), key=lambda item: item[1][1], default=("prompts-0", (0, 0)))[0]
        self.kills[what] += 1
        self.stages[last.rpartition("-")[0]] += 1
        if ended and not attempts.until(lambda: not run.processes(), ENDS_S):
            self.orphans += len(run.processes())
        done = len(run.shards())
        print(f"kill {self.kills.total()}: {what}, {done} shards are done, the last of {last}", flush=True)


def local(run: Attempts, seen: Seen, rng: random.Random, total: int) -> Iterator[None]:
    """One process that gives shards to two others; a step is a kill, and it ends when the run is finished."""
    while True:
        child = run.start("--workers", str(WORKERS))
        if not _moment(run, child, rng, total):
            _finish(child, run, seen)
            return
        what, there = rng.choice(("worker", "driver", "all at once")), attempts.workers(child)
        if what == "worker" and there:
            rng.choice(there).kill()
            seen.note("local worker", run, ended=False)
            _finish(child, run, seen)
            yield
            return
        if what == "all at once":
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.wait()
        seen.note("local all at once" if what == "all at once" else "local driver", run, ended=True)
        yield


def shares(run: Attempts, seen: Seen, rng: random.Random, total: int) -> Iterator[None]:
    """Two processes that do a share of each stage, of which one is killed and started again; then the rest."""
    _finish(run.start(verb="write"), run, seen)
    for stage in attempts.STAGES:
        if stage == "pairs":  # labels come before
            break
        pair = [run.start("--stage", stage, "--shard", f"{number}/2") for number in range(2)]
        victim = rng.randrange(2)
        target = len(run.shards()) + rng.randrange(0, PROMPTS // SIZE)
        if attempts.moment(run, pair[victim], target, rng):
            os.killpg(pair[victim].pid, signal.SIGKILL)
            pair[victim].wait()
            seen.note(f"share of {stage}", run, ended=False)
            pair[victim] = run.start("--stage", stage, "--shard", f"{victim}/2")
        for child in pair:
            _finish(child, run, seen)
        yield
    _finish(run.start("--workers", "1"), run, seen)


def ray(run: Attempts, seen: Seen, rng: random.Random, total: int, cluster: Cluster) -> Iterator[None]:
    """A driver whose actors are on the second node; actors, driver or node are killed."""
    while True:
        child = run.start("--executor", "ray", "--workers", str(WORKERS))
        if not _moment(run, child, rng, total):
            _finish(child, run, seen)
            return
        what = rng.choice(("actor", "driver", "node"))
        there = cluster.actors()
        if what == "driver" or (what == "actor" and not there):
            child.kill()
            child.wait()
            seen.note("Ray driver", run, ended=True)
            yield
            continue
        if what == "actor":
            rng.choice(there).kill()
        else:
            cluster.raylet().kill()
            cluster.begin_node()
        seen.note(f"Ray {what}", run, ended=False)
        _finish(child, run, seen)
        yield
        return


def _moment(run: Attempts, child: subprocess.Popen[bytes], rng: random.Random, total: int) -> bool:
    """Wait until some more shards are finished; False if the process ended before.

    Where all are, and the dataset is still to be written, a run gets a last kill, at any time of that.
    """
    done = len(run.shards())
    if done < total:
        return attempts.moment(run, child, done + rng.randint(1, (total - done + 1) // 2), rng)
    if run.finishing:
        return False
    run.finishing.append(True)
    return not attempts.until(lambda: child.poll() is not None, rng.uniform(1, 8))


def _finish(child: subprocess.Popen[bytes], run: Attempts, seen: Seen) -> None:
    """Wait for a process that should do its work; one that does not is counted, and shown."""
    try:
        ended = child.wait(attempts.LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        ended = child.wait()
    if ended:
        seen.refused += 1
        print(f"ended with {ended}: {run.log()[-2000:]}", file=sys.stderr, flush=True)


def files(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


KINDS = {"local": local, "shares": shares}


def rounds(kind: str, kills: int, seed: int, folder: Path, cluster: Cluster | None) -> Seen:
    """Runs of a kind until there were so many kills."""
    recipe, rng, seen = null_models.recipe(folder, PROMPTS, SIZE), random.Random(seed), Seen()
    whole = Attempts(recipe, folder / "whole", "whole", {})
    _finish(whole.start("--workers", "1"), whole, seen)
    expected, total = files(folder / "whole/dataset"), len(whole.shards())
    while seen.kills.total() < kills:
        seen.runs += 1
        run = Attempts(recipe, folder / "out", f"{seed}-{seen.runs}", cluster.environment if cluster else {})
        before: dict[str, tuple[int, int]] = {}
        steps = ray(run, seen, rng, total, cluster) if cluster else KINDS[kind](run, seen, rng, total)
        for _ in itertools.chain(steps, [None]):
            now = run.shards()
            seen.again += sum(now.get(name) != mark for name, mark in before.items())
            before = now
        seen.differ += files(run.out / "dataset") != expected
        seen.half += run.half_written()
        shutil.rmtree(run.out)
    return seen


def rows(kind: str, seen: Seen) -> list[Row]:
    """What was found, for one kind of run."""
    which = ", ".join(f"{count} {what}" for what, count in sorted(seen.kills.items()))
    where = ", ".join(f"{count} {stage}" for stage, count in sorted(seen.stages.items()))
    return [
        Row(f"{kind}: kills at seeded moments", seen.kills.total(), "kills", "", which, f"after a shard of: {where}"),
        Row(
            f"{kind}: runs whose dataset differs from an undisturbed one's",
            seen.differ,
            "",
            "= 0",
            f"{seen.runs} runs",
        ),
        Row(f"{kind}: finished shards written again", seen.again, "shards", "= 0"),
        Row(f"{kind}: processes left of a killed run", seen.orphans, "", "= 0", f"after {ENDS_S:.0f} s"),
        Row(f"{kind}: half-written files left at the end", seen.half, "files", "= 0"),
        Row(f"{kind}: runs that a kill kept from being finished", seen.refused, "runs", "= 0"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--kills", type=int, default=34, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=(*KINDS, "ray"), default=[*KINDS, "ray"])
    given, found = parser.parse_args(), list[Row]()
    for kind in given.only:
        with tempfile.TemporaryDirectory(prefix="k") as folder, contextlib.ExitStack() as stack:
            cluster = stack.enter_context(attempts.cluster(Path(folder))) if kind == "ray" else None
            found += rows(kind, rounds(kind, given.kills, given.seed, Path(folder), cluster))
    for row in found:
        print(f"{row.what}: {row.figure:g} {row.unit} {row.spread} {row.note}")
    record("kills", found)
    if any(row.reached is False for row in found):
        sys.exit("something was lost")


if __name__ == "__main__":
    main()
