"""1024 px pictures into a shard, out of it again, and made while others are drawn.

`python -m benchmarks image_files [IMAGES] [--rounds N]`. Photographs by their spectrum (1/f, a little noise). The
usual way is PNG as Pillow has it by default, one picture after the other, put into Parquet by pyarrow's own defaults.
Pixels are compared before anything is timed. Drawing is a pause, as of an accelerator that leaves the processors free,
and as long for each picture as encoding takes with all of them: so neither has a moment to spare, and the limit is
known, the longer of the two.
"""

from __future__ import annotations

import argparse
import io
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.data.judge_views import pictures
from benchmarks.support.interleaved import abba
from benchmarks.support.results import Row, record
from datagen import store
from datagen.images.ahead import prefetch, threads
from datagen.images.decode import decode
from datagen.images.encode import encode

DISTINCT = 16
FOOTER: dict[str, Any] = {"errors": 0, "seconds": 0.0, "digest": "d", "version": "1", "drops": {}}


def usual(images: list[Any], file: Path) -> None:
    """PNG by Pillow's default, one by one; Parquet by pyarrow's."""
    pq.write_table(pa.table({"image": [_png(image) for image in images]}), file)


def _png(image: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def ours(images: list[Any], run: store.Run) -> None:
    """As the stage of images does it, without a model."""
    encoded = prefetch(lambda image: encode(image, "webp"), images, 32)
    tables = (pa.table({"image": [data]}) for data in encoded)
    run.commit("images", 0, tables, **FOOTER)


def random_rows(run: store.Run, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds on the wall and of the CPU for each of some rows that are read alone, in random order."""
    rng, spent, cpu = random.Random(0), list[float](), list[float]()
    with pq.ParquetFile(run.shard("images", 0), memory_map=True) as file:
        starts = np.cumsum([0, *(file.metadata.row_group(k).num_rows for k in range(file.num_row_groups))])
        for _ in range(count):
            row = rng.randrange(file.metadata.num_rows)
            started, before = time.perf_counter(), time.process_time()
            group = int(np.searchsorted(starts, row, side="right")) - 1
            file.read_row_group(group, columns=["image"])["image"][row - int(starts[group])].as_py()
            spent.append(1000 * (time.perf_counter() - started))
            cpu.append(1000 * (time.process_time() - before))
    return spent, cpu


def bytes_of_a_photograph() -> float:
    """Our file's bytes over the usual one's, of the one photograph that comes with our libraries, 1024 px wide."""
    from matplotlib import cbook
    from PIL import Image

    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False), formats=["JPEG"]) as opened:
        image = opened.convert("RGB").resize((1024, 1200), Image.Resampling.BICUBIC)
    return len(encode(image, "webp")) / len(_png(image))


def drawn(images: list[Any], seconds: float, batch: int = 2) -> Iterator[Any]:
    """Pictures as a model yields them, a batch at a time."""
    for first in range(0, len(images), batch):
        time.sleep(seconds * batch)
        yield from images[first : first + batch]


def overlapped(images: list[Any], seconds: float) -> None:
    """Files made while pictures are drawn."""
    for _ in prefetch(lambda image: encode(image, "webp"), drawn(images, seconds), 32):
        pass


def serial(images: list[Any], seconds: float) -> None:
    """The loop that everyone writes."""
    for image in drawn(images, seconds):
        _png(image)


def main() -> int:
    """Print and record the figures; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks image_files", description=__doc__, allow_abbrev=False)
    parser.add_argument("images", nargs="?", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    distinct = [decode(data) for data in pictures(min(DISTINCT, given.images))]
    equal = sum(decode(encode(image, "webp")).tobytes() == image.tobytes() for image in distinct)
    images = [distinct[k % len(distinct)] for k in range(given.images)]
    few = distinct  # no picture twice: the usual way would put it into a dictionary
    with tempfile.TemporaryDirectory() as folder:
        run, file = store.Run(Path(folder)), Path(folder, "usual.parquet")
        timed = abba(lambda: usual(few, file), lambda: ours(few, run), given.rounds)
        bytes_ours = run.shard("images", 0).stat().st_size / file.stat().st_size
        ours(images, run)
        rows_ms, rows_cpu_ms = random_rows(run, 200)
    rows = [
        Row("pictures that come back with equal pixels", 100 * equal / len(distinct), "%", "= 100"),
        Row("pictures a second into a shard: ours / usual", timed.ratio(), "×", "≥ 8", timed.spread()),
        Row("the same by CPU time", timed.ratio(cpu=True), "×", spread=timed.spread(cpu=True)),
        Row("pictures a second into a shard", len(few) / timed.seconds(1), "images/s"),
        Row("bytes of the shard: ours / usual", 100 * bytes_ours, "%", "≤ 80", note="1/f with noise"),
        Row("bytes of a real photograph: ours / usual", 100 * bytes_of_a_photograph(), "%", "≤ 80"),
        Row("a random row from a shard", statistics.median(rows_ms), "ms", "≤ 5", f"up to {max(rows_ms):.1f}"),
        Row("a random row from a shard, by CPU time", statistics.median(rows_cpu_ms), "ms", "≤ 5"),
        *_beside(few, images[:100], given.rounds),
    ]
    for row in rows:
        print(f"{row.what}: {row.figure:.4g}{row.unit} {row.goal} ({row.spread})")
    record("image_files", rows)
    return 0 if all(row.reached is not False for row in rows) else 1


def _beside(few: list[Any], many: list[Any], rounds: int) -> list[Row]:
    """Drawing and encoding at once against one after the other, and against the longer of the two."""
    alone = statistics.median(_seconds(lambda: overlapped(many, 0.0)) for _ in range(rounds)) / len(many)
    against = abba(lambda: serial(few, alone), lambda: overlapped(few, alone), rounds)
    over = [_seconds(lambda: overlapped(many, alone)) / (alone * len(many)) for _ in range(rounds)]
    note = f"drawing takes {1000 * alone:.0f} ms a picture, as does encoding on {threads()} processors"
    return [
        Row("drawn and encoded: serial with PNG / beside", against.ratio(), "×", "≥ 4", against.spread()),
        Row("beside: over the longer of drawing and encoding", 100 * (statistics.median(over) - 1), "%", "≤ 5",
            f"{100 * (min(over) - 1):.1f} to {100 * (max(over) - 1):.1f}", note),
    ]  # fmt: skip


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
