"""Many rows through `datagen judge` with a judge that does nothing: memory, kills, the rate against decoding alone.

`python -m benchmarks judge_rows [--rows N] [--side PIXELS] [--timed N] [--timed-side PIXELS] [--rounds N]`. A Parquet
file of PNGs of the embedded world, each with a prompt of its own, is judged by the command line: once with a tenth of
the rows and once with all of them, whose greatest resident memories are compared; then all again, killed -9 three
times. The rate is measured on JPEGs: `judge_path` by turns with reading the same file and decoding its pictures in as
many threads, and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.support.interleaved import abba
from benchmarks.support.results import Row, record
from datagen.commands.judge import judge_path
from datagen.commands.judge.rows import refusal
from datagen.commands.judge.shards import SHARD
from datagen.images.ahead import prefetch
from datagen.images.decode import decode
from datagen.judges import panel
from datagen.recipe import JudgeChoice
from datagen.tables import pictures
from datagen.world import captions, grammar, render

JUDGE = "benchmarks.support.null_judge"
DISTINCT = 64  # pictures; decoding one again costs as much as another
KILLS = (0.2, 0.5, 0.8)  # of the rows that are done


def write(path: Path, rows: int, side: int, kind: str) -> Path:
    """A table of pictures with prompts."""
    rng, made, texts = random.Random(0), [], []
    for _ in range(DISTINCT):
        scene, file = grammar.sample_scene(rng), io.BytesIO()
        picture = render.render(scene).resize((side, side), Image.Resampling.BICUBIC)
        picture.save(file, kind, **({"quality": 92} if kind == "JPEG" else {}))
        made.append(file.getvalue())
        texts.append(captions.caption(scene, grammar.ATTRIBUTES, rng))
    schema = pa.schema([("image", pa.binary()), ("prompt", pa.string())])
    with pq.ParquetWriter(path, schema, use_dictionary=False) as writer:
        for start in range(0, rows, 1000):
            at = range(start, min(rows, start + 1000))
            images, prompts = [made[k % DISTINCT] for k in at], [f"{texts[k % DISTINCT]}, number {k}" for k in at]
            writer.write_table(pa.table({"image": images, "prompt": prompts}, schema=schema))
    return path


def start(table: Path, out: Path) -> subprocess.Popen[bytes]:
    """The command line as a process."""
    command = [sys.executable, "-m", "datagen", "judge", str(table), "--judges", JUDGE, "--out", str(out)]
    environment = {**os.environ, "NULL_JUDGE_COUNTS": str(out.with_suffix(".counts"))}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(table: Path, out: Path) -> float:
    """Judge to the end; the greatest resident memory in MiB."""
    _, status, usage = os.wait4(start(table, out).pid, 0)
    if status:
        sys.exit(f"datagen judge ended with {status}")
    return usage.ru_maxrss / 1024


def kill_at(share: float, table: Path, out: Path, rows: int) -> None:
    """Judge until so many of the rows are in finished shards, and somewhat on into the next; then kill -9."""
    process, parts = start(table, out), out.with_name(f"{out.name}.parts") / "tables" / "scores"
    while process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            if len(list(parts.glob("scores-*.parquet"))) * SHARD >= share * rows:
                break
        time.sleep(0.02)
    time.sleep(random.Random(share).uniform(0, 0.3))
    process.send_signal(signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
        sys.exit("datagen judge ended before it could be killed")


def judged(out: Path) -> int:
    """How many images the judge was shown."""
    return sum(map(int, out.with_suffix(".counts").read_text().split()))


def of_memory_and_kills(folder: Path, rows: int, side: int) -> list[Row]:
    few = write(folder / "few.parquet", rows // 10, side, "PNG")
    many = write(folder / "many.parquet", rows, side, "PNG")
    small, large = finish(few, folder / "s.parquet"), finish(many, folder / "whole.parquet")
    for share in KILLS:
        kill_at(share, many, folder / "killed.parquet", rows)
    finish(many, folder / "killed.parquet")
    again = judged(folder / "killed.parquet") - rows
    same = (folder / "killed.parquet").read_bytes() == (folder / "whole.parquet").read_bytes()
    named = f"{rows:,} rows of {side} px"
    return [
        Row(f"{named}: memory", large, "MiB", note="the greatest that is resident"),
        Row(f"{named}: memory against {rows // 10:,} rows", large / small, "×", "≤ 1.2"),
        Row(f"{named}, killed -9 three times: judged again", again / len(KILLS), "images a kill", f"≤ {SHARD}"),
        Row(f"{named}, killed -9 three times: files that differ", int(not same), "files", "= 0"),
    ]


def decoded(table: Path) -> None:
    """The limit: reading and decoding, in as many threads and as far ahead."""
    chunks = panel.chunks(item.source for item in pictures.open_input(table).items)
    for _ in prefetch(lambda chunk: [decode(source) for source in chunk if source], chunks, panel.AHEAD):
        pass


def judge(table: Path, out: Path) -> None:
    """In this process, which forgets what it knows of the prompts, as each has one of its own."""
    refusal.cache_clear()
    judge_path(table, [JudgeChoice(name=JUDGE)], out)


def of_rate(folder: Path, rows: int, side: int, rounds: int) -> list[Row]:
    table = write(folder / f"{side}.parquet", rows, side, "JPEG")
    found = abba(lambda: decoded(table), lambda: judge(table, folder / f"timed-{side}.parquet"), rounds)
    named = f"{rows:,} rows of {side} px"
    return [
        Row(f"{named}: images a second", rows / found.seconds(1), "images/s"),
        Row(f"{named}: of the rate of decoding alone", 100 * found.ratio(), "%", "≥ 95", found.spread()),
        Row(
            f"{named}: of that rate by CPU time", 100 * found.ratio(cpu=True), "%", spread=found.spread(cpu=True),
            note="what stands on a shared machine",
        ),
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks judge_rows", description=__doc__, allow_abbrev=False)
    parser.add_argument("--rows", type=int, default=100_000, help="0: the rate alone")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--timed", type=int, default=1000, help="rows whose rate is measured; 0: none")
    parser.add_argument("--timed-side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = of_memory_and_kills(Path(folder), given.rows, given.side) if given.rows else []
        rows += of_rate(Path(folder), given.timed, given.timed_side, given.rounds) if given.timed else []
    for row in rows:
        print(f"{row.what}: {row.figure:.4g} {row.unit} {row.goal} {row.spread}")
    record("judge_rows", rows)
    return 0 if all(row.reached is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
