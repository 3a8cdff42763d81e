"""The shards become one file, and what is in them is counted on the way; a shard at a time is in memory."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from datagen import store
from datagen.commands.judge import tally
from datagen.commands.judge.origin import Origin
from datagen.commands.judge.rows import SCHEMA
from datagen.commands.judge.shards import EMBEDDINGS, LABEL, Parts
from datagen.commands.judge.tally import Tally
from datagen.commands.judge.trust import Trust, Witness
from datagen.tables import embeddings

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROW_GROUP = 10_000  # rows of the file that is written


@dataclasses.dataclass(frozen=True)
class Summary:
    """Images that were read, rows that have a value, images that became an error; how often for which `reasons`.

    `tallies` are the numbers of each judge and category, `trust` how often judges were right where labels were given.
    """

    images: int
    scored: int
    errors: int
    reasons: Counter[str] = dataclasses.field(default_factory=Counter, compare=False)
    tallies: list[Tally] = dataclasses.field(default_factory=list, compare=False)
    trust: Trust | None = dataclasses.field(default=None, compare=False)


def count(parts: Parts, shards: int) -> Summary:
    """What is in the shards."""
    slots, size = len(parts.work.slots), parts.work.size
    tallies, reasons = tally.of(parts.work.slots), Counter[str]()
    witness = None if parts.labels is None else Witness(parts.work)
    images = scored = errors = 0
    columns = ["prompt", "judge", "value", "error", *([LABEL] if witness else [])]
    for table in parts.tables(shards, columns):
        values = matrix(table, slots)
        for one in tallies:
            one.measure(values)
        images += len(values) * size
        scored += int((~np.isnan(values)).sum())
        failed, why = _failures(table, parts)
        errors += failed
        reasons.update(why)
        if witness is not None:
            firsts = table.take(np.arange(0, table.num_rows, slots))
            labels = firsts[LABEL].to_numpy(zero_copy_only=False).astype(float)
            witness.hear(values, labels, firsts["prompt"].to_pylist())
    for table in parts.tables(shards, ["value"]):
        for one in tallies:
            one.bin(matrix(table, slots))
    return Summary(images, scored, errors, reasons, tallies, witness.trust() if witness and images else None)


def matrix(table: pa.Table, slots: int) -> NDArray[np.float64]:
    """The values of a shard, a row for each image or pair; NaN where there is none."""
    found: NDArray[np.float64] = table["value"].to_numpy(zero_copy_only=False).astype(np.float64)
    return found.reshape(-1, slots)


def write(parts: Parts, shards: int, out: Path, origin: Origin) -> None:
    """Write the scores."""
    extra = [pa.field(name, pa.string()) for name in parts.ids]
    extra += [pa.field(LABEL, pa.float64())] if parts.labels is not None else []
    schema = pa.schema([*SCHEMA, *extra]).with_metadata(origin.as_metadata())
    _write(out, schema, parts.tables(shards))


def write_embeddings(parts: Parts, shards: int, out: Path, origin: Origin) -> None:
    """Write the embeddings."""
    tables = (parts.run.table(EMBEDDINGS, index).replace_schema_metadata(None) for index in range(shards))
    schema = embeddings.schema(parts.networks, parts.ids).with_metadata(origin.as_metadata())
    _write(out, schema, tables, group=embeddings.AT_ONCE)


def _write(out: Path, schema: pa.Schema, tables: Iterable[pa.Table], group: int | None = None) -> None:
    def fill(file: Any) -> None:
        with store.parquet_writer(file, schema) as writer:
            for table in _groups(tables, group or ROW_GROUP):
                writer.write_table(table, row_group_size=group or ROW_GROUP)

    store.write_file(out, fill)


def _groups(tables: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """The same rows as row groups of equal size, wherever calls were interrupted."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        while sum(part.num_rows for part in waiting) >= size:
            whole = pa.concat_tables(waiting).combine_chunks()
            yield whole.slice(0, size)
            waiting = [whole.slice(size)]
    if waiting and any(part.num_rows for part in waiting):
        yield pa.concat_tables(waiting).combine_chunks()


def _failures(table: pa.Table, parts: Parts) -> tuple[int, Counter[str]]:
    """How many images have no score by any judge for an error, and why rows have no value.

    Of an image that is not judged the reason counts once, of a judge that failed or abstained each time.
    """
    failed, reasons = 0, Counter[str]()
    if not table["value"].null_count:
        return failed, reasons
    rows, slots = table.select(["judge", "value", "error"]).to_pylist(), parts.work.slots
    for unit in range(0, len(rows), len(slots)):
        for place in range(parts.work.size):
            own = [rows[unit + at] for at, slot in enumerate(slots) if slot.place == place]
            errors = {row["error"] for row in own}
            failed += None not in errors
            if len(errors) == 1 and None not in errors:
                reasons[_reason(own[0]["error"])] += 1
                continue
            for row in own:
                if row["error"] is not None:
                    reasons[f"the judge {row['judge']}: {_reason(row['error'])}"] += 1
                elif row["value"] is None:
                    reasons[f"the judge {row['judge']} abstained"] += 1
    return failed, reasons


def _reason(error: str) -> str:
    """What errors of one kind have in common."""
    return re.split("[:;]", error)[0]
