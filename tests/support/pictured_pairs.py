"""Pairs of a run with the images that they name, in the shard beside their own."""

from __future__ import annotations

import hashlib
from typing import Any

from datagen import records, store
from datagen.records import Image, Pair

PICTURES: dict[str, bytes] = {}  # by the ids of images
FOOTER: dict[str, Any] = {"errors": 0, "seconds": 0.0, "digest": "d", "version": "1", "drops": {}}


def keep(data: bytes) -> str:
    """The id of a picture, whose file `commit` writes."""
    name = hashlib.sha256(data).hexdigest()[:16]
    PICTURES[name] = data
    return name


def images_of(pair: Pair) -> list[Image]:
    """Both images of a pair."""
    return [
        Image(name, pair.prompt_id, side, 0, "text", "", 1, "m", "r", "ddim", 20, 4.0, 8, 8, PICTURES[name])
        for side, name in (("chosen", pair.chosen_id), ("rejected", pair.rejected_id))
    ]


def commit(run: store.Run, index: int, pairs: list[Pair]) -> None:
    """Write a shard of images, and the one of pairs that name them."""
    images = [image for pair in pairs for image in images_of(pair)]
    for stage, record, rows in (("images", Image, images), ("pairs", Pair, pairs)):
        run.commit(stage, index, records.to_table(record, list[Any](rows)), **FOOTER)
