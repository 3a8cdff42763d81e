"""The pairs of a run with their pictures, which a pair only names: they lie in the shard of images beside its own.

Both shards are read once, side by side. In memory are a row group, and the images that pairs still to come need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen import records, store
from datagen.export.parts.tables import PICTURE
from datagen.images.kinds import suffix_of

SIDES = {
    "chosen": "chosen_id",
    "rejected": "rejected_id",
}  # a picture's column → the one in tables/pairs that names it
GONE = "a pair of it is of an image that the run does not hold"


def schema() -> pa.Schema:
    """The columns of a pair, with its pictures in the place of their names."""
    pictures = {name: side for side, name in SIDES.items()}
    return pa.schema(
        pa.field(pictures[field.name], PICTURE) if field.name in pictures else field
        for field in records.schema(records.Pair)
    )


def tables(run: store.Run, shard: int, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Some of these columns of a shard's pairs, by parts, at least one.

    Those with pictures are of a row group's bytes of them, or of one row. Damaged if either shard is not as it was
    written, or a picture is not there.
    """
    if not any(side in columns for side in SIDES):
        yield from run.tables("pairs", shard, list(columns))
        return
    yield from _pictured(run, shard, columns, run.table("pairs", shard, _read(columns)))


def of_split(run: store.Run, shard: int, columns: Sequence[str], split: str) -> Iterator[pa.Table]:
    """The same of the pairs of one split, with their pictures; those of the others are not looked at."""
    pairs = run.table("pairs", shard, _read([*columns, "split"]))
    yield from _pictured(run, shard, columns, pairs.filter(pc.equal(pairs["split"], split)))


def _read(columns: Sequence[str]) -> list[str]:
    """The columns of pairs that tell these, and which pictures are theirs."""
    flat = [name for name in columns if name not in SIDES]
    return list(dict.fromkeys([*flat, "prompt_id", *(SIDES[name] for name in columns if name in SIDES)]))


def _pictured(run: store.Run, shard: int, columns: Sequence[str], pairs: pa.Table) -> Iterator[pa.Table]:
    """These columns of pairs, with their pictures."""
    sides = [side for side in SIDES if side in columns]
    if not len(pairs):
        yield _joined(pairs, {side: pa.array([], PICTURE) for side in sides}, columns)
        return
    names = run.table("images", shard, ["prompt_id", "image_id"])
    places = np.stack([_places(names, pairs, SIDES[side]) for side in sides])
    if places.min() < 0:
        raise run.damaged("pairs", shard, GONE)
    row = 0
    for held, start, ready in _windows(run.tables("images", shard, ["image_id", "image"]), places):
        near, own = pairs.slice(row, ready - row), places[:, row:ready] - start
        for some in slices(_sizes(held["image"])[own].sum(axis=0).tolist()):
            pictures = {side: _pictures(held, own[k, some]) for k, side in enumerate(sides)}
            yield _joined(near.slice(some.start, some.stop - some.start), pictures, columns)
        row = ready


def slices(sizes: Sequence[int]) -> Iterator[slice]:
    """Rows that are made together, of which there are some: of a row group's bytes of pictures, or one row."""
    first, held = 0, 0
    for row, size in enumerate(sizes):
        if row > first and held + size > store.GROUP_BYTES:
            yield slice(first, row)
            first, held = row, 0
        held += size
    if sizes:
        yield slice(first, len(sizes))


def _places(images: pa.Table, pairs: pa.Table, side: str) -> Any:
    """(rows,) where in a table of images those of the pairs stand, -1 for nowhere."""
    # By prompt as well: equal images of two prompts are two, and a pair's own lies near that of the pair before.
    known = pc.binary_join_element_wise(images["prompt_id"], images["image_id"], " ")
    found = pc.index_in(pc.binary_join_element_wise(pairs["prompt_id"], pairs[side], " "), known)
    return pc.fill_null(found, -1).to_numpy()


def _windows(images: Iterator[pa.Table], places: Any) -> Iterator[tuple[pa.Table, int, int]]:
    """The images that are held, the place of the first, and up to which row the pictures of all pairs are among them.

    `places` is (sides, rows). An image is let go when no later row needs it.
    """
    needed = np.minimum.accumulate(places.min(axis=0)[::-1])[::-1]  # by this row or a later one, from here on
    wanted = np.maximum.accumulate(places.max(axis=0))  # by this row or an earlier one, up to here
    held, start = next(images), 0
    while True:
        ready = int(np.searchsorted(wanted, start + len(held)))
        yield held, start, ready
        if ready == len(needed):
            return
        gone = min(int(needed[ready]) - start, len(held))
        held, start = pa.concat_tables([held.slice(gone), next(images)]), start + gone


def _sizes(images: pa.ChunkedArray) -> Any:
    return pc.fill_null(pc.binary_length(images), 0).to_numpy()


def _pictures(images: pa.Table, places: Any) -> pa.Array:
    """The pictures at some places, each with its name."""
    files, names = images["image"], images["image_id"]
    data = [files[place].as_py() for place in places]  # one by one: `take` first copies all that it takes some of
    paths = [f"{names[place].as_py()}{suffix_of(file)}" for place, file in zip(places, data, strict=True)]
    return pa.StructArray.from_arrays(
        [pa.array(data, pa.binary()), pa.array(paths, pa.string())], fields=list(PICTURE)
    )


def _joined(pairs: pa.Table, pictures: dict[str, pa.Array], columns: Sequence[str]) -> pa.Table:
    return pa.table({name: pictures[name] if name in pictures else pairs[name] for name in columns})
