"""What a run takes in every stage as it grows, with models that cost nothing: processor time a row, and memory.

`python -m benchmarks million_rows [--prompts N …] [--write] [--anew RUN …]`. Texts of a file are worded, drawn by a
generator that makes greys, judged by one that looks at a pixel, labelled and written as a dataset, by one process and
in shards of 100 prompts. Each size is a process of its own, and the peak of its memory is taken stage by stage. What
is written before anything is drawn can be measured alone, by `--write`, and of runs that are there what comes after
the verdicts, by `--anew`; the other figures stay.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.support import null_models
from benchmarks.support.memory import peak_since_reset, reset_peak
from benchmarks.support.results import Row, record
from datagen import recipe as recipes
from datagen import store
from datagen.commands import relabel
from datagen.pipeline import build

PROMPTS = (10_000, 100_000)


class Stages:
    """The progress of a run, as what each stage took."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, float]] = {}
        self._name, self._wall, self._cpu = "", 0.0, 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Note when one ends and the next begins."""
        if what != self._name:
            self.end()
            reset_peak()
            self._name, self._wall, self._cpu = what, time.perf_counter(), time.process_time()

    def end(self) -> None:
        """The stage that is at work is over."""
        if self._name:
            wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
            self.found[self._name] = {"s": wall, "cpu": cpu, "MiB": peak_since_reset()}
            # A million prompts take more than an hour: what is known so far is said at once.
            print(f"  {self._name}: {cpu:.1f} s, {self.found[self._name]['MiB']:.0f} MiB", file=sys.stderr, flush=True)


def one(count: int, folder: Path, draws: bool) -> None:
    """A run of so many prompts, or its writing alone; prints what each stage took as JSON."""
    recipe, stages = null_models.recipe(folder, count), Stages()
    summary = build.run(recipes.load(str(recipe), []), "null", folder / "run", draws=draws, progress=stages)
    stages.end()
    if draws:
        begun = time.process_time()
        again = build.run(recipes.load(str(recipe), []), "null", folder / "run")
        if again.made:
            raise RuntimeError(f"{again.made} shards of a finished run were made again")
        stages.found["a second call"] = {"s": 0.0, "cpu": time.process_time() - begun, "MiB": 0.0}
    print(json.dumps({"stages": stages.found, "pairs": summary.rows("pairs") if draws else 0}))


def anew(folder: Path) -> None:
    """The labels of a run that is there, and all that comes of them; prints what each stage took as JSON."""
    for made in ("tables/labels", "tables/pairs", "dataset"):
        shutil.rmtree(folder / made, ignore_errors=True)
    stages = Stages()
    summary = relabel.relabel(store.Run(folder), [], people=None, workers=1, say=lambda line: None, progress=stages)
    stages.end()
    print(json.dumps({"stages": stages.found, "prompts": summary.rows("prompts"), "pairs": summary.rows("pairs")}))


def measured(count: int, draws: bool) -> dict[str, dict[str, float]]:
    """Stage → what it took, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return _told(count, _process("--one", str(count), folder, *([] if draws else ["--write"])))


def measured_anew(folder: Path) -> tuple[int, dict[str, dict[str, float]]]:
    """The prompts of a run, and stage → what it took from the labels on."""
    found = _process("--one-anew", str(folder))
    return found["prompts"], _told(found["prompts"], found)


def _process(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.data.million_rows", *arguments]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def _told(count: int, found: dict[str, Any]) -> dict[str, dict[str, float]]:
    stages: dict[str, dict[str, float]] = found["stages"]
    print(f"{count:,} prompts, {found['pairs']:,} pairs")
    for name, took in stages.items():
        print(f"  {name:20} {1e6 * took['cpu'] / count:9.1f} µs a prompt {took['MiB']:8.0f} MiB", flush=True)
    return stages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--prompts", type=int, nargs="+", default=list(PROMPTS), help="sizes of the runs, rising")
    parser.add_argument("--write", action="store_true", help="nothing but what is written before anything is drawn")
    parser.add_argument("--anew", type=Path, nargs="+", metavar="RUN", help="runs that are there, rising")
    parser.add_argument("--one", nargs=2, metavar=("PROMPTS", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--one-anew", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(int(given.one[0]), Path(given.one[1]), not given.write)
    elif given.one_anew:
        anew(given.one_anew)
    else:
        found = dict(map(measured_anew, given.anew or ())) or {
            count: measured(count, not given.write) for count in given.prompts
        }
        record("million_rows", rows(found))


def rows(found: dict[int, dict[str, dict[str, float]]]) -> list[Row]:
    """The figures of the largest run beside those of the smallest."""
    small, large = min(found), max(found)
    made = []
    for name in [name for name in found[large] if name in found[small]]:  # digests are told of large datasets alone
        took = found[large][name]
        cpu = {count: stages[name]["cpu"] for count, stages in found.items()}
        curve = ", ".join(f"{1e6 * seconds / count:.0f} at {count:,}" for count, seconds in cpu.items())
        made.append(Row(f"{name}: processor time a prompt", 1e6 * cpu[large] / large, "µs", "", curve))
        if took["MiB"]:
            ratio, least = took["MiB"] / found[small][name]["MiB"], found[small][name]["MiB"]
            note = f"{least:.0f} MiB at {small:,}, {took['MiB']:.0f} at {large:,}"
            made.append(Row(f"{name}: peak of memory, {large // small} × the prompts", ratio, "×", "≤ 1.2", note))
    return made


if __name__ == "__main__":
    main()
