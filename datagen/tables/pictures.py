"""Existing images with their prompts, one at a time: from a folder, from a table of files, or from Parquet.

`open_input` looks first and reads later: what cannot be used at all is an `InputError` at once, what is wrong with one
image is an `Item` with its error.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from datagen.errors import InputError, nearest
from datagen.images.decode import SUFFIXES
from datagen.tables import cells, folders, parquet, rows, text
from datagen.tables.folders import Finder, Found, shown

FILE_COLUMNS = ("image", "file", "file_name", "path")  # how tables name an image file, unless a column is asked for
PAIR_COLUMNS = ("chosen", "rejected")
SCORES = ("path", "judge", "judge_version", "value")  # columns of what `datagen judge` writes


@dataclasses.dataclass(frozen=True)
class Item:
    """One image and its prompt; `path` says which, `error` why it cannot be judged."""

    path: str
    source: Path | bytes | None
    prompt: str | None
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Input:
    """`total` images, their `items` as a stream, the `files` that these and their prompts are in, `notes` to say."""

    total: int
    items: Iterator[Item]
    files: list[Path]
    notes: list[str]


def open_input(
    path: Path,
    prompts: Path | None = None,
    image_column: str | None = None,
    prompt_column: str = "prompt",
    leave_out: Iterable[Path] = (),
) -> Input:
    """What there is to judge; InputError for what is not a folder, table or data set of images.

    Without an `image_column` it is "image", in a set of pairs chosen and rejected. `leave_out` are files of our own.
    """
    if not _exists(path):
        raise InputError(f"there is no {path}; give a folder of images or a Parquet file")
    if path.is_file():
        if prompts is not None:
            raise InputError(f"--prompts names prompts for a folder of images, but {path} is a file")
        if path.suffix.lower() != ".parquet":
            raise InputError(f"{path} is neither a folder of images nor a Parquet file")
        return _data_set(path.parent, [path], image_column, prompt_column, [])
    found = folders.walk(path, [*leave_out, *([] if prompts is None else [prompts])])
    if prompts is not None:
        return _listed(path, found, prompts, image_column, prompt_column)
    _set_scores_aside(found)
    if _is_data_set(path, found, image_column, prompt_column):
        return _data_set(path, found.tables, image_column, prompt_column, found.notes(path))
    if not found.images:
        told = "; ".join(found.notes(path))
        raise InputError(
            f"{path} holds no images ({', '.join(SUFFIXES)}) and no Parquet files{f'; {told}' if told else ''}"
        )
    return _beside_texts(path, found, image_column)


def _exists(path: Path) -> bool:
    """Whether there is something; False too for a name that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _set_scores_aside(found: Found) -> None:
    """Leave out tables of scores, which an earlier call may have written into the folder."""
    scores = [table for table in found.tables if set(SCORES) <= set(_names_if_readable(table))]
    found.tables = [table for table in found.tables if table not in scores]
    found.pass_over("tables of scores", *scores)


def _names_if_readable(table: Path) -> list[str]:
    try:
        return list(parquet.columns(table).names)
    except InputError:
        return []  # reading it says what is wrong


def _is_data_set(path: Path, found: Found, image_column: str | None, prompt_column: str) -> bool:
    """Whether a folder's tables are what is meant; InputError if its pictures with texts may be meant as well."""
    if not found.tables:
        return False
    if not found.images:
        return True
    beside = _Texts(found)
    with_texts = [image for image in found.images if beside.of(image)]
    usable = [table for table in found.tables if _image_columns_of(_names_if_readable(table), image_column)]
    if with_texts and (usable or image_column is not None):
        raise InputError(
            f"{path} holds both pictures with texts beside them ({shown(with_texts[0], path)}) and Parquet "
            f"({shown(found.tables[0], path)}): give the folder of one, or a Parquet file"
        )
    if with_texts:
        found.pass_over("Parquet files without a column of images", *found.tables)
        return False
    found.pass_over("pictures beside Parquet files", *found.images)
    return True


def _image_columns_of(names: list[str], wanted: str | None) -> list[str]:
    """The columns with images: the one that is asked for, else "image", else those of a pair; none if it has not."""
    if wanted is not None:
        return [wanted] if wanted in names else []
    return ["image"] if "image" in names else [name for name in PAIR_COLUMNS if name in names]


def _data_set(root: Path, shards: list[Path], image_column: str | None, prompt_column: str, notes: list[str]) -> Input:
    """The images of Parquet shards; of a set of pairs, both of each row."""
    total, plans = 0, []
    for shard in shards:
        with parquet.open_file(shard) as file:
            columns = _image_columns(shard, file.schema_arrow, image_column)
            parquet.check_text(shard, file.schema_arrow, prompt_column)
            total += file.metadata.num_rows * len(columns)
        plans.append((shard, columns))
    if not total:
        raise InputError(f"{shards[0]} has no rows")
    items = (item for shard, columns in plans for item in _of_shard(root, shard, columns, prompt_column))
    return Input(total, items, shards, notes)


def _image_columns(shard: Path, schema: Any, wanted: str | None) -> list[str]:
    columns = _image_columns_of(schema.names, wanted)
    if not columns:
        name = "image" if wanted is None else wanted
        raise InputError(
            f"{shard} has no column {name!r}; {nearest(name, schema.names)}; name one with --image-column"
        )
    for column in columns:
        parquet.check_image(shard, schema, column)
    return columns


def _of_shard(root: Path, shard: Path, columns: list[str], prompt_column: str) -> Iterator[Item]:
    name = shown(shard, root)
    for number, values in enumerate(parquet.rows(shard, [*columns, prompt_column])):
        for column in columns:
            yield _of_cells(f"{name}#{number}/{column}", values[column], values[prompt_column])


def _of_cells(name: str, image: Any, prompt: Any) -> Item:
    """An image of a data set, named by its shard, row and column."""
    try:
        encoded = cells.image_of(image)
    except cells.Unusable as error:
        return Item(name, None, None, f"no image: {error}")
    return _with_prompt(name, encoded, prompt)


def _with_prompt(name: str, source: Path | bytes, cell: Any) -> Item:
    """An image with the prompt of a table's cell."""
    try:
        return Item(name, source, cells.text_of(cell))
    except cells.Unusable as error:
        return Item(name, source, None, f"no prompt: {error}")


def _beside_texts(root: Path, found: Found, image_column: str | None) -> Input:
    """A folder's images with the prompts in the .txt files of their names."""
    if image_column is not None:
        raise InputError(
            f"--image-column {image_column!r} names a column, but {root} is a folder of images without a table"
        )
    beside = _Texts(found)
    used = {beside.of(image) for image in found.images}
    metadata = [path for paths in found.passed_over.values() for path in paths if path.stem == "metadata"]
    hints = [
        f"{path} may hold the prompts: name it with --prompts" for path in metadata if path.suffix in rows.SUFFIXES
    ]
    found.pass_over("texts without a picture of their name", *(path for path in found.texts if path not in used))
    items = (_beside(root, image, beside) for image in found.images)
    return Input(len(found.images), items, [*found.images, *found.texts], [*found.notes(root), *hints])


class _Texts:
    """The .txt files of a folder by the picture they belong to, in any spelling of Unicode, any case of the suffix."""

    def __init__(self, found: Found) -> None:
        self.exact = set(found.texts)
        self.alike = {self._key(path, path.stem): path for path in reversed(found.texts)}
        others = [path for paths in found.passed_over.values() for path in paths]
        self.others = {self._key(path, path.name.partition(".")[0]): path for path in [*found.texts, *others]}

    @staticmethod
    def _key(file: Path, stem: str) -> tuple[Path, str]:
        return file.parent, unicodedata.normalize("NFC", stem)

    def of(self, image: Path) -> Path | None:
        """The text beside an image."""
        exact = image.with_name(f"{self.stem(image)}.txt")
        return exact if exact in self.exact else self.alike.get(self._key(image, self.stem(image)))

    def stem(self, image: Path) -> str:
        """An image's name without its suffix; of one whose last part is none ("scene 1.5 wide"), its whole name."""
        suffix = image.suffix[1:]
        return image.stem if suffix.isalnum() and not suffix.isdigit() else image.name

    def expected(self, image: Path) -> str:
        """What was looked for, and what lies there instead."""
        other = self.others.get(self._key(image, image.name.partition(".")[0]))
        hint = f"; {other.name} is not read" if other else ""
        return f"expected {self.stem(image)}.txt next to the image, or --prompts{hint}"


def _beside(root: Path, image: Path, beside: _Texts) -> Item:
    name, sidecar = shown(image, root), beside.of(image)
    if sidecar is None:
        return Item(name, image, None, f"no prompt: {beside.expected(image)}")
    try:
        prompt = text.read(sidecar)
        if not prompt:
            return Item(name, image, None, f"no prompt: {sidecar.name} is empty")
        return Item(name, image, cells.text_of(prompt))
    except (InputError, cells.Unusable) as error:
        return Item(name, image, None, f"no prompt: {error}")


def _listed(folder: Path, found: Found, prompts: Path, image_column: str | None, prompt_column: str) -> Input:
    """The images that a table of files and prompts names."""
    table = rows.read(prompts)
    file_column = image_column or next((name for name in FILE_COLUMNS if name in table.columns), FILE_COLUMNS[0])
    for column, what in ((file_column, " with the files"), (prompt_column, "")):
        table.check(column, what)
        table.check_text(column)
    finder = Finder(folder, prompts, found.images)
    total, named, seen, repeated = 0, set[str](), set[int](), 0
    for row in table.rows(file_column, prompt_column):  # read twice, as a list of all may not fit the memory
        total += 1
        name, prompt = row.values[file_column], row.values[prompt_column]
        if isinstance(name, str) and (image := finder.find(name)):
            named.add(os.path.abspath(image))
            key = hash((image, prompt if isinstance(prompt, str) else None))
            repeated += key in seen
            seen.add(key)
    others = [image for image in found.images if os.path.abspath(image) not in named]
    found.pass_over(f"pictures that {prompts.name} does not name", *others)
    found.pass_over("Parquet files beside the pictures", *found.tables)
    elsewhere = sum(not Path(image).is_relative_to(folder.absolute()) for image in named)
    counts = {
        f"images that {prompts.name} names are not in {folder}, but elsewhere": elsewhere,
        f"rows of {prompts.name} repeat image and prompt of an earlier row": repeated,
    }
    notes = [f"{count} {what}" for what, count in counts.items() if count]
    items = (
        _of_row(finder, f"{prompts.name} {row.place}", row.values[file_column], row.values[prompt_column])
        for row in table.rows(file_column, prompt_column)
    )
    return Input(total, items, [*map(Path, sorted(named)), prompts], [*found.notes(folder), *notes])


def _of_row(finder: Finder, place: str, cell: Any, prompt: Any) -> Item:
    """An image that a row names; one without a name is called after its row."""
    try:
        cells.text_of(cell)
    except cells.Unusable as error:
        return Item(place, None, None, f"no image: {error}")
    if path := finder.find(cell):
        return _with_prompt(cell, path, prompt)
    return Item(cell, None, None, f"there is no such file: {finder.tried(cell)}")


def fingerprint(files: Iterable[Path]) -> str:
    """16 hex digits of the names, sizes and times of an input's files: while they are equal, so are its images."""
    sha = hashlib.sha256()
    for file in files:
        facts = file.stat()
        sha.update(os.fsencode(f"{file} {facts.st_size} {facts.st_mtime_ns}\n"))
    return sha.hexdigest()[:16]
