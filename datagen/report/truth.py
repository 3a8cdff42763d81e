"""Where pictures were drawn by the embedded model, what they really show: the exact reader's word on each label.

Nobody trains on it and no judge has a part in it, so that it can tell how far the labels of a run are right.
"""

from __future__ import annotations

from collections.abc import Sequence

from datagen.images.decode import Unreadable, decode

WORLD = "embedded"  # what the rows of its pictures are called


def is_known(generators: Sequence[str]) -> bool:
    """Whether the reader can tell what the pictures of these generators show."""
    return all(generator == WORLD for generator in generators)


def is_true(chosen: bytes, rejected: bytes, chosen_prompt: str, rejected_prompt: str) -> bool | None:
    """Whether each image shows its own side of what the two wordings disagree about; None if that cannot be told."""
    from datagen.world.captions import parse
    from datagen.world.reader import read
    from datagen.world.render import SIZE

    try:
        wanted = [parse(text) for text in (chosen_prompt, rejected_prompt)]
        images = [decode(data) for data in (chosen, rejected)]
    except (Unreadable, ValueError):
        return None
    about = [name for name in wanted[0] if name in wanted[1] and wanted[0][name] != wanted[1][name]]
    if not about or any(image.size != (SIZE, SIZE) for image in images):
        return None
    shown = [reading.attributes for reading in read(images)]
    return all(seen[name] == stated[name] for seen, stated in zip(shown, wanted, strict=True) for name in about)
