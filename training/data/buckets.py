"""Aspect-ratio buckets: sizes of about equal area, and at which of them each image is trained.

As in kohya's trainers: every size is a multiple of a step and at most as large as the square of the resolution. An
image goes to the size whose shape is nearest to its own; images that are compared with each other go to one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from training.errors import TrainingError

Shape = tuple[int, int]  # height, width in pixels
MOST = 4.0  # greatest ratio of the sides


def shapes(resolution: int, step: int) -> list[Shape]:
    """The sizes for a resolution, the squarest first. Raises TrainingError if there is none but the square."""
    found = set[Shape]()
    for short in range(step, resolution + 1, step):
        long = resolution**2 // short // step * step
        if short <= long <= MOST * short:
            found |= {(short, long), (long, short)}
    if len(found) < 2:
        raise TrainingError(
            f"--aspect-ratio-buckets: with --resolution {resolution} and sides of multiples of {step} there is one "
            "size only; give a greater --resolution"
        )
    return sorted(found, key=lambda shape: (_ratio(*max(shape, shape[::-1])), shape))


def assign(sizes: Sequence[Shape], groups: Iterable[Sequence[int]], known: Sequence[Shape]) -> tuple[list[Shape], int]:
    """The bucket of every image of N `sizes`, and how many are not in their nearest one.

    `groups` are images that are compared: they, and those that share an image with them, go to the bucket that is
    nearest to most of them, of equally many to the one of the first.
    """
    known_of = {size: nearest(size, known) for size in dict.fromkeys(sizes)}
    own = [known_of[size] for size in sizes]
    roots = _joined(len(sizes), groups)
    votes: dict[int, Counter[Shape]] = {}
    for row, shape in enumerate(own):
        votes.setdefault(roots[row], Counter())[shape] += 1
    chosen = [votes[root].most_common(1)[0][0] for root in roots]  # equal counts: in order of appearance
    return chosen, sum(a != b for a, b in zip(own, chosen, strict=True))


def nearest(size: Shape, known: Sequence[Shape]) -> Shape:
    """The bucket whose ratio of sides is nearest to an image's, of two equally near ones the squarer."""
    ratio = math.log(_ratio(*size))
    return min(known, key=lambda shape: round(abs(math.log(_ratio(*shape)) - ratio), 9))


def _ratio(height: int, width: int) -> float:
    return height / width


def _joined(count: int, groups: Iterable[Sequence[int]]) -> list[int]:
    """For each of `count` rows the first of all rows that groups join it with."""
    parents = list(range(count))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    for group in groups:
        for row in group:
            first, other = sorted((root(group[0]), root(row)))
            parents[other] = first
    return [root(row) for row in range(count)]
