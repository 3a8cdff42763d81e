"""How fast a run is exported to each format, with what memory, and that a kill leaves a whole export or none.

`python -m benchmarks export_formats [PAIRS]`. A run of so many pairs with small pictures is made, and one of a tenth;
each format is written from both by a process of its own, so that the difference of their peaks is what memory grows
by. Then each is killed (SIGKILL) in the middle and written again.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import io
import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.support.results import Row, record
from datagen import export, recipe, records, store
from datagen.export.parts import mark
from datagen.records import Pair, Picture
from datagen.store import sums

SHARD = 1_000
SCORES = '{"clip": {"chosen": {"match": 0.5}, "rejected": {"match": 0.4}}}'
FLAT = 64  # MB that memory may grow by while pairs grow tenfold
ROOT = Path("out") / "benchmarks" / "export-formats"


def main() -> int:
    """Print and record rate and memory of each format; 1 if memory grows or a kill leaves half an export."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks export_formats", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("pairs", nargs="?", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", help="some formats")
    parser.add_argument("--one", nargs=2, metavar=("FORMAT", "PAIRS"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        return _one(asked.one[0], int(asked.one[1]))
    few, many = asked.pairs // 10, asked.pairs
    for pairs in (few, many):
        _write(pairs)
    names = [name for name in asked.only or export.FORMATS.names() if name != export.LISTS]
    rows, whole = list[Row](), 0
    for name in names:
        small, large = _measured(name, few), _measured(name, many)
        grown = large["peak"] - small["peak"]
        killed = _killed(name, few, small["seconds"])
        whole += killed
        note = f"{many:,} pairs of 8 px pictures, marked in XMP, digests included"
        rows.append(Row(f"{name}, pairs a second", many / large["seconds"], "1/s", note=note))
        limits = f"against a run of {few:,} pairs; {large['peak']:.0f} MB at the peak"
        rows.append(Row(f"{name}, memory it grows by", max(grown, 0.0), "MB", f"≤ {FLAT}", note=limits))
        print(rows[-2], rows[-1], "whole after a kill" if killed else "HALF AN EXPORT", sep="\n", flush=True)
    rows.append(
        Row("formats that a kill left whole or not there", sum(map(bool, names)) * whole, "", f"= {len(names)}")
    )
    record("export_formats", rows)
    return 0 if all(row.reached is not False for row in rows) else 1


def _finished(pairs: int) -> export.Finished:
    of = recipe.load("pick-style", [])
    shards = -(-pairs // SHARD)
    run = store.Run(ROOT / f"run-{pairs}")
    return export.Finished(run, of, of.profile("sd15"), shards, f"content-{pairs}", {}, {}, {})


def _write(pairs: int) -> None:
    """A run of so many pairs."""
    finished = _finished(pairs)
    footer = {"errors": 0, "seconds": 0.0, "digest": "d", "version": "1", "drops": {}}
    for shard in range(finished.shards):
        if finished.run.footer("pairs", shard) is None:
            rows = [_pair(number) for number in range(shard * SHARD, min((shard + 1) * SHARD, pairs))]
            finished.run.commit("scores", shard, records.to_table(records.Score, []), **footer)
            finished.run.commit("pairs", shard, records.to_table(Pair, rows), **footer)


def _pair(number: int) -> Pair:
    return Pair(
        records.content_id("pair", number), f"a chef number {number}", "pixel art preferred", "style", "prefer",
        _picture(2 * number), _picture(2 * number + 1), f"a chef number {number}, pixel art",
        f"a chef number {number}", 0.97, 3.5, SCORES, 1, 2, "some/model", "abc", 20,
        4.0, "ddim", "pick-style", "openrail++", records.content_id("prompt", number),
        "test" if number % 10 == 0 else "train", rejected_generator="some/model",
    )  # fmt: skip


def _picture(number: int) -> Picture:
    """A picture of 8 px that no other number has."""
    from PIL import Image

    file = io.BytesIO()
    Image.frombytes("RGB", (8, 8), (hashlib.sha256(str(number).encode()).digest() * 6)).save(file, "PNG")
    return Picture(file.getvalue(), f"{records.content_id(number)}.png")


def _folder(name: str, pairs: int) -> Path:
    return ROOT / f"{name}-{pairs}"


def _one(name: str, pairs: int) -> int:
    """Write one export in this process, and print seconds and the peak of its memory."""
    started = time.perf_counter()
    finished = export.marked(_finished(pairs), mark.of("xmp"))
    export.write(dataclasses.replace(finished, progress=_beat), name, _folder(name, pairs))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({"seconds": time.perf_counter() - started, "peak": peak}))
    return 0


def _beat(what: str, done: int, total: int) -> None:
    """As the command line's display is told."""


@contextlib.contextmanager
def _process(name: str, pairs: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.data.export_formats", "--one", name, str(pairs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process


def _measured(name: str, pairs: int) -> dict[str, float]:
    _clear(name, pairs)
    with _process(name, pairs) as process:
        out, _ = process.communicate()
    found: dict[str, float] = json.loads(out)
    _clear(name, pairs)
    return found


def _killed(name: str, pairs: int, seconds: float) -> bool:
    """Whether a kill in the middle leaves nothing in the folder, and the next call the whole export."""
    _clear(name, pairs)
    folder, finished = _folder(name, pairs), export.marked(_finished(pairs), mark.of("xmp"))
    with _process(name, pairs) as process:
        while process.poll() is None and not folder.with_name(f".{folder.name}{store.TEMPORARY}").exists():
            time.sleep(0.01)
        time.sleep(seconds / 3)
        process.send_signal(signal.SIGKILL)
    before = not folder.exists() or not any(sums.differences(folder)) or not sums.beside(folder).exists()
    export.write(finished, name, folder)
    whole = export.is_there(finished, name, folder) and not list(ROOT.glob(f".*{store.TEMPORARY}"))
    _clear(name, pairs)
    return before and whole


def _clear(name: str, pairs: int) -> None:
    folder = _folder(name, pairs)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(folder.with_name(f".{folder.name}{store.TEMPORARY}"), ignore_errors=True)
    sums.beside(folder).unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
