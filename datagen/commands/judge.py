"""Scores for images that already exist: `judge_path` reads a folder, a table of files or a Parquet data set.

It streams: only a few pictures are in memory at a time. Finished shards wait in `OUT.parts`, a run directory, so that
the same call resumes where an earlier one stopped. An image that cannot be read, or a prompt that is missing or
refused, becomes a row with its error; an input without any image is an `InputError`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen import recipe, records, safety, store
from datagen.errors import ModelError, RunError
from datagen.images import sources
from datagen.judges import JUDGES, Judge, panel
from datagen.pipeline.shard import version
from datagen.progress import Progress
from datagen.recipe import JudgeChoice

SHARD = 8 * panel.CHUNK  # images; a killed call judges at most so many of them again


@dataclasses.dataclass(frozen=True)
class Judged:
    """What one judge says of one image; the columns of the file that is written."""

    path: str
    prompt: str  # empty where it was missing or refused
    judge: str
    judge_version: str
    value: float | None  # None: the judge abstained, or there is an error
    error: str | None


@dataclasses.dataclass(frozen=True)
class Summary:
    """Images that were read, rows that have a value, images that became an error."""

    images: int
    scored: int
    errors: int


def choose(names: Sequence[str], settings: Sequence[str], clip_model: str | None = None) -> list[JudgeChoice]:
    """The judges of `--judges` (each may be several, separated by commas) with the options of `--set`.

    `clip_model` is an older name of `clip.model`. Raises ModelError and RecipeError for names that do not exist.
    """
    wanted = [name.strip() for part in names for name in part.split(",") if name.strip()]
    if not wanted:
        raise ModelError(f"no judge was named; known: {', '.join(JUDGES.names())}")
    options: dict[str, dict[str, Any]] = {name: {} for name in wanted}
    if clip_model is not None and "clip" in options:
        options["clip"]["model"] = clip_model
    for setting in settings:
        key, value = recipe.assignment(setting, "clip.model=ViT-L-14/openai")
        name, _, option = key.rpartition(".")
        if name not in options:
            raise ModelError(f"--set {setting!r}: give JUDGE.OPTION=VALUE for one of --judges: {', '.join(options)}")
        options[name][option] = value
    for name in options:
        JUDGES.check(name)
    return [JudgeChoice(name=name, options=given) for name, given in options.items()]


def judge_path(
    input: Path,
    choices: Sequence[JudgeChoice],
    out: Path,
    *,
    prompts: Path | None = None,
    image_column: str = "image",
    prompt_column: str = "prompt",
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda what, done, total: None,
) -> Summary:
    """Write one row per image and judge to the Parquet file `out`, which appears only when it is complete.

    `input` is a folder of images with prompts next to them (`a.png`, `a.txt`) or in the table `prompts` (CSV or
    Parquet with a file and a prompt column), or a Parquet file or folder with an image column (structs of bytes, or
    bytes; in sets of pairs: chosen and rejected) and a prompt column. Raises InputError and ModelError before anything
    is written; RunError if `out` cannot be written, or if what an earlier call left has other settings.
    """
    _refuse_out(out, input, prompts)
    total, items = sources.open_input(input, prompts, image_column, prompt_column)
    judges = panel.load(choices)
    parts = store.Run(out.with_name(f"{out.name}{sources.PARTS}"))
    settings = {
        "input": str(input),
        "files": sources.fingerprint(input, prompts),
        "columns": [image_column, prompt_column],
        "judges": [
            {"version": judge.version, **choice.model_dump()} for judge, choice in zip(judges, choices, strict=True)
        ],
    }
    digest = records.content_id(settings)
    with store.hold(parts, {"digest": digest, "version": version(), "recipe": settings}), _tidy(parts):
        done = _judge_missing(parts, judges, items, total, digest, say, progress)
        summary = _merge(parts, done, len(judges), out)
        shutil.rmtree(parts.root)
    if worlds := panel.of_the_world(judges):
        say(
            f"note: {' and '.join(worlds)} can judge the embedded model's images only, of others the scores mean "
            "nothing; name a CLIP with --set clip.model=ViT-L-14/openai"
        )
    return summary


def _refuse_out(out: Path, *given: Path | None) -> None:
    """RunError if scores cannot be written to `out`, or would overwrite what is judged."""
    for path in given:
        if path is not None and os.path.exists(out) and os.path.exists(path) and out.samefile(path):
            raise RunError(f"{out} is the input; give another name for the scores")
    with store.writing(out):
        if out.is_dir():
            raise RunError(f"{out} is a folder; give the name of a Parquet file")


@contextlib.contextmanager
def _tidy(parts: store.Run) -> Iterator[None]:
    """Clean up after a call that ends before its first shard is done."""
    try:
        yield
    except BaseException:
        if not parts.shard("scores", 0).exists():
            shutil.rmtree(parts.root, ignore_errors=True)
        raise


def _judge_missing(
    parts: store.Run,
    judges: list[Judge],
    items: Iterator[sources.Item],
    total: int,
    digest: str,
    say: Callable[[str], None],
    progress: Progress,
) -> int:
    """Judge what earlier calls did not; the number of shards."""
    count = math.ceil(total / SHARD)
    first = next((index for index in range(count) if parts.footer("scores", index) is None), count)
    if first:
        say(f"{min(first * SHARD, total)} of {total} images were judged before")
    items = itertools.islice(items, first * SHARD, None)
    for index in range(first, count):
        started, rows, done = time.perf_counter(), list[Judged](), index * SHARD
        for chunk in panel.chunks(itertools.islice(items, SHARD)):
            rows += _rows(judges, chunk)
            done += len(chunk)
            progress("judge", done, total)
        parts.commit(
            "scores",
            index,
            records.to_table(Judged, rows),
            errors=sum(row.error is not None for row in rows),
            seconds=round(time.perf_counter() - started, 3),
            digest=digest,
            version=version(),
            drops={},
        )
    return count


def _rows(judges: list[Judge], items: list[sources.Item]) -> list[Judged]:
    """The rows of a few images, those of one image together."""
    refused = [None if item.prompt is None else safety.refusal(item.prompt) for item in items]
    questions = [
        panel.Question(item.source, (item.prompt or "",), item.error or reason)
        for item, reason in zip(items, refused, strict=True)
    ]
    return [
        Judged(
            path=item.path,
            prompt="" if reason else item.prompt or "",
            judge=judge.name,
            judge_version=judge.version,
            value=answer.values[judge.name][0],
            error=answer.error,
        )
        for item, reason, answer in zip(items, refused, panel.ask(judges, questions), strict=True)
        for judge in judges
    ]


def _merge(parts: store.Run, count: int, judges: int, out: Path) -> Summary:
    """Merge the shards into one file, and count what is in them."""
    images = scored = errors = 0

    def fill(file: Any) -> None:
        nonlocal images, scored, errors
        with store.parquet_writer(file, records.schema(Judged)) as writer:
            for index in range(count):
                table = parts.table("scores", index)
                writer.write_table(table.replace_schema_metadata(None))
                images += table.num_rows // judges
                scored += _present(table["value"])
                errors += _present(table["error"]) // judges

    store.write_file(out, fill)
    return Summary(images, scored, errors)


def _present(column: pa.ChunkedArray) -> int:
    """The values that are not null."""
    return int(pc.count(column).as_py())
