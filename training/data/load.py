"""From a source to pairs: find its files, read their labels, look at the images that the kept rows name.

Everything is checked here that can be without decoding a picture, before any model is loaded; all that cannot be used
is named at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from datagen import objects
from datagen.errors import InputError
from datagen.tables import hub
from training.data import columns, livo, sources
from training.data.columns import CAPTIONS, NUMBERS, Part
from training.data.faults import Faults
from training.data.images import Images
from training.data.index import image_infos
from training.data.pairs import Pairs
from training.errors import TrainingError

Value = TypeVar("Value")


def load(
    source: str,
    *,
    split: str = "train",
    limit: int = 0,
    revision: str | None = None,
    skip_bad: bool = False,
    names: Mapping[str, str] | None = None,
    any_shape: bool = False,
) -> Pairs:
    """All pairs of a split, at most the first `limit` if above 0; ties are dropped and counted.

    `source` is a table (Parquet, Arrow, CSV, TSV, JSON Lines), a WebDataset tar (several in braces: "{00..09}.tar"), a
    folder of either, an ImageFolder, a folder in LiVO's layout or one that `save_to_disk` wrote, or the id of a data
    set on the Hugging Face hub, of which `revision` is taken. `names` are its columns by the names that are read here.
    Images of a pair are of one shape, or of `any_shape` where what reads them crops both to one.
    Pairs that cannot be used raise TrainingError, or with `skip_bad`, for which all pictures are decoded, are left out
    and counted.
    """
    try:
        return _load(source, split, limit, revision, skip_bad, names or {}, any_shape)
    except InputError as error:  # of the door for tables
        raise TrainingError(str(error)) from error


def _load(
    source: str,
    split: str,
    limit: int,
    revision: str | None,
    skip_bad: bool,
    names: Mapping[str, str],
    any_shape: bool,
) -> Pairs:
    parts: list[Part] = []
    images, faults = Images(), Faults()
    for part in _parts(source, split, revision, names):
        part = part.keep(range(min(limit - faults.pairs, len(part.prompts)))) if limit else part
        parts.append(_placed(part, images, faults, decoded=skip_bad, any_shape=any_shape))
        if limit and faults.pairs >= limit:
            break
    dropped = sum(p.dropped for p in parts)
    faults.settle(source, skip=skip_bad)
    if not any(p.prompts for p in parts):
        why = f"all its {dropped} rows are ties or have no partner" if dropped else "it has no rows"
        raise TrainingError(f"{source} has no usable pairs in split {split!r}: {why}")
    pairs = _joined(parts, images, dropped, faults.count)
    _say_uneven(pairs)
    return pairs


def _parts(source: str, split: str, revision: str | None, names: Mapping[str, str]) -> Iterator[Part]:
    """The source's files as they are asked for, so that a limit spares the rest."""
    if objects.is_address(source) and not hub.is_id(source):
        source = str(objects.fetched(objects.dataset(source)))
    root = Path(source).expanduser()
    if not root.exists() and hub.is_id(source):
        files = hub.files_of(source, split, revision, lambda line: print(line, file=sys.stderr))
        yield from (columns.read(file, file.parent, names) for file in files)
    elif livo.holds(root):
        yield from livo.read(root)
    else:
        folder = root if root.is_dir() else root.parent
        yield from (columns.read(file, folder, names) for file in sources.find_files(source, split))


def _placed(part: Part, images: Images, faults: Faults, *, decoded: bool, any_shape: bool) -> Part:
    """The part's usable pairs, their places in its source turned into rows of `images`."""
    faults.pairs += len(part.prompts)
    wanted = [i for i in range(len(part.prompts)) if i not in part.bad]
    places = [place for i in wanted for place in (part.chosen[i], part.rejected[i])]
    infos = image_infos(part.source, places, decoded=decoded)
    usable, found = [], []
    for i, first, second in zip(wanted, infos[0::2], infos[1::2], strict=True):
        if isinstance(first, str) or isinstance(second, str):
            part.bad[i] = first if isinstance(first, str) else str(second)
        elif first[0] == second[0]:
            where = part.source.where(part.chosen[i])
            part.bad[i] = f"pair {i} ({where}): chosen and rejected are the same image, which teaches nothing"
        elif not any_shape and not _of_one_shape(first[1:], second[1:]):
            sizes = f"images of two sizes, {first[2]}×{first[1]} and {second[2]}×{second[1]}"
            where = part.source.where(part.chosen[i])
            part.bad[i] = f"pair {i} ({where}): {sizes}; crop them to one shape or remove the pair"
        else:
            usable.append(i)
            found += [(part.chosen[i], first), (part.rejected[i], second)]
    for i in sorted(part.bad):
        faults.add(part.bad[i])
    rows = images.add(part.source, found)
    part = part.keep(usable)
    part.chosen, part.rejected = rows[0::2], rows[1::2]
    return part


def _of_one_shape(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Images of a pair may differ in size but not in shape: they would be cropped differently."""
    return abs(first[0] * second[1] - first[1] * second[0]) <= 0.01 * first[1] * second[0]


def _joined(parts: list[Part], images: Images, dropped: int, unusable: int) -> Pairs:
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
        unusable=unusable,
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


def _say_uneven(pairs: Pairs) -> None:
    """Say how many pairs have images of two sizes."""
    sizes = pairs.images.sizes
    uneven = sum(sizes[first] != sizes[second] for first, second in zip(pairs.chosen, pairs.rejected, strict=True))
    if uneven:
        print(f"{uneven} of {len(pairs)} pairs have images of two sizes: each is scaled by itself", file=sys.stderr)
