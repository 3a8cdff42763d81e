"""Pairs as two pictures of one name with a caption beside them, as trainers that read folders want them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datagen.export import Finished
from datagen.export.parts import files, readme
from datagen.export.parts.pairs import SIDES, Pairs, file_name
from datagen.images.kinds import suffix_of


def write(
    finished: Finished,
    folder: Path,
    about: readme.About,
    names: tuple[str, str],
    captions: Sequence[str],
    *,
    of_one_kind: str = "",
) -> None:
    """Write SPLIT/NAME for each pair; `names` of both pictures and `captions` hold "{}" for the id of the pair.

    Pairs of, say, a PNG and a WebP are left out for the reason `of_one_kind`, where there is one.
    """
    pairs = Pairs(finished, ["prompt", *SIDES])
    (folder / "train").mkdir()
    for row in pairs:
        own = folder / row["split"]
        if of_one_kind and len({suffix_of(row[side]["bytes"]) for side in SIDES}) > 1:
            pairs.skip(row, of_one_kind)
            continue
        for side, name in zip(SIDES, names, strict=True):
            files.put(own / file_name(row[side], name.format(row["pair_id"])), row[side]["bytes"])
        said = " ".join(row["prompt"].split()) or "\n"  # a file without a line is refused by some
        for caption in captions:
            files.put(own / caption.format(row["pair_id"]), said.encode())
    readme.write(finished, folder, about, pairs.kept, pairs.left)
