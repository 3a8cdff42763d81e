"""Encoded images → pixels: each is decoded once and brought to all views by threads, while the judges are busy."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datagen.images.ahead import prefetch
from datagen.images.decode import Unreadable, decode
from datagen.judges.views import View, make

if TYPE_CHECKING:
    from datagen.judges.views.steps import Pixels

AHEAD = 64  # images whose views may be ready before they are asked for: 10 MB a view of 224 pixels


def prepare(
    sources: Iterable[bytes | Path], views: Sequence[View], *, fast: bool = False, ahead: int = AHEAD
) -> Iterator[dict[View, Pixels] | Unreadable]:
    """The pixels of every image in every view, in the order of the sources; of one that is no good, why.

    `fast` decodes JPEGs as small as the views allow; their scores are then not the references' any more.
    Memory: `ahead` sources with their pixels, and a decoded picture a processor. Where an answer is not waited for, as
    after Ctrl-C, the threads end with the pictures that they are at.
    """
    return prefetch(functools.partial(see, views=tuple(views), fast=fast), sources, ahead)


def see(source: bytes | Path, views: Sequence[View], fast: bool = False) -> dict[View, Pixels] | Unreadable:
    """The pixels of one image in every view, or why there are none."""
    try:
        return make(decode(source, enough(views) if fast else None), views)
    except Unreadable as error:
        return error


def enough(views: Iterable[View]) -> int | None:
    """The pixels that a picture's sides need at least for all views; None where one needs the picture as it is."""
    shapes = [view.shape for view in views]
    return max((max(shape) for shape in shapes if shape), default=None) if all(shapes) else None
