"""Control arms: the same pairs with labels that say nothing, or the contrary, beside the real ones.

What a training reaches with these it owes to something else than the labels. Any format can be written so: the pairs
of the run are read with both sides exchanged, and everything that belongs to a side goes with it.
"""

from __future__ import annotations

import dataclasses
import json
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen import records, store

# Columns of pairs that belong to a side: of the chosen image, and of the rejected one.
SIDES = (
    ("chosen_id", "rejected_id"),
    ("chosen_prompt", "rejected_prompt"),
    ("seed_chosen", "seed_rejected"),
    ("generator", "rejected_generator"),
    ("generator_revision", "rejected_generator_revision"),
    ("chosen_negative_prompt", "rejected_negative_prompt"),
    ("scheduler", "rejected_scheduler"),
    ("scheduler_config", "rejected_scheduler_config"),
    ("adapter", "rejected_adapter"),
    ("empty_negative", "rejected_empty_negative"),
    ("vae", "rejected_vae"),
    ("chosen_unread", "rejected_unread"),
    ("options", "rejected_options"),
)
UNIT = ["pair_id", "pool", "split"]  # what says whether a pair is exchanged
ALL = 2**64  # above every place
RANDOM, SWAPPED = "random", "swapped"  # half of the pairs exchanged, so that labels say nothing; all of them
SCORES = "scores"  # JSON, by side within
OTHER = {one: other for two in SIDES for one, other in (two, two[::-1])}


@dataclasses.dataclass(frozen=True)
class Exchanged(store.Run):
    """A run in which some pairs have their sides exchanged, whoever reads it and whichever columns.

    Those of which `_place` is below the limit of their split; of a split without one, all.
    """

    seed: int = 0
    limits: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def tables(self, stage: str, index: int, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """As of the run itself; all that reads a shard reads it from here."""
        if stage != "pairs":
            yield from super().tables(stage, index, columns)
            return
        wanted = columns and list(dict.fromkeys([*columns, *(OTHER.get(name, name) for name in columns), *UNIT]))
        for table in super().tables(stage, index, wanted):
            exchanged = _exchange(table, pa.array(self._turned(table), pa.bool_()))
            yield exchanged.select(columns) if columns else exchanged

    def _turned(self, table: pa.Table) -> list[bool]:
        rows = table.select(UNIT).to_pylist()
        limits = [self.limits.get(row["split"], ALL) for row in rows]
        return [_place(self.seed, row) < limit for row, limit in zip(rows, limits, strict=True)]


def exchanged(run: store.Run, shards: int, seed: int, arm: str) -> Exchanged:
    """The run with the pairs of an arm exchanged. Pairs of one pool stay together: a trainer mixes their images.

    Which ones `random` exchanges follows from the seed and their ids: half of each split, to the nearest one below.
    """
    if arm == SWAPPED:
        return Exchanged(run.root)
    places: dict[str, array[int]] = {}  # 8 bytes a pair
    for shard in range(shards):
        for row in run.table("pairs", shard, UNIT).to_pylist():
            places.setdefault(row["split"], array("Q")).append(_place(seed, row))
    return Exchanged(run.root, seed, {split: _middle(own) for split, own in places.items()})


def _place(seed: int, row: Mapping[str, Any]) -> int:
    """Where a pair, or its pool, stands among all, at random."""
    return int(records.content_id("control", seed, row["pool"] or row["pair_id"]), 16)


def _middle(places: array[int]) -> int:
    """The place that half of the different ones are below."""
    import numpy as np

    order = np.unique(np.frombuffer(places, np.uint64))
    return int(order[len(order) // 2])


def _exchange(table: pa.Table, turned: pa.Array) -> pa.Table:
    """The table with the sides of some pairs exchanged."""
    made = table
    for name, other in OTHER.items():
        if name in table.column_names:
            made = _replaced(made, name, pc.if_else(turned, table[other], table[name]))
    if SCORES in table.column_names:
        cells = zip(turned.to_pylist(), table[SCORES].to_pylist(), strict=True)
        made = _replaced(made, SCORES, pa.array([_of_other_side(cell) if turn else cell for turn, cell in cells]))
    return made


def _replaced(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    field = table.schema.field(name)
    return table.set_column(table.schema.get_field_index(name), field, values.cast(field.type))


def _of_other_side(cell: str) -> str:
    """The scores with what was said of each image under its new side."""
    sides = {"chosen": "rejected", "rejected": "chosen"}
    judges = json.loads(cell)
    turned = {name: {sides.get(side, side): said for side, said in own.items()} for name, own in judges.items()}
    return json.dumps(turned, sort_keys=True)
