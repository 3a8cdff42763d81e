"""What one file of scores says: its images in order, and numbers of each judge, read strictly."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from datagen.commands.judge import origin
from datagen.commands.judge.origin import Origin
from datagen.errors import InputError, nearest, one_line
from datagen.tables import folders, parquet

Numbers = NDArray[np.float64]
TEXTS = ("path", "prompt", "judge", "judge_version", "error", "category", "opponent", "digest", "other")
NUMBERS = ("value", "other_value")
WORSE = ("worse", "worse_value")  # of degraded copies; older files have none
LABEL = "label"  # of a pair, where it was judged with its labels


@dataclasses.dataclass(frozen=True)
class Slot:
    """One of the rows that each image, or each pair, has; `duel` where two images are compared."""

    judge: str
    version: str
    category: str
    place: int
    duel: bool


@dataclasses.dataclass(frozen=True)
class Scores:
    """A file of N images; of pairs, two follow each other.

    `paths`, `prompts`, `digests`, `others` and `by` are lists of N, None where there is nothing; `labels` (N,), NaN
    where there is none. `values` (N, slots of an image), as much by other prompts and of degraded copies, whose damage
    `worse` names; `duels` (pairs, slots of a duel).
    """

    file: Path
    origin: Origin
    paths: list[str]
    prompts: list[str]
    digests: list[str | None]
    others: list[str]
    by: list[str | None]
    labels: Numbers
    scored: list[Slot]
    values: Numbers
    by_other: Numbers
    worse: list[str]
    of_worse: Numbers
    errors: list[list[str | None]]  # a list a slot
    compared: list[Slot]
    duels: Numbers


def read(file: Path, by: str | None, label: str | None) -> Scores:
    """A whole file of scores; `by` is the column that groups images, `label` that of labels.

    Raises InputError for what is not as `datagen judge` wrote it.
    """
    table, own = _table(file, by, label)
    slots = _slots(table, own)
    count, size = table.num_rows // len(slots), 2 if own.pairs else 1
    _check_regular(file, table, slots, count)
    first = [next(at for at, slot in enumerate(slots) if slot.place == place) for place in range(size)]
    rows = (np.arange(count)[:, None] * len(slots) + np.array(first)).ravel()
    scored = [at for at, slot in enumerate(slots) if not slot.duel and slot.place == 0]
    numbers = {name: _numbers(table[name]).reshape(count, len(slots)) for name in (*NUMBERS, WORSE[1])}
    each = {name: table[name].take(rows).to_pylist() for name in ("path", "prompt", "digest")}
    places = [[at for at, slot in enumerate(slots) if not slot.duel and slot.place == place] for place in range(size)]
    return Scores(
        file,
        own,
        each["path"],
        [prompt or "" for prompt in each["prompt"]],
        each["digest"],
        _others(table["other"].to_pylist(), places, len(slots), count),
        table[by].take(rows).to_pylist() if by is not None else [None] * len(rows),
        _numbers(table[label])[rows] if label is not None else np.full(len(rows), np.nan),
        [slots[at] for at in scored],
        np.stack([numbers["value"][:, own_] for own_ in places], 1).reshape(len(rows), len(scored)),
        np.stack([numbers["other_value"][:, own_] for own_ in places], 1).reshape(len(rows), len(scored)),
        _others(table["worse"].to_pylist(), places, len(slots), count),
        np.stack([numbers["worse_value"][:, own_] for own_ in places], 1).reshape(len(rows), len(scored)),
        [_each(table["error"].to_pylist(), [own_[k] for own_ in places], len(slots)) for k in range(len(scored))],
        [slot for slot in slots if slot.duel],
        numbers["value"][:, [at for at, slot in enumerate(slots) if slot.duel]],
    )


def _table(file: Path, by: str | None, label: str | None) -> tuple[pa.Table, Origin]:
    waiting = file.with_name(f"{file.name}{folders.PARTS}")
    if not file.exists() and waiting.exists():
        raise InputError(f"{file} is not finished, what is done lies in {waiting}: run the same datagen judge again")
    if file.is_dir():
        raise InputError(f"{file} is a folder: give the files of scores that datagen judge wrote, --out of it")
    with parquet.open_file(file) as opened:
        names = opened.schema_arrow.names
        own = origin.of_metadata(opened.schema_arrow.metadata)
        missing = [name for name in (*TEXTS, *NUMBERS) if name not in names]
        if {"path", "judge", "value"} - set(names):
            raise InputError(f"{file} is not what datagen judge wrote (no column {missing[0]}): give its --out")
        if own is None or missing:
            raise InputError(
                f"{file} does not say where its images are, as an older datagen judge wrote it, or something else has "
                "written it anew: judge the images again"
            )
        extra = [name for name in names if name not in (*TEXTS, *NUMBERS, *WORSE)]
        if by is not None and by not in extra:
            known = nearest(by, extra) if extra else "it has no columns of its input"
            raise InputError(f"{file} has no column {by!r} to group images by; {known}")
        if label is not None and not (label in names and pa.types.is_floating(opened.schema_arrow.field(label).type)):
            raise InputError(
                f"{file} has no column {label!r} of labels: judge the pairs with --labels, which writes {LABEL!r}"
            )
        try:
            more = [name for name in WORSE if name in names]
            table = opened.read(columns=[*TEXTS, *NUMBERS, *more, *([by] if by else []), *([label] if label else [])])
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file} is damaged ({one_line(error)}): judge the images again") from error
    if not table.num_rows:
        raise InputError(f"{file} holds no scores: judge some images first")
    for name, kind in zip(WORSE, (pa.string(), pa.float64()), strict=True):
        if name not in names:
            table = table.append_column(name, pa.nulls(table.num_rows, kind))
    if table.num_rows % own.slots:
        raise _irregular(file)
    return table, own


def _slots(table: pa.Table, own: Origin) -> list[Slot]:
    """The rows of the first image, or pair, which those of all others are like."""
    rows = table.select(["judge", "judge_version", "category", "opponent"]).slice(0, own.slots).to_pylist()
    seen: dict[tuple[Any, ...], int] = {}
    slots = []
    for row in rows:
        key = (row["judge"], row["category"], bool(row["opponent"]))
        slots.append(
            Slot(row["judge"], row["judge_version"], row["category"], seen.get(key, 0), bool(row["opponent"]))
        )
        seen[key] = seen.get(key, 0) + 1
    return slots


def _check_regular(file: Path, table: pa.Table, slots: list[Slot], count: int) -> None:
    """InputError if rows were taken out or exchanged."""
    size = max(slot.place for slot in slots) + 1
    for name, wanted in (("judge", [slot.judge for slot in slots]), ("category", [slot.category for slot in slots])):
        if not pc.all(pc.equal(table[name], pa.array(wanted * count, pa.string()))).as_py():
            raise _irregular(file)
    for place in range(size):
        rows = [at for at, slot in enumerate(slots) if slot.place == place]
        for at in rows[1:]:
            one, other = (table["path"].take(np.arange(count) * len(slots) + row) for row in (rows[0], at))
            if not one.equals(other):
                raise _irregular(file)


def _irregular(file: Path) -> InputError:
    return InputError(f"the rows of {file} are not those that datagen judge wrote: judge the images again")


def _numbers(column: pa.ChunkedArray) -> Numbers:
    """NaN where there is nothing, or no finite number."""
    found: Numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.isfinite(found), found, np.nan)


def _each(values: list[str | None], rows: list[int], slots: int) -> list[str | None]:
    """The values of some rows of each image, or pair."""
    return [values[first + row] for first in range(0, len(values), slots) for row in rows]


def _others(texts: list[str], places: list[list[int]], slots: int, count: int) -> list[str]:
    """The other prompt of each image, or the damage of its copy, "" where nobody was asked about one."""
    return [
        next((text for at in own if (text := texts[unit * slots + at])), "") for unit in range(count) for own in places
    ]
