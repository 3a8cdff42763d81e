"""From a source to pairs: find its files, read their labels, look at the images that the kept rows name.

Everything is checked here that can be without decoding a picture, before any model is loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from training.data import columns, files, hub, livo
from training.data.columns import CAPTIONS, NUMBERS, Part
from training.data.images import Images
from training.data.index import image_infos
from training.data.pairs import Pairs
from training.errors import TrainingError

Value = TypeVar("Value")


def load(source: str, *, split: str = "train", limit: int = 0, revision: str | None = None) -> Pairs:
    """All pairs of a split, at most `limit` if above 0; ties are dropped and counted.

    `source` is a Parquet file, a folder of them, a folder in LiVO's layout, or the id of a data set on the Hugging
    Face hub, of which `revision` is taken. Raises TrainingError.
    """
    parts: list[Part] = []
    images = Images()
    for part in _parts(source, split, revision):
        part = part.first(limit - sum(len(p.prompts) for p in parts)) if limit else part
        _place(part, images)
        parts.append(part)
        if limit and sum(len(p.prompts) for p in parts) >= limit:
            break
    dropped = sum(p.dropped for p in parts)
    if not any(p.prompts for p in parts):
        why = f"all its {dropped} rows are ties or have no partner" if dropped else "it has no rows"
        raise TrainingError(f"{source} has no usable pairs in split {split!r}: {why}")
    pairs = _joined(parts, images, dropped)
    _check_sizes(pairs)
    return pairs


def _parts(source: str, split: str, revision: str | None) -> Iterator[Part]:
    """The source's files as they are asked for, so that a limit spares the rest."""
    root = Path(source)
    if root.exists():
        yield from livo.read(root) if livo.holds(root) else map(columns.read, files.find_files(source, split))
    elif hub.is_id(source):
        yield from map(columns.read, hub.files_of(source, split, revision))
    else:
        files.find_files(source, split)


def _place(part: Part, images: Images) -> None:
    """Turn the part's places in its source into rows of `images`."""
    places = [place for pair in zip(part.chosen, part.rejected, strict=True) for place in pair]
    rows = images.add(part.source, zip(places, image_infos(part.source, places), strict=True))
    part.chosen, part.rejected = rows[0::2], rows[1::2]


def _joined(parts: list[Part], images: Images, dropped: int) -> Pairs:
    """All parts behind one another. Raises TrainingError for a column that only some of them have."""
    numbers = {name: _all_or_none(name, [p.numbers.get(name) for p in parts]) for name in NUMBERS}
    captions = {name: _all_or_none(name, [p.captions.get(name) for p in parts]) for name in CAPTIONS}
    votes = [v for p in parts for v in p.numbers.get("votes", [1.0] * len(p.prompts))]
    if numbers["probability"] is None and min(votes) < 1.0:
        numbers["probability"] = votes
    rejected = [v for p in parts for v in p.rejected]
    return Pairs(
        prompts=[v for p in parts for v in p.prompts],
        principles=[v for p in parts for v in p.principles],
        images=images,
        chosen=[v for p in parts for v in p.chosen],
        rejected=rejected,
        partners=_partners([v for p in parts for v in p.pools], rejected),
        probabilities=numbers["probability"],
        weights=numbers["weight"],
        chosen_rewards=numbers["chosen_reward"],
        rejected_rewards=numbers["rejected_reward"],
        chosen_captions=captions["chosen_prompt"],
        rejected_captions=captions["rejected_prompt"],
        dropped=dropped,
    )


def _partners(pools: list[str], rejected: list[int]) -> list[list[int]] | None:
    """For each pair the distinct rejected images of its pool, or its own; None if no pair is of a pool."""
    if not any(pools):
        return None
    members: dict[str, dict[int, None]] = {}
    for pool, row in zip(pools, rejected, strict=True):
        members.setdefault(pool, {})[row] = None
    shared = {pool: list(rows) for pool, rows in members.items()}
    return [shared[pool] if pool else [row] for pool, row in zip(pools, rejected, strict=True)]


def _all_or_none(name: str, columns: list[list[Value] | None]) -> list[Value] | None:
    """The values of a column that all files have, or None if none of them has it."""
    known = [column for column in columns if column is not None]
    if known and len(known) < len(columns):
        raise TrainingError(f"some files have a column {name!r} and others have not: give it to all or to none")
    return [value for column in known for value in column] if known else None


def _check_sizes(pairs: Pairs) -> None:
    """Images of a pair may differ in size, which is said, but not in shape: they would be cropped differently."""
    uneven = []
    for i, sides in enumerate(zip(pairs.chosen, pairs.rejected, strict=True)):
        first, second = (pairs.images.sizes[row] for row in sides)
        if first != second:
            uneven.append(i)
            words = f"images of two sizes, {first[1]}×{first[0]} and {second[1]}×{second[0]}"
            if abs(first[0] * second[1] - first[1] * second[0]) > 0.01 * first[1] * second[0]:
                where = pairs.images.where(sides[0])
                raise TrainingError(f"pair {i} ({where}): {words}; crop them to one shape or remove the pair")
    if uneven:
        print(
            f"{len(uneven)} of {len(pairs)} pairs have images of two sizes: each is scaled by itself", file=sys.stderr
        )
