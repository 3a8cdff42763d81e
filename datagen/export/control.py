"""Control arms: the same pairs with labels that say nothing, or the contrary, beside the real ones.

What a training reaches with these it owes to something else than the labels. Any format can be written so: the pairs
of the run are read with both sides exchanged, and everything that belongs to a side goes with it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import pyarrow as pa

from datagen import records, store

# Columns of pairs that belong to a side: of the chosen image, and of the rejected one.
SIDES = (
    ("chosen", "rejected"),
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
RANDOM, SWAPPED = "random", "swapped"  # half of the pairs exchanged, so that labels say nothing; all of them
SCORES = "scores"  # JSON, by side within
OTHER = {one: other for two in SIDES for one, other in (two, two[::-1])}


@dataclasses.dataclass(frozen=True)
class Exchanged(store.Run):
    """A run in which some pairs have their sides exchanged, whoever reads it and whichever columns."""

    pairs: frozenset[str] = frozenset()

    def tables(self, stage: str, index: int, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """As of the run itself; all that reads a shard reads it from here."""
        if stage != "pairs":
            yield from super().tables(stage, index, columns)
            return
        wanted = columns and list(dict.fromkeys([*columns, *(OTHER.get(name, name) for name in columns), "pair_id"]))
        for table in super().tables(stage, index, wanted):
            exchanged = _exchange(table, self.pairs)
            yield exchanged.select(columns) if columns else exchanged


def exchanged(run: store.Run, shards: int, seed: int, arm: str) -> Exchanged:
    """The run with the pairs of an arm exchanged. Pairs of one pool stay together: a trainer mixes their images.

    Which ones `random` exchanges follows from the seed and their ids: half of each split, to the nearest one below.
    """
    units: dict[str, dict[str, list[str]]] = {}
    for shard in range(shards):
        for row in run.table("pairs", shard, ["pair_id", "pool", "split"]).to_pylist():
            units.setdefault(row["split"], {}).setdefault(row["pool"] or row["pair_id"], []).append(row["pair_id"])
    chosen: list[str] = []
    for own in units.values():
        order = sorted(own, key=lambda unit: records.content_id("control", seed, unit))
        kept = order if arm == SWAPPED else order[: len(order) // 2]
        chosen += [pair_id for unit in kept for pair_id in own[unit]]
    return Exchanged(run.root, frozenset(chosen))


def _exchange(table: pa.Table, pairs: frozenset[str]) -> pa.Table:
    """The table with the sides of some pairs exchanged."""
    turned = pa.array([pair_id in pairs for pair_id in table["pair_id"].to_pylist()], pa.bool_())
    made = table
    for name, other in OTHER.items():
        if name in table.column_names:
            made = _replaced(made, name, _choose(turned, table[other], table[name]))
    if SCORES in table.column_names:
        cells = zip(turned.to_pylist(), table[SCORES].to_pylist(), strict=True)
        made = _replaced(made, SCORES, pa.array([_of_other_side(cell) if turn else cell for turn, cell in cells]))
    return made


def _replaced(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    field = table.schema.field(name)
    return table.set_column(table.schema.get_field_index(name), field, values.cast(field.type))


def _choose(turned: pa.Array, yes: pa.ChunkedArray, no: pa.ChunkedArray) -> pa.Array:
    """Cells of `yes` where it is turned, else of `no`: by places, since a choice between structs is not offered."""
    both = pa.chunked_array([*no.chunks, *yes.chunks])
    count = len(no)
    return both.take(pa.array([place + count * turn for place, turn in enumerate(turned.to_pylist())], pa.int64()))


def _of_other_side(cell: str) -> str:
    """The scores with what was said of each image under its new side."""
    sides = {"chosen": "rejected", "rejected": "chosen"}
    judges = json.loads(cell)
    turned = {name: {sides.get(side, side): said for side, said in own.items()} for name, own in judges.items()}
    return json.dumps(turned, sort_keys=True)
