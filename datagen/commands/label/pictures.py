"""The images found again where they were judged, each held against the digest that it had then.

One that is not there, or is another picture now, is lost and counted: nothing is ever taken for what was judged.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from datagen.commands.judge.origin import Origin
from datagen.commands.label.joined import Image
from datagen.errors import InputError
from datagen.images.decode import Unreadable, size_of
from datagen.tables import pictures
from datagen.tables.items import Input, Wanted

GONE = "are no longer there"
CHANGED = "are other pictures than those that were judged"
REWORDED = "have another prompt than when they were judged"
Source = Path | bytes


@dataclasses.dataclass(frozen=True)
class Picture:
    """An encoded image, and its size in pixels."""

    data: bytes
    width: int
    height: int


def open_again(origin: Origin, moved: Path | None) -> Input:
    """The input of a call of `datagen judge`; `moved` is where it lies now. InputError if it is not there."""
    wanted = Wanted(origin.image_column, origin.prompt_column, origin.as_pairs)
    prompts = None if origin.prompts is None else Path(origin.prompts)
    path = Path(origin.input) if moved is None else moved
    if prompts is not None and not prompts.exists():
        raise InputError(f"there is no {prompts}, the table of prompts that {path} was judged with: put it back")
    try:
        given = pictures.open_input(path, wanted, prompts, [Path(origin.labels)] if origin.labels else [])
    except InputError as error:
        hint = "" if moved is not None else "; if the images were moved, say where they are with --images"
        raise InputError(f"the images that were judged are not where they were: {error}{hint}") from error
    if given.backbones:
        raise InputError(f"{path} holds embeddings and no pictures: say where the pictures are with --images")
    return given


def find(given: Input, images: Sequence[Image], wanted: set[int], lost: Counter[str]) -> Iterator[tuple[int, Source]]:
    """The `wanted` images, by their places, as they come; those that do not come are counted in `lost`."""
    places: dict[str, list[int]] = collections.defaultdict(list)
    for place in sorted(wanted):
        places[images[place].path].append(place)
    left = set(wanted)
    reworded, gone = set[int](), 0
    for item in given.items:
        for place in places.get(item.path, ()):
            if place not in left:
                continue
            if item.prompt != images[place].prompt:
                reworded.add(place)
                continue
            left.discard(place)
            reworded.discard(place)
            if item.source is None:
                gone += 1
            else:
                yield place, item.source
    counts = {REWORDED: len(reworded), GONE: gone + len(left - reworded)}
    lost.update({reason: count for reason, count in counts.items() if count})


def read(source: Source, image: Image) -> Picture | str:
    """The picture as it was judged, or why it is lost."""
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
    except OSError:
        return GONE
    if hashlib.sha256(data).hexdigest()[:16] != image.digest:
        return CHANGED
    try:
        height, width = size_of(data)
    except Unreadable:
        return CHANGED
    return Picture(data, width, height)
