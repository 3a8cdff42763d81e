"""What `datagen judge` wrote, as the audit reads it: images of one prompt meet, each with the next."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datagen.errors import InputError, one_line
from datagen.judges import JUDGES
from datagen.labels import aggregate, axes
from datagen.labels.audit import evidence
from datagen.labels.audit.evidence import Evidence

NEEDED = ("path", "prompt", "judge", "judge_version", "value")
OPPONENT = "opponent"  # of judges that compare


def read(path: Path) -> tuple[Evidence, list[str]]:
    """The meetings of a file of scores, and what is to be said of them; InputError for any other file."""
    table, notes = _table(path), []
    known = pc.greater(pc.utf8_length(pc.fill_null(table["prompt"], "")), 0)
    if left := table.num_rows - pc.sum(known).as_py():
        notes.append(f"{left} of {table.num_rows} scores are of images without a prompt, which meet no other")
    table = table.filter(known)
    names = sorted(pc.unique(table["judge"]).to_pylist())
    signs = [1.0 if _higher_is_better(name, notes) else -1.0 for name in names]
    duels = pc.greater(pc.utf8_length(pc.fill_null(table[OPPONENT], "")), 0)
    scores = pa.table(
        {
            "image_id": table["path"],
            "prompt_id": table["prompt"],
            "judge": table["judge"],
            "axis": pc.if_else(duels, axes.BEATS, axes.IMAGE),
            "value": table["value"].cast(pa.float64()),
            "opponent": table[OPPONENT],
        }
    )
    images = _images(table)
    return evidence.of_tables(images, _leans(images, scores, names, signs), scores, names), notes


def _leans(images: pa.Table, scores: pa.Table, names: Sequence[str], signs: Sequence[float]) -> pa.Table:
    """By how much each judge leans towards each image: its score (of several the first), and how it did in duels."""
    keys = evidence.keys_of(images, "image_id")
    found = np.full((len(keys), len(names)), np.nan)
    alone = scores.filter(pc.equal(scores["axis"], axes.IMAGE))
    rows = pc.index_in(
        pa.array(evidence.keys_of(alone, "image_id"), pa.string()), pa.array(keys, pa.string())
    ).to_numpy()[::-1]
    columns = pc.index_in(alone["judge"], pa.array(names, pa.string())).to_numpy()[::-1]
    values = alone["value"].to_numpy(zero_copy_only=False)[::-1]
    found[rows, columns] = np.array(signs)[columns] * values  # the first of several is written last
    places = {key: place for place, key in enumerate(keys)}
    for (prompt, judge), met in _duels(scores).items():
        for image, value in aggregate.standing(met).items():
            at = places[f"{prompt} {image}"], names.index(judge)
            if value is not None:
                found[at] = np.nansum([found[at], aggregate.logit(value) / 2])
    lean = pa.FixedSizeListArray.from_arrays(pa.array(found.ravel()), len(names))
    return images.select(["image_id", "prompt_id"]).append_column("lean", lean)


def _duels(scores: pa.Table) -> dict[tuple[str, str], dict[tuple[str, str], float | None]]:
    """By prompt and judge, how probably one image beats another."""
    found: dict[tuple[str, str], dict[tuple[str, str], float | None]] = collections.defaultdict(dict)
    for row in scores.filter(pc.equal(scores["axis"], axes.BEATS)).to_pylist():
        found[row["prompt_id"], row["judge"]][row["image_id"], row["opponent"]] = row["value"]
    return found


def _table(path: Path) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in NEEDED if name not in file.schema_arrow.names]
            if missing:
                raise InputError(
                    f"{path} is not what datagen judge wrote (no column {', '.join(missing)}): give a run directory, "
                    "or its --out"
                )
            columns = [*NEEDED, *([OPPONENT] if OPPONENT in file.schema_arrow.names else [])]
            table = file.read(columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path} cannot be read as Parquet ({one_line(error)}): give a run directory, or what datagen judge wrote"
        ) from error
    if not table.num_rows:
        raise InputError(f"{path} holds no scores: judge some images first")
    if OPPONENT not in table.column_names:
        table = table.append_column(OPPONENT, pa.array([""] * table.num_rows, pa.string()))
    return table


def _images(table: pa.Table) -> pa.Table:
    """Each image of each prompt once, as a candidate of it, in the order of the file."""
    rows = table.group_by(["prompt", "path"], use_threads=False).aggregate([])
    count = rows.num_rows
    return pa.table(
        {
            "image_id": rows["path"],
            "prompt_id": rows["prompt"],
            "side": pa.array(["candidate"] * count, pa.string()),
            "index": pa.array(range(count), pa.int64()),
            "generator": pa.array([""] * count, pa.string()),
            "error": pa.nulls(count, pa.string()),
        }
    )


def _higher_is_better(name: str, notes: list[str]) -> bool:
    """Whether a judge's higher scores are the better ones, as its file says."""
    try:
        return bool(JUDGES.module(name).Judge.facts.higher_is_better)
    except Exception:  # of a file that is not here, or that tells only once it is made
        notes.append(f"{name} is not known here: its higher scores are taken for the better ones")
        return True
