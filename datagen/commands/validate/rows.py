"""One row of a dataset: what is wrong with it by itself."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from datagen import safety
from datagen.export.card import columns as card_columns
from datagen.images.decode import Unreadable, decode
from datagen.recipe import FOUND
from datagen.tables import cells

TEXTS = ("prompt", "chosen_prompt", "rejected_prompt")
NEGATIVES = ("chosen_negative_prompt", "rejected_negative_prompt")
CONFIGS = ("scheduler_config", "rejected_scheduler_config")
NAMED = ("pair_id", "principle", "chosen_prompt", "rejected_prompt", "prompt_id", "generator")  # never empty
SPOKEN_FOR = {"chosen", "rejected", "probability", "prompt", *CONFIGS}  # whose nulls are told row by row
FLOATS = [field.name for field in card_columns.schema() if pa.types.is_floating(field.type)]


def columns(given: pa.Schema) -> list[str]:
    """The columns of a file that are what they should be; only these are looked at row by row."""
    types = {field.name: field.type for field in given if given.names.count(field.name) == 1}
    return [field.name for field in card_columns.schema() if types.get(field.name) == field.type]


def values(batch: pa.RecordBatch) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of a batch, without the columns whose text cannot be decoded, which are named."""
    read: dict[str, list[Any]] = {}
    unreadable = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            read[name] = column.to_pylist()
        except UnicodeDecodeError:
            unreadable.append(name)
    return [{name: column[row] for name, column in read.items()} for row in range(batch.num_rows)], unreadable


def problems(row: dict[str, Any]) -> Iterator[str]:
    """What is wrong with one row, as far as it has the columns."""
    yield from _of_images(row)
    probability = row.get("probability", 0.5)
    if probability is None or not 0 <= probability <= 1:  # NaN is not, either
        yield f"probability is {probability}, should be from 0 to 1"
    for name in FLOATS:
        if name != "probability" and (value := row.get(name)) is not None and not math.isfinite(value):
            yield f"{name} is {value}"
    if not _shows(row.get("prompt", "x")):
        yield "the prompt is empty"
    for name in NAMED:
        if row.get(name) is not None and not _shows(row[name]):
            yield f"{name} is empty"
    for name in (*TEXTS, *NEGATIVES):
        if any(unicodedata.category(sign) == "Cc" and sign not in "\t\n\r" for sign in row.get(name) or ""):
            yield f"{name} holds control characters"
    for name in ("steps", "batch_size"):
        if (value := row.get(name)) is not None and value < 1 and row.get("generator") != FOUND:
            yield f"{name} is {value}, should be 1 or more"
    for name in CONFIGS:
        if name in row and not isinstance(_json(row[name]), dict):
            yield f"{name} is not a JSON object"
    if row.get("scores") is not None and not isinstance(_json(row["scores"]), dict):
        yield "scores is not a JSON object"
    elif not _finite(_json(row.get("scores"))):
        yield "scores hold a value that is not finite"
    texts, negatives = ([row[name] for name in names if row.get(name)] for names in (TEXTS, NEGATIVES))
    if refusal := safety.refusal_of_row(texts, negatives):
        yield f"its text is {refusal}"


def _shows(text: str | None) -> bool:
    """Whether there is anything to see in a text."""
    return any(unicodedata.category(sign) not in cells.INVISIBLE for sign in text or "")


def _json(text: str | None) -> Any:
    """What a text of JSON holds; None of what is none."""
    try:
        return json.loads(text or "")
    except (ValueError, RecursionError):
        return None


def _finite(value: Any) -> bool:
    """Whether all numbers in a value of JSON are finite."""
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _of_images(row: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the two images."""
    shown = {}
    for side in ("chosen", "rejected"):
        if side not in row:
            continue
        data = (row[side] or {}).get("bytes")
        if not data:
            yield f"{side} has no image bytes"
            continue
        try:
            image = decode(data)
        except Unreadable as error:
            yield f"{side} does not decode: {error}"
            continue
        stated = (row.get("width"), row.get("height"))
        if None not in stated and (stated != (0, 0) or row.get("generator") != FOUND) and image.size != stated:
            yield "{} is {}×{}, its row says {}×{}".format(side, *image.size, *stated)
        shown[side] = (image.size, image.tobytes())
    if len(shown) == 2 and shown["chosen"] == shown["rejected"]:
        yield "chosen and rejected are the same image"
