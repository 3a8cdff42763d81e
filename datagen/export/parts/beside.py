"""Pairs as two pictures of one name with a caption beside them, as trainers that read folders want them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datagen.export import Finished
from datagen.export.parts import files, readme
from datagen.export.parts.pairs import SIDES, Pairs, file_name


def write(
    finished: Finished, folder: Path, about: readme.About, names: tuple[str, str], captions: Sequence[str]
) -> None:
    """Write SPLIT/NAME for each pair; `names` of both pictures and `captions` hold "{}" for the id of the pair."""
    pairs = Pairs(finished, ["prompt", *SIDES])
    (folder / "train").mkdir()
    for row in pairs:
        own = folder / row["split"]
        for side, name in zip(SIDES, names, strict=True):
            files.put(own / file_name(row[side], name.format(row["pair_id"])), row[side]["bytes"])
        for caption in captions:
            files.put(own / caption.format(row["pair_id"]), " ".join(row["prompt"].split()).encode())
    readme.write(finished, folder, about, pairs.kept, pairs.left)
