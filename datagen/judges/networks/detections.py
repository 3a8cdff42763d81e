"""What a YOLOv8 says of a picture, read as NudeNet's package reads it: boxes of which none overlaps a surer one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIKELY = np.float32(0.2)  # of an anchor's likeliest class, or the anchor is not looked at
SURE = np.float32(0.25)  # beyond it a box may be kept
OVERLAP = np.float32(0.45)  # with a surer box, of any class: beyond it a box is dropped


def found(
    output: NDArray[np.float32], side: int, width: int, height: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Classes and scores of the kept boxes, the surest first, of a (4 + classes, anchors) output.

    The network saw the picture of `width` × `height` pixels in the upper left of a square of `side` pixels; boxes are
    cut to the picture, which counts for how far they overlap.
    """
    classes = output[4:].argmax(axis=0)
    scores = output[4:].max(axis=0)
    likely = scores >= LIKELY
    classes, scores = classes[likely], scores[likely]
    boxes = _cut(output[:4, likely].T, np.float32(max(width, height)), side, width, height)
    kept: list[int] = []
    for place in np.argsort(-scores, kind="stable"):
        if scores[place] > SURE and (not kept or (_overlaps(boxes[place], boxes[kept]) <= OVERLAP).all()):
            kept.append(int(place))
    return classes[kept], scores[kept]


def _cut(boxes: NDArray[np.float32], square: np.float32, side: int, width: int, height: int) -> NDArray[np.float64]:
    """(N, 4) boxes by their centres → by their upper left corners, in the picture's pixels and within it.

    What is cut off at the left or the top is not taken from the width or the height, as the package has it.
    """
    centre, size = boxes[:, :2], boxes[:, 2:]
    limits = np.array([width, height], np.float32)
    corner = np.clip((centre - size / 2) * square / np.float32(side), 0, limits)
    return np.concatenate([corner, np.minimum(size * square / np.float32(side), limits - corner)], 1).astype(
        np.float64
    )


def _overlaps(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float32]:
    """(N,) intersection over union of a box with others; 1 of two that are both empty."""
    ends = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:])
    shared = np.clip(ends - np.maximum(box[:2], others[:, :2]), 0, None).prod(axis=1)
    both = box[2:].prod() + others[:, 2:].prod(axis=1)
    empty = both <= np.finfo(np.float64).eps
    return np.where(empty, 1, shared / np.where(empty, 1, both - shared)).astype(np.float32)
