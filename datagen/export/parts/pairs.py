"""The pairs of a finished run one after the other, their pictures marked: a row group of them is in memory."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from datagen import store
from datagen.export import Finished
from datagen.export.parts import pictured
from datagen.images.kinds import suffix_of
from datagen.labels.answers import exchanged

SIDES = tuple(pictured.SIDES)
TIE, NO_MARK = "ties", "pictures of a kind that cannot carry the mark"
EVEN = 1e-9  # how near to one half a probability is of a pair without a better image
SHOWN_EVERY = 500  # pairs
Row = dict[str, Any]


class Pairs:
    """What an export reads, once: rows as dicts of `columns`, which always include split, pair_id and probability.

    `left` counts by reason what a format leaves out, `kept` the pairs of each split that it was given. Those without
    a better image are in `left` unless it holds `ties`.
    """

    def __init__(self, finished: Finished, columns: Sequence[str], *, ties: bool = False) -> None:
        self._finished, self._ties = finished, ties
        self._columns = list(dict.fromkeys([*columns, "split", "pair_id", "probability"]))
        self.left, self.kept = collections.Counter[str](), collections.Counter[str]()

    def __iter__(self) -> Iterator[Row]:
        finished = self._finished
        total, done = store.footers(finished.run, "pairs", finished.shards).total("rows"), 0
        finished.progress("export", 0, total)
        for shard in range(finished.shards):
            for table in pictured.tables(finished.run, shard, self._columns):
                for row in marked(table, finished, self.left).to_pylist():
                    done += 1
                    if done % SHOWN_EVERY == 0:
                        finished.progress("export", done, total)
                    if not self._ties and abs(row["probability"] - 0.5) < EVEN:
                        self.left[TIE] += 1
                        continue
                    self.kept[row["split"]] += 1
                    yield row
        finished.progress("export", total, total)

    def skip(self, row: Row, reason: str) -> None:
        """Count a row that the format cannot hold, for a reason in the plural."""
        self.left[reason] += 1
        self.kept[row["split"]] -= 1

    def by_prompt(self) -> Iterator[list[Row]]:
        """The rows of each prompt, which follow one another in a run; of one prompt all are in memory."""
        for _, rows in itertools.groupby(self, key=lambda row: row["prompt_id"]):
            yield list(rows)


def marked(table: pa.Table, finished: Finished, left: collections.Counter[str]) -> pa.Table:
    """The table with the pictures of both sides marked as the export wants it; those that cannot be are counted."""
    if finished.mark.name == "none":
        return table
    for side in SIDES:
        if side in table.column_names:
            field = table.schema.field(side)
            cells = [{**cell, "bytes": _marked(cell["bytes"], finished, left)} for cell in table[side].to_pylist()]
            table = table.set_column(table.schema.get_field_index(side), field, pa.array(cells, field.type))
    return table


def _marked(data: bytes, finished: Finished, left: collections.Counter[str]) -> bytes:
    made = finished.mark.apply(data)
    left[NO_MARK] += made is None
    return data if made is None else made


def in_order(row: Row) -> tuple[tuple[str, str], bool]:
    """The sides as they are shown, and whether the first is the chosen one."""
    return (("rejected", "chosen"), False) if exchanged(row["pair_id"]) else (("chosen", "rejected"), True)


def file_name(picture: Row, stem: str | None = None) -> str:
    """A picture's file name: by its content, or with another stem."""
    data, name = picture["bytes"], str(picture["path"])
    return name if stem is None else f"{stem}{suffix_of(data)}"
