"""Is a dataset sound? Every problem of its Parquet files in one line each.

It reads what a trainer would read, image bytes included, one row group at a time, and changes nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen import store
from datagen.errors import InputError
from datagen.export import huggingface
from datagen.images.decode import Unreadable, decode


def problems(dataset: Path) -> Iterator[str]:
    """One line a problem of an OUT directory, an OUT/dataset directory or one Parquet file; nothing if it is sound.

    Raises InputError if there is no Parquet file to look at.
    """
    root = dataset / "dataset" if (dataset / "recipe.json").exists() else dataset
    files = [root] if root.is_file() else sorted([*root.glob("data/*.parquet"), *root.glob("*.parquet")])
    if not files:
        raise InputError(
            f"{root} holds no Parquet file: give an --out directory that is finished, a dataset or a file"
        )
    prompts: dict[str, dict[str, str]] = {}  # split → prompt → where it was seen first
    pairs: dict[str, str] = {}  # pair_id → where it was seen first
    pools: dict[str, str] = {}  # pool → its prompt
    counts: dict[str, int] = {}
    for path in files:
        split = path.name.partition("-")[0]
        try:
            yield from (f"{path}: {problem}" for problem in _of_schema(pq.read_schema(path)))
            for where, row in _rows(path):
                counts[split] = counts.get(split, 0) + 1
                prompts.setdefault(split, {}).setdefault(row["prompt"], where)
                if (twin := pairs.setdefault(row["pair_id"], where)) != where:
                    yield f"{where}: pair_id {row['pair_id']} is in {twin} already"
                if row["pool"] and pools.setdefault(row["pool"], row["prompt"]) != row["prompt"]:
                    yield f"{where}: pool {row['pool']} has rows of another prompt"
                yield from (f"{where}: {problem}" for problem in _of_row(row))
        except (pa.ArrowException, OSError) as error:
            yield f"{path} ({path.stat().st_size} bytes) cannot be read as Parquet: {str(error).splitlines()[0]}"
    train = prompts.get("train", {})
    for prompt, where in prompts.get("test", {}).items():
        if prompt in train:
            yield f"{where}: its prompt is in train too ({train[prompt]})"
    yield from _against_card(root / "README.md", counts)


def _of_schema(given: pa.Schema) -> Iterator[str]:
    """Columns that are missing or of another type."""
    for field in huggingface.schema():
        type_given = given.field(field.name).type if field.name in given.names else "missing"
        if type_given != field.type:
            yield f"column {field.name} is {type_given}, should be {field.type}"


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a file with their places; columns that are missing are None."""
    with pq.ParquetFile(path) as file:
        nothing = dict.fromkeys(huggingface.schema().names)
        batches = file.iter_batches(batch_size=store.ROW_GROUP)
        for number, row in enumerate(row for batch in batches for row in batch.to_pylist()):
            yield f"{path} row {number}", nothing | row


def _of_row(row: dict[str, Any]) -> Iterator[str]:
    """What is wrong with one row."""
    chosen, rejected = row["chosen"] or {}, row["rejected"] or {}
    for side, picture in (("chosen", chosen), ("rejected", rejected)):
        if problem := _of_image(picture.get("bytes"), (row["width"], row["height"])):
            yield f"{side} {problem}"
    if chosen.get("bytes") and chosen.get("bytes") == rejected.get("bytes"):
        yield "chosen and rejected are the same image"
    probability = row["probability"]
    if probability is None or math.isnan(probability) or not 0 <= probability <= 1:
        yield f"probability is {probability}, should be from 0 to 1"
    if not row["prompt"]:
        yield "the prompt is empty"
    for name in ("scheduler_config", "rejected_scheduler_config"):
        if not _is_json_object(row[name]):
            yield f"{name} is not a JSON object"


def _is_json_object(text: str | None) -> bool:
    try:
        return isinstance(json.loads(text or ""), dict)
    except ValueError:
        return False


def _of_image(data: bytes | None, stated: tuple[int | None, int | None]) -> str | None:
    """Why encoded bytes are no usable image of the stated width and height; None if they are."""
    if not data:
        return "has no image bytes"
    try:
        image = decode(data)
    except Unreadable as error:
        return f"does not decode: {error}"
    if image.size != stated:
        return "is {}×{}, its row says {}×{}".format(*image.size, *stated)
    return None


def _against_card(card: Path, counts: dict[str, int]) -> Iterator[str]:
    """Row counts that differ from those the card states."""
    if not card.is_file():
        return
    stated = re.findall(r"  - name: (\w+)\n    num_examples: (\d+)\n", card.read_text(encoding="utf-8-sig"))
    for split, number in stated:
        if counts.get(split, 0) != int(number):
            yield f"{card} states {number} rows of {split}, the files hold {counts.get(split, 0)}"
