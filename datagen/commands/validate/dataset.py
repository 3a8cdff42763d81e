"""The Parquet files of a dataset: names and splits, schemas and row groups, and what only all rows together show."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.commands.validate import card, rows
from datagen.errors import one_line
from datagen.export.card import columns as card_columns
from datagen.tables import folders, splits

VIEWER_BYTES = 300_000_000  # the hub's viewer refuses to read row groups that are larger
BATCH = 32  # rows that are held at a time: images may be large
NUMBERED = re.compile(r"(.+)-(\d{5})-of-(\d{5})(?=\.parquet$)", re.IGNORECASE)


def files(root: Path) -> list[Path]:
    """The Parquet files of a dataset, in the order of their names; what is hidden is no part of it."""
    if not root.is_dir():
        return [root] if root.is_file() else []
    found = folders.walk(root)
    nowhere = [
        path for path in found.passed_over.get("links that lead nowhere", []) if path.suffix.lower() == ".parquet"
    ]
    return sorted([*found.tables, *nowhere])


def split_of(name: str, patterns: list[tuple[str, str]]) -> str:
    """The split of a file, by its path in the dataset: as the card says, or else as `datasets` tells it.

    That is by the file's name or, where that says nothing, by its folders'.
    """
    if (split := card.split_of(name, patterns)) is not None:
        return split
    *folders, file = name.split("/")
    if numbered := NUMBERED.match(file):
        return numbered[1]
    return next(filter(None, map(splits.named, (file, *reversed(folders)))), "train")


@dataclasses.dataclass
class _Seen:
    """What has been seen of all files so far."""

    pairs: dict[str, str] = dataclasses.field(default_factory=dict)  # pair_id → where it was seen first
    pools: dict[str, str] = dataclasses.field(default_factory=dict)  # pool → its prompt
    prompts: dict[bytes, dict[str, str]] = dataclasses.field(default_factory=dict)  # → split → where it was first
    images: dict[bytes, dict[str, str]] = dataclasses.field(default_factory=dict)


def problems(root: Path, found: list[Path], patterns: list[tuple[str, str]], counts: dict[str, int]) -> Iterator[str]:
    """What is wrong with the files `found` of a dataset; its rows by split are added to `counts`."""
    names = {path: path.relative_to(root).as_posix() if path != root else path.name for path in found}
    splits = {path: split_of(name, patterns) for path, name in names.items()}
    yield from _missing_numbers(found)
    seen = _Seen()
    for path in sorted(
        found, key=lambda path: (splits[path] != "train", splits[path])
    ):  # a leak is told of the others
        try:
            with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
                yield from (f"{path}: {problem}" for problem in _of_file(file))
                yield from _of_rows(file, path, splits[path], seen, counts)
        except FileNotFoundError:
            yield f"{path} leads to a file that is not there"
        except (pa.ArrowException, OSError) as error:
            yield f"{path} ({path.stat().st_size} bytes) cannot be read as Parquet: {one_line(error)}"
    if not sum(counts.values()):
        yield f"{root} holds no rows"


def _missing_numbers(found: list[Path]) -> Iterator[str]:
    """Files that are missing among train-00000-of-00003 and its like."""
    totals = {(path.parent, match[1], match[3]) for path in found if (match := NUMBERED.match(path.name))}
    names = {(path.parent, path.stem) for path in found}
    for folder, split, total in sorted(totals):
        for number in range(int(total)):
            name = f"{split}-{number:05d}-of-{total}"
            if (folder, name) not in names:
                yield f"{folder / name}.parquet is missing"


def _of_file(file: pq.ParquetFile) -> Iterator[str]:
    """What is wrong with the schema and the row groups of a file."""
    given = file.schema_arrow
    if missing := [field.name for field in card_columns.schema() if field.name not in given.names]:
        yield f"columns are missing: {', '.join(missing)}"
    for field in card_columns.schema():
        if field.name in missing:
            continue
        count = given.names.count(field.name)
        type_given = given.field(field.name).type if count == 1 else "there twice"
        if type_given != field.type:
            yield f"column {field.name} is {type_given}, should be {field.type}"
    shown = _image_columns(given)
    for name in ("chosen", "rejected"):
        if name in rows.columns(given) and name not in shown:
            yield f"column {name} is not marked as images: `datasets` and the hub's viewer show its bytes"
    for number in range(file.metadata.num_row_groups):
        size = file.metadata.row_group(number).total_byte_size
        if size > VIEWER_BYTES:
            most = f"{VIEWER_BYTES / 1e6:.0f}"
            yield f"row group {number} is of {size / 1e6:.0f} MB, the hub's viewer reads up to {most}"


def _image_columns(given: pa.Schema) -> set[str]:
    """The columns that `datasets` takes for images: marked so, and with the very type that it expects of them."""
    try:
        features = json.loads((given.metadata or {})[b"huggingface"])["info"]["features"]
        marked = {name for name, feature in features.items() if feature.get("_type") == "Image"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()
    return {name for name in marked if given.names.count(name) == 1 and given.field(name).nullable}


def _of_rows(file: pq.ParquetFile, path: Path, split: str, seen: _Seen, counts: dict[str, int]) -> Iterator[str]:
    """What is wrong with the rows of a file."""
    names, number, nulls = rows.columns(file.schema_arrow), 0, dict[str, list[int]]()
    for batch in file.iter_batches(batch_size=BATCH, columns=names, use_threads=False):
        counts[split] = counts.get(split, 0) + batch.num_rows
        values, unreadable = rows.values(batch)
        for name in unreadable:
            yield f"{path} rows {number} to {number + batch.num_rows - 1}: column {name} holds text that is not UTF-8"
        for row in values:
            where = f"{path} row {number}"
            for name in (name for name, value in row.items() if value is None and name not in rows.SPOKEN_FOR):
                nulls.setdefault(name, []).append(number)
            yield from (
                f"{where}: {problem}" for problem in [*rows.problems(row), *_against_seen(row, split, where, seen)]
            )
            number += 1
    for name, places in nulls.items():
        yield f"{path}: column {name} is null in {len(places)} rows, the first of them row {places[0]}"


def _against_seen(row: dict[str, Any], split: str, where: str, seen: _Seen) -> Iterator[str]:
    """What a row has in common with those before it, and should not have."""
    pair, pool, prompt = row.get("pair_id"), row.get("pool"), row.get("prompt")
    if pair and (twin := seen.pairs.setdefault(pair, where)) != where:
        yield f"pair_id {pair} is in {twin} already"
    if pool and prompt and seen.pools.setdefault(pool, prompt) != prompt:
        yield f"pool {pool} has rows of another prompt"
    if prompt and prompt.strip():
        yield from _leaks("prompt", " ".join(prompt.casefold().split()).encode(), split, where, seen.prompts)
    for side in ("chosen", "rejected"):
        if data := (row.get(side) or {}).get("bytes"):
            yield from _leaks(f"{side} image", data, split, where, seen.images)


def _leaks(what: str, value: bytes, split: str, where: str, seen: dict[bytes, dict[str, str]]) -> Iterator[str]:
    """The other splits that hold the same; each is told once a split."""
    places = seen.setdefault(hashlib.sha256(value).digest()[:16], {})
    if split not in places:
        yield from (f"its {what} is in {other} too ({place})" for other, place in places.items())
        places[split] = where
