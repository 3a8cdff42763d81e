"""What a run makes of a disk that fails, and of shards that are not as they were written.

`python -m benchmarks store_faults`. A small run is finished once. Then, fault by fault, its pairs and dataset are made
anew while the disk fails at each of several calls, or a shard is damaged; and the same command is run again. So is a
run on an object store, while some of its requests fail, or all that write from one on. Counted are runs that ended
otherwise than with one line, or at all where only some requests fail; runs in which the fault was not named; and
datasets that came out otherwise than the first: of each there must be none.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from benchmarks.data.kills import files
from benchmarks.support import disk_faults, object_store
from benchmarks.support.object_store import ENDING, FAULTS
from benchmarks.support.results import Row, record
from datagen import objects, store
from datagen import recipe as recipes
from datagen.errors import DatagenError
from datagen.objects import bucket as requests
from datagen.pipeline import build

RECIPE, SETTINGS = "pick-style", ["prompts.count=12", "images.shard_size=4"]
NUMBERS = (1, 2, 3, 5, 8)  # of the call that is the first to fail
SOME = 0.2  # of the requests of an object store


class Tried:
    """What came of the runs of one fault."""

    def __init__(self, whole: Path) -> None:
        self.whole, self.met, self.silent, self.ugly, self.wrong = whole, 0, 0, 0, 0
        self.recipe = recipes.load(RECIPE, SETTINGS)

    def run(self, out: Path, said: list[str]) -> str:
        """A run's error, "" for none."""
        try:
            build.run(self.recipe, "embedded", out, say=said.append)
        except DatagenError as error:
            self.ugly += "\n" in str(error)
            return str(error)
        except Exception:
            self.ugly += 1
        return ""

    def of_call(self, name: str, folder: Path) -> None:
        """Let a call of the system fail, from each of several on."""
        call, code = disk_faults.CALLS[name]
        for number in NUMBERS:
            out = self._begun(folder)
            with disk_faults.failing(call, code, number) as met:
                message = self.run(out, [])
            if met:
                self.met += 1
                self.silent += bool(code) and not message
                self._again(out)

    def of_damage(self, change: Callable[[Path], None], folder: Path) -> None:
        """Damage a shard of each of several stages."""
        for stage in ("scores", "verdicts", "pairs"):
            out, said = self._begun(folder, keep=stage), list[str]()
            path = out / "tables" / stage / f"{stage}-00001.parquet"
            change(path)
            self.met += 1
            self.run(out, said)
            self.silent += not any(f"{path} is damaged" in line for line in said)
            self._again(out)

    def of_requests(self, fault: str, folder: Path, down: bool) -> None:
        """Let some requests of an object store fail, which must not be noticed; or, from one on, all that write."""
        buckets, wait = folder / "buckets", mock.patch.object(requests, "FIRST_WAIT_S", 0.002)
        (buckets / "pictures").mkdir(parents=True, exist_ok=True)
        with object_store.serving(buckets) as there, wait:
            for number in NUMBERS:
                out = self._begun(buckets / "pictures")
                (out / ".lock").unlink()  # of a run on a disk
                copies = object_store.environment(there, folder / f"copies {fault} {down} {number}")
                with mock.patch.dict(os.environ, copies):
                    address = store.copy_of(objects.parse(f"s3://pictures/{out.name}"))
                    there.rng.seed(number)
                    there.only, there.rate, there.when = fault, 1.0 if down else SOME, "PUT" if down else ""
                    there.spared = number if down else 0
                    message = self.run(address, [])
                    there.rate = 0.0
                    self.met += 1
                    self.silent += down and not message
                    self.ugly += bool(message) and not down
                    self._again(out, address)

    def _begun(self, folder: Path, keep: str = "") -> Path:
        """A copy of the finished run without its dataset, and without what is derived from the scores."""
        out = folder / "run"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(self.whole, out)
        for name in {"verdicts", "labels", "pairs"} - {keep}:
            shutil.rmtree(out / "tables" / name)
        shutil.rmtree(out / "dataset")
        return out

    def _again(self, out: Path, address: Path | None = None) -> None:
        self.run(address or out, [])
        self.wrong += files(out / "dataset") != files(self.whole / "dataset") if (out / "dataset").is_dir() else 1


def _faults(folder: Path) -> dict[str, Callable[[Tried], None]]:
    """What goes wrong, in words → what tries it."""
    found: dict[str, Callable[[Tried], None]] = {}
    for name in disk_faults.CALLS:
        found[name] = functools.partial(Tried.of_call, name=name, folder=folder)
    for name, change in disk_faults.DAMAGES.items():
        found[name] = functools.partial(Tried.of_damage, change=change, folder=folder)
    for what, names, down in ((f"{SOME:.0%} of requests", FAULTS, False), ("all writes from one on", ENDING, True)):
        for name in names:
            asked = functools.partial(Tried.of_requests, fault=name, folder=folder, down=down)
            found[f"an object store, {what}: {name}"] = asked
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks store_faults", description=__doc__, allow_abbrev=False)
    parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        build.run(recipes.load(RECIPE, SETTINGS), "embedded", whole)
        for name, work in _faults(Path(folder)).items():
            tried = Tried(whole)
            work(tried)
            bad = tried.silent + tried.ugly + tried.wrong
            note = f"silent {tried.silent}, not one line {tried.ugly}, other datasets after a rerun {tried.wrong}"
            rows.append(Row(f"{name}: runs that went wrong", bad, "runs", "= 0", note=f"{tried.met} runs; {note}"))
            print(f"{rows[-1].what}: {bad} of {tried.met} ({note})", flush=True)
    record("store_faults", rows)
    return int(any(row.figure for row in rows))


if __name__ == "__main__":
    sys.exit(main())
