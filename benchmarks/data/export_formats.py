"""How fast a run is exported to each format, with what memory, and that a kill leaves a whole export or none.

`python -m benchmarks export_formats [PAIRS]`. A run of so many pairs with small pictures is made, and one of a tenth;
each format is written from both by a process of its own, so that the difference of their peaks is what memory grows
by, and how long it was silent is noted. Then it is killed (SIGKILL) at random moments, and written again. `lists` and
`rewards` are of as many comparisons of ranked images, four a prompt.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import itertools
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image as Pillow

from benchmarks.support.memory import peak_since_reset, reset_peak
from benchmarks.support.results import Row, record
from datagen import export, recipe, records, store
from datagen.export.parts import mark
from datagen.records import Image, Label, Pair, Prompt
from datagen.store import sums

SHARD = 1_000
SCORES = '{"clip": {"chosen": {"match": 0.5}, "rejected": {"match": 0.4}}}'
FLAT = 64  # MiB that memory may grow by while pairs grow tenfold
KILLS = 3  # of a format
RANKED = ("lists", "rewards")
MET = list(itertools.combinations(range(4), 2))  # of the images of a prompt
ROOT = Path("out") / "benchmarks" / "export-formats"


def _png() -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", (8, 8), (200, 30, 60)).save(file, "PNG")
    return file.getvalue()


PICTURE = _png()


def main() -> int:
    """Print and record rate and memory of each format; 1 if memory grows or a kill leaves half an export."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks export_formats", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("pairs", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", help="some formats", default=export.FORMATS.names())
    parser.add_argument("--one", nargs=2, metavar=("FORMAT", "PAIRS"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        return _one(asked.one[0], int(asked.one[1]))
    few, many = asked.pairs // 10, asked.pairs
    rows = list[Row]()
    for name in asked.only:
        rows += _rows(name, few, many)
        print(*rows[-4:], sep="\n", flush=True)
    record("export_formats", rows)
    return 0 if all(row.reached is not False for row in rows) else 1


def _rows(name: str, few: int, many: int) -> list[Row]:
    small, large = _measured(name, few), _measured(name, many)
    what = f"{many:,} {'comparisons' if name in RANKED else 'pairs'}"
    note = f"{what}, pictures of 8 px marked in XMP, digests included"
    limits = f"against {few:,}; {large['peak']:.0f} MiB at the peak"
    killed = min(few, 2_000)
    whole = _killed(name, killed)
    return [
        Row(f"{name}, rate", many / large["cpu"], "pairs/CPU s", note=note),
        Row(f"{name}, memory it grows by", max(large["peak"] - small["peak"], 0.0), "MiB", f"≤ {FLAT}", note=limits),
        Row(f"{name}, longest without a word of progress", large["silent"], "s", note=what),
        Row(f"{name}, kills that left none or all of it", whole, "", f"= {KILLS}", note=f"{killed:,} a time"),
    ]


def _finished(name: str, pairs: int) -> export.Finished:
    """The run that a format is written from."""
    of = recipe.load("open-preferences", ['pairing="list"']) if name in RANKED else recipe.load("pick-style", [])
    shards = -(-pairs // SHARD)
    run = store.Run(ROOT / f"{'ranked' if name in RANKED else 'run'}-{pairs}")
    return export.Finished(run, of, of.profile("sd15"), shards, f"content-{pairs}", {}, {}, {})


def _write(name: str, pairs: int) -> None:
    """A run of so many pairs, or of so many comparisons of ranked images."""
    finished = _finished(name, pairs)
    make = _ranked if name in RANKED else _paired
    whole: list[tuple[str, type]] = [("prompts", Prompt), ("labels", Label)]
    shared: list[tuple[str, type]] = [("pairs", Pair), ("images", Image), ("scores", records.Score)]
    for stage, record_type in whole:
        if finished.run.footer(stage, 0) is None:
            _commit(finished.run, stage, 0, (make(stage, record_type, n, pairs) for n in range(finished.shards)))
    for shard in range(finished.shards):
        for stage, record_type in shared:
            if finished.run.footer(stage, shard) is None:
                _commit(finished.run, stage, shard, [make(stage, record_type, shard, pairs)])


def _commit(run: store.Run, stage: str, shard: int, tables: Any) -> None:
    run.commit(stage, shard, tables, errors=0, seconds=0.0, digest="d", version="1", drops={})


def _paired(stage: str, of: type, shard: int, pairs: int) -> pa.Table:
    """What a stage made of a shard's pairs, one a prompt."""
    numbers = range(shard * SHARD, min((shard + 1) * SHARD, pairs))
    names = [records.content_id("prompt", number) for number in numbers]
    splits = ["test" if number % 10 == 0 else "train" for number in numbers]
    if stage == "prompts":
        return _many(_prompt(), len(names), prompt_id=names, split=splits)
    both = {f"{side}_id": [records.content_id(side, number) for number in numbers] for side in ("chosen", "rejected")}
    if stage == "images":
        each = [name for two in zip(*both.values(), strict=True) for name in two]
        return _many(_image(), len(each), image_id=each, prompt_id=[name for name in names for _ in both])
    if stage != "pairs":
        return records.to_table(of, [])
    texts = [f"a chef number {number}" for number in numbers]
    own = [records.content_id("pair", number) for number in numbers]
    return _many(_pair(), len(names), pair_id=own, prompt_id=names, prompt=texts, split=splits, **both)


def _ranked(stage: str, of: type, shard: int, pairs: int) -> pa.Table:
    """What a stage made of a shard's prompts, of four ranked images each; of the last shard some may be left out."""
    numbers = range(shard * SHARD // len(MET), (shard + 1) * SHARD // len(MET))
    names = [records.content_id("prompt", number) for number in numbers]
    splits = ["test" if number % 10 == 0 else "train" for number in numbers]
    if stage == "prompts":
        return _many(_prompt(), len(names), prompt_id=names, split=splits)
    each = [(name, place) for name in names for place in range(4)]
    if stage == "images":
        own = [f"{name}-{place}" for name, place in each]
        return _many(_image(), len(each), image_id=own, prompt_id=[name for name, _ in each])
    if stage != "labels":
        return records.to_table(of, [])
    met = [(name, f"{name}-{one}", f"{name}-{other}") for name in names for one, other in MET]
    columns = dict(zip(("prompt_id", "chosen_id", "rejected_id"), map(list, zip(*met, strict=True)), strict=True))
    chances = [0.55 + 0.4 * (number * 7919 % 1000) / 1000 for number in range(len(met))]
    return _many(Label("", "", "", None, 0.5, 0.4, 0.9, 0.5), len(met), probability=chances, **columns)


def _many(row: Any, count: int, **columns: list[Any]) -> pa.Table:
    """So many rows like this one, but for some columns."""
    table = records.to_table(type(row), [row] * count)
    for name, values in columns.items():
        field = table.schema.field(name)
        table = table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))
    return table


def _prompt() -> Prompt:
    return Prompt("", "x", "", "a chef", "a chef, pixel art", "a chef", "", "", "", "train", "t")


def _image() -> Image:
    return Image("", "", "candidate", 0, "a chef", "", 1, "m", "r", "ddim", 20, 4.0, 8, 8, PICTURE)


def _pair() -> Pair:
    return Pair(
        "", "", "pixel art preferred", "style", "prefer", "", "", "a chef, pixel art", "a chef", 0.97, 3.5,
        SCORES, 1, 2, "some/model", "abc", 20, 4.0, "ddim", "pick-style", "openrail++", "", "train",
        rejected_generator="some/model",
    )  # fmt: skip


def _folder(name: str, pairs: int) -> Path:
    return ROOT / f"{name}-{pairs}"


def _one(name: str, pairs: int) -> int:
    """Write one export in this process; print seconds, the peak of its memory, and how long it was silent."""
    reset_peak()  # else it is that of the process which began this one, if that was larger
    begun, last, silent = time.process_time(), time.perf_counter(), 0.0

    def beat(what: str, done: int, total: int) -> None:
        """As the command line's display is told."""
        nonlocal last, silent
        now = time.perf_counter()
        silent, last = max(silent, now - last), now

    finished = export.marked(_finished(name, pairs), mark.of("xmp"))
    export.write(dataclasses.replace(finished, progress=beat), name, _folder(name, pairs))
    beat("end", 1, 1)
    print(json.dumps({"cpu": time.process_time() - begun, "peak": peak_since_reset(), "silent": silent}))
    return 0


@contextlib.contextmanager
def _process(name: str, pairs: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.data.export_formats", "--one", name, str(pairs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process


def _measured(name: str, pairs: int) -> dict[str, float]:
    _write(name, pairs)
    _clear(name, pairs)
    with _process(name, pairs) as process:
        out, _ = process.communicate()
    found: dict[str, float] = json.loads(out)
    _clear(name, pairs)
    return found


def _killed(name: str, pairs: int) -> int:
    """How many of KILLS kills leave nothing or all in the folder, and the next call the bytes of an unkilled one."""
    _write(name, pairs)
    _clear(name, pairs)
    folder, finished = _folder(name, pairs), export.marked(_finished(name, pairs), mark.of("xmp"))
    started = time.perf_counter()
    with _process(name, pairs) as process:
        process.wait()
    seconds, wanted = time.perf_counter() - started, sums.beside(folder).read_bytes()
    moments, good = random.Random(name), 0
    for _ in range(KILLS):
        _clear(name, pairs)
        with _process(name, pairs) as process:
            time.sleep(moments.uniform(0.3, 1) * seconds)
            process.send_signal(signal.SIGKILL)
        stamp = export.FORMATS.module(name).stamp(folder)
        before = not folder.exists() or (stamp == finished.content and _digests(folder) == wanted)
        export.write(finished, name, folder)
        whole = sums.beside(folder).read_bytes() == wanted and not any(sums.differences(folder))
        good += before and whole and not list(ROOT.glob(f".*{name}*{store.TEMPORARY}"))
    _clear(name, pairs)
    return good


def _digests(folder: Path) -> bytes:
    """Those of what lies in a folder now, whether or not they had been written."""
    sums.write(folder, sums.format_of(folder) or folder.name.rpartition("-")[0])
    return sums.beside(folder).read_bytes()


def _clear(name: str, pairs: int) -> None:
    folder = _folder(name, pairs)
    for left in (folder, folder.with_name(f".{folder.name}{store.TEMPORARY}")):
        store.remove(left)
    sums.beside(folder).unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
