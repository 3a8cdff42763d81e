"""Boxes read as NudeNet's package reads them, against its rules taken one box at a time in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from datagen.judges.networks import detections

CLASSES = 5


def anchors(rng: Any, count: int, side: int = 320) -> NDArray[np.float32]:
    """(4 + classes, N): boxes of all sizes, also beyond the picture, in heaps that overlap."""
    centres = rng.choice(rng.uniform(-20, side + 20, (6, 2)), count) + rng.normal(0, 15, (count, 2))
    sizes = rng.uniform(0, 150, (count, 2)) * rng.choice([0, 1], (count, 2), p=[0.05, 0.95])
    scores = rng.uniform(0, 1, (count, CLASSES)) ** 4
    return np.concatenate([centres, sizes, scores], 1).T.astype(np.float32)


def plainly(output: NDArray[np.float32], side: int, width: int, height: int) -> list[tuple[int, float]]:
    """The rules one by one: likeliest class, corners, cut, then greedily by score."""
    square, candidates = max(width, height), []
    for x, y, w, h, *scores in output.T.astype(np.float32).tolist():
        best = max(range(len(scores)), key=scores.__getitem__)
        if scores[best] >= np.float32(0.2):
            left, top = (
                max(0, min((x - w / 2) * square / side, width)),
                max(0, min((y - h / 2) * square / side, height)),
            )
            wide, high = min(w * square / side, width - left), min(h * square / side, height - top)
            candidates.append((scores[best], best, left, top, wide, high))
    kept: list[tuple[float, ...]] = []
    for one in sorted(candidates, key=lambda entry: -entry[0]):
        if one[0] > 0.25 and all(overlap(one[2:], other[2:]) <= 0.45 for other in kept):
            kept.append(one)
    return [(int(one[1]), one[0]) for one in kept]


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(0.0, wide) * max(0.0, high)
    both = a[2] * a[3] + b[2] * b[3] - shared
    return shared / both if a[2] * a[3] + b[2] * b[3] > 2.3e-16 else 1.0


@given(seed=st.integers(0, 10_000), count=st.integers(0, 60), width=st.integers(1, 900), height=st.integers(1, 900))
def test_are_those_that_the_rules_keep_one_by_one(seed: int, count: int, width: int, height: int) -> None:
    output = anchors(np.random.default_rng(seed), count)
    classes, scores = detections.found(output, 320, width, height)
    expected = plainly(output, 320, width, height)
    assert list(zip(classes.tolist(), scores.tolist(), strict=True)) == expected


def one(*boxes: tuple[float, float, float, float, int, float]) -> NDArray[np.float32]:
    output = np.zeros((4 + CLASSES, len(boxes)), np.float32)
    for place, (x, y, w, h, kind, score) in enumerate(boxes):
        output[:4, place] = x, y, w, h
        output[4 + kind, place] = score
    return output


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([], []),
        ([(50, 50, 40, 40, 1, 0.19)], []),
        ([(50, 50, 40, 40, 1, 0.25)], []),  # more than a quarter is needed
        ([(50, 50, 40, 40, 1, 0.26)], [1]),
        ([(50, 50, 40, 40, 1, 0.3), (52, 50, 40, 40, 2, 0.9)], [2]),  # of another class, too
        ([(50, 50, 40, 40, 1, 0.3), (90, 50, 40, 40, 1, 0.9)], [1, 1]),
        ([(50, 50, 40, 40, 1, 0.5), (50, 50, 40, 40, 2, 0.5)], [1]),  # of equals the first
        ([(400, 50, 20, 20, 1, 0.5), (420, 60, 20, 20, 2, 0.4)], [1]),  # both cut to nothing
    ],
)
def test_a_box_is_kept_unless_it_is_unsure_or_overlaps_a_surer_one(boxes: Any, expected: list[int]) -> None:
    assert detections.found(one(*boxes), 320, 320, 320)[0].tolist() == expected


def test_boxes_are_cut_to_the_picture_before_they_are_compared() -> None:
    """Of a wide picture the lower part of the square is padding, which two boxes may share without overlapping."""
    boxes = one((100, 100, 60, 200, 1, 0.9), (100, 190, 60, 20, 2, 0.8), (100, 60, 60, 160, 3, 0.7))
    assert detections.found(boxes, 320, 320, 320)[0].tolist() == [1, 2]
    assert detections.found(boxes, 320, 320, 80)[0].tolist() == [1, 2]
    short = one((100, 150, 60, 300, 1, 0.9), (100, 40, 60, 80, 2, 0.8))
    assert detections.found(short, 320, 320, 320)[0].tolist() == [1, 2]
    assert detections.found(short, 320, 320, 80)[0].tolist() == [1]
