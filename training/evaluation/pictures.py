"""The pictures that are evaluated: lists of images decoded when asked for, and sets of them that exist already.

A `Round` is what one seed gives: the same prompts in every arm, image by image. Raises TrainingError naming the file.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from datagen.images.decode import SUFFIXES
from datagen.tables.folders import NEITHER, walk
from datagen.tables.rows import SUFFIXES as TABLES
from datagen.tables.rows import read
from training.data import Table, decode
from training.errors import TrainingError

FILE_COLUMNS = ("file", "file_name", "path", "name")
TEXT_COLUMNS = ("prompt", "caption", "text")


class Pictures:
    """N pictures as RGB images; bytes are read and decoded at each use, so that no more than a batch is in memory."""

    def __init__(self, names: Sequence[str], read: Callable[[int], bytes]) -> None:
        self.names, self._read = list(names), read

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image.Image:
        return decode(self._read(index), self.names[index])

    def pick(self, rows: Sequence[int]) -> Pictures:
        """The given pictures, in that order."""
        return Pictures([self.names[row] for row in rows], lambda i: self._read(rows[i]))

    def batches(self, size: int) -> Iterator[list[Image.Image]]:
        """All pictures in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield [self[i] for i in range(start, min(start + size, len(self)))]


@dataclasses.dataclass(frozen=True)
class Round:
    """The pictures of one seed: image i of every arm shows prompt `prompt_of[i]` of the evaluation's prompts.

    `notes`: what is to be said of where they come from.
    """

    prompt_of: list[int]
    arms: dict[str, Pictures]
    notes: tuple[str, ...] = ()

    def pick(self, rows: Sequence[int]) -> Round:
        """The given images of every arm, in that order."""
        arms = {arm: made.pick(rows) for arm, made in self.arms.items()}
        return Round([self.prompt_of[row] for row in rows], arms, self.notes)


def from_files(paths: Sequence[Path]) -> Pictures:
    """Pictures in files."""
    return Pictures([str(path) for path in paths], lambda i: paths[i].read_bytes())


def folder(source: str, option: str) -> dict[str, Path]:
    """The images under a folder by their name in it, in order."""
    root = Path(source)
    if not root.is_dir():
        raise TrainingError(f"{option} {source} is not a folder: give a folder of {', '.join(SUFFIXES)} files")
    found = walk(root)
    if not found.images:
        raise TrainingError(f"{option} {source} holds no images ({', '.join(SUFFIXES)})")
    found.passed_over.pop(NEITHER, None)  # tables and texts may well lie beside pictures
    for note in found.notes(root):
        print(f"{option} {source}: {note}", file=sys.stderr)
    return {path.relative_to(root).as_posix(): path for path in found.images}


def from_folders(base: str, adapted: str | None, captions: str | None) -> tuple[list[str], Round]:
    """Prompts and pictures of one or two folders with the same names, and a table of captions."""
    if not captions:
        raise TrainingError(
            "--base-images needs --captions: a CSV, JSON lines or Parquet file of file names and prompts"
        )
    sets = {"base": folder(base, "--base-images")}
    if adapted:
        if Path(adapted).resolve() == Path(base).resolve():
            raise TrainingError(
                f"--adapted-images and --base-images are both {base}: a set cannot be its own reference"
            )
        sets["adapted"] = folder(adapted, "--adapted-images")
        if odd := sorted(set(sets["base"]) ^ set(sets["adapted"])):
            raise TrainingError(
                f"{len(odd)} images are in one folder only ({', '.join(odd[:3])}); {base} and {adapted} must hold the "
                "same names"
            )
    texts = captions_of(captions)
    if missing := [name for name in sets["base"] if name not in texts]:
        raise TrainingError(f"{captions} has no caption for {len(missing)} images ({', '.join(missing[:3])})")
    prompts = list(dict.fromkeys(texts[name] for name in sets["base"]))
    rows = {prompt: i for i, prompt in enumerate(prompts)}
    arms = {arm: from_files([files[name] for name in sets["base"]]) for arm, files in sets.items()}
    absent = [name for name in texts if name not in sets["base"]]
    notes = [f"{captions} names {len(absent)} pictures that are not in {base}, first {absent[0]}"] if absent else []
    return prompts, Round([rows[texts[name]] for name in sets["base"]], arms, tuple(notes))


def from_table(source: str) -> tuple[list[str], Round]:
    """Prompts and pictures of a Parquet file with the columns prompt (or caption), base, and perhaps adapted."""
    table = Table(Path(source), Path(source).parent)
    names = table.names
    text = _column(names, TEXT_COLUMNS, source)
    if "base" not in names:
        raise TrainingError(f"{source} has no column 'base'; it has {', '.join(names)}; needed: prompt, base, adapted")
    texts: list[str] = table.values(text)
    odd = next((row for row, value in enumerate(texts) if not isinstance(value, str) or not value.strip()), None)
    if odd is not None:
        raise TrainingError(f"{source} row {odd}: {text} is {texts[odd]!r}; a text is needed for every picture")
    prompts = list(dict.fromkeys(texts))
    rows = {prompt: i for i, prompt in enumerate(prompts)}
    arms: dict[str, Pictures] = {arm: _cells(table, arm) for arm in ("base", "adapted") if arm in names}
    if not texts:
        raise TrainingError(f"{source} holds no rows")
    return prompts, Round([rows[value] for value in texts], arms)


def _cells(table: Table, arm: str) -> Pictures:
    """The pictures of a column: bytes, Hugging Face's image structs, or names of files."""
    source = table.images((arm,))
    return Pictures([source.where(row) for row in range(len(table))], source.open())


def captions_of(source: str) -> dict[str, str]:
    """File name → caption, from a table with columns such as file_name and prompt."""
    rows = read_rows(source)
    names = list(rows[0]) if rows else []
    file, text = _column(names, FILE_COLUMNS, source), _column(names, TEXT_COLUMNS, source)
    found: dict[str, str] = {}
    for number, row in enumerate(rows):
        if not isinstance(row.get(file), str) or not isinstance(row.get(text), str):
            raise TrainingError(f"{source} row {number}: {file} and {text} must be texts")
        if found.setdefault(row[file], row[text]) != row[text]:
            raise TrainingError(f"{source} row {number}: {row[file]} has another {text} in an earlier row")
    return found


def read_rows(source: str) -> list[Mapping[str, Any]]:
    """The rows of a CSV, TSV, JSON-lines or Parquet file."""
    path = Path(source)
    if path.suffix.lower() not in TABLES or not path.is_file():
        raise TrainingError(f"{source} is not a table: give a .csv, .tsv, .jsonl or .parquet file")
    return [row.values for row in read(path).rows()]


def _column(names: Sequence[str], accepted: Sequence[str], source: str) -> str:
    found = next((name for name in accepted if name in names), None)
    if found is None:
        raise TrainingError(
            f"{source} has columns {', '.join(names) or 'none'}; one of {', '.join(accepted)} is needed"
        )
    return found
