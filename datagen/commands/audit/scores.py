"""What `datagen judge` wrote, as the audit reads it: images of one prompt meet, each with the next."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datagen.errors import InputError, one_line
from datagen.judges import JUDGES
from datagen.labels import axes
from datagen.labels.aggregate import Reading
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
    duels = pc.greater(pc.utf8_length(pc.fill_null(table[OPPONENT], "")), 0)
    names = sorted(pc.unique(table["judge"]).to_pylist())
    scores = pa.table(
        {
            "image_id": table["path"],
            "prompt_id": table["prompt"],
            "judge": table["judge"],
            "axis": pc.if_else(duels, axes.BEATS, axes.IMAGE),
            "value": table["value"],
            "opponent": table[OPPONENT],
        }
    )
    readings = {name: Reading(1.0, _higher_is_better(name, notes)) for name in names}
    return evidence.of_tables(_images(table), scores, readings), notes


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
