"""Scores for images that already exist: `judge_path` reads a folder, a table of files or a Parquet data set.

It streams: a few pictures are in memory at a time, each is read once for all judges. An image that cannot be read, or
a prompt that is missing or refused, becomes a row with its error; an input without any image is an `InputError`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen import judges as registry
from datagen import safety
from datagen.errors import ModelError, RunError
from datagen.images import sources
from datagen.images.decode import Unreadable, decode
from datagen.progress import Progress

if TYPE_CHECKING:
    from PIL import Image

SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),  # empty where it was missing or refused
        pa.field("judge", pa.string(), nullable=False),
        pa.field("judge_version", pa.string(), nullable=False),
        pa.field("value", pa.float64()),  # null: the judge abstained, or there is an error
        pa.field("error", pa.string()),
    ]
)
CHUNK = 32  # pictures in memory at a time


@dataclasses.dataclass(frozen=True)
class Summary:
    """Images that were read, rows that have a value, images that became an error."""

    images: int
    scored: int
    errors: int


@dataclasses.dataclass(frozen=True)
class _Choice:
    clip_model: str


def judge_path(
    input: Path,
    judges: list[str],
    out: Path,
    *,
    prompts: Path | None = None,
    image_column: str = "image",
    prompt_column: str = "prompt",
    clip_model: str = "embedded",
    progress: Progress = lambda what, done, total: None,
) -> Summary:
    """Write one row an image and judge to the Parquet file `out`, which appears only when it is complete.

    `input` is a folder of images with prompts beside them (`a.png`, `a.txt`) or in the table `prompts` (CSV or Parquet
    with a file and a prompt column), or a Parquet file or folder with an image column (structs of bytes, or bytes; in
    sets of pairs: chosen and rejected) and a prompt column. Raises InputError and ModelError before anything is
    written, RunError if `out` cannot be written.
    """
    if not judges:
        raise ModelError(f"no judge was named; known: {', '.join(registry.names())}")
    judges = list(dict.fromkeys(judges))
    for name in judges:
        registry.module(name)  # an unknown name is told before a model is loaded
    for given in (input, prompts):
        if given is not None and os.path.exists(out) and os.path.exists(given) and out.samefile(given):
            raise RunError(f"{out} is what is judged; give another name for the scores")
    total, items = sources.open_input(input, prompts, image_column, prompt_column)
    panel = [registry.load(name, _Choice(clip_model)) for name in judges]
    images = scored = errors = 0
    with _Table(out) as table:
        while chunk := list(itertools.islice(items, CHUNK)):
            rows = _judge(panel, chunk)
            table.write(rows)
            images += len(chunk)
            scored += sum(row["value"] is not None for row in rows)
            errors += sum(row["error"] is not None for row in rows[:: len(panel)])
            progress("judge", images, total)
    return Summary(images, scored, errors)


def _judge(panel: list[registry.Judge], items: list[sources.Item]) -> list[dict[str, Any]]:
    """The rows of a few images, those of one image together."""
    read = [_read(item) for item in items]
    good = [k for k, result in enumerate(read) if not isinstance(result, str)]
    images: list[Image.Image] = [result for result in read if not isinstance(result, str)]
    texts = [items[k].prompt or "" for k in good]
    values = {judge.name: dict(zip(good, judge.score(images, texts), strict=True)) for judge in panel}
    rows = []
    for (k, item), judge in itertools.product(enumerate(items), panel):
        value, result = float(values[judge.name].get(k, math.nan)), read[k]
        rows.append(
            {
                "path": item.path,
                "prompt": "" if item.prompt is None or safety.refusal(item.prompt) else item.prompt,
                "judge": judge.name,
                "judge_version": judge.version,
                "value": None if math.isnan(value) else value,
                "error": result if isinstance(result, str) else None,
            }
        )
    return rows


def _read(item: sources.Item) -> Image.Image | str:
    """The picture of an item whose prompt is accepted, or why it is not judged."""
    if item.error is not None or item.prompt is None:
        return item.error or "no prompt"
    if reason := safety.refusal(item.prompt):
        return reason
    if item.source is None:
        return "no image"
    try:
        return decode(item.source)
    except Unreadable as error:
        return str(error)


class _Table:
    """A Parquet file that is written beside its place and moved there at the end, or not at all."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
        self._file: Any = None
        self._writer: Any = None

    def __enter__(self) -> _Table:
        try:
            if self._out.is_dir():
                raise RunError(f"{self._out} is a folder; give the name of a Parquet file")
            self._out.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._temporary.open("wb")
        except OSError as error:
            raise RunError(f"cannot write {self._out}: {error.strerror}") from error
        self._writer = pq.ParquetWriter(self._file, SCHEMA)
        return self

    def write(self, rows: list[dict[str, Any]]) -> None:
        self._try(lambda: self._writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA)))

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._try(self._commit)
        finally:
            with contextlib.suppress(Exception):  # left open, the writer complains on stderr when it is collected
                self._writer.close()
            self._file.close()
            self._temporary.unlink(missing_ok=True)

    def _commit(self) -> None:
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._temporary.replace(self._out)

    def _try(self, action: Any) -> None:
        try:
            action()
        except OSError as error:
            raise RunError(f"cannot write {self._out}: {error.strerror or error}; nothing was left there") from error
