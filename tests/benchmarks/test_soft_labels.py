"""What the arms train on is what the labels say, and soft labels are held against the others on the same prompts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.support import world_pairs
from benchmarks.world import soft_labels
from datagen.images.decode import decode

ARMS = {arm.name: arm for arm in soft_labels.ARMS}
LIGHTS = np.array([[10, 20], [200, 210]], np.uint8)  # of the side that was meant, and of the other; by noise


@pytest.fixture
def drawn() -> list[world_pairs.Scene]:
    """One scene, whose images are told by their light."""
    prompt, principle = world_pairs._prompts(soft_labels.RECIPE)[0]
    images = np.broadcast_to(LIGHTS[:, :, None, None, None], (2, 2, 64, 64, 3)).copy()
    return [world_pairs.Scene(soft_labels.RECIPE, prompt, principle, images, False)]


def found(**changes: list[float]) -> soft_labels.Arrays:
    """Of the four pairs: as meant and sure, against it, tied for the reader, exchanged and doubtful."""
    said = {"probability": [0.95, 0.2, 0.99, 0.6], "truth": [1.0, 1.0, 0.5, 0.0], "swap": [0.0, 0.0, 0.0, 1.0]}
    return {name: np.array(column) for name, column in (said | changes).items()}


def lights(folder: Path) -> list[tuple[int, int, float]]:
    rows = pq.read_table(folder).to_pylist()
    both = [[int(np.asarray(decode(row[side]["bytes"]))[0, 0, 0]) for side in ("chosen", "rejected")] for row in rows]
    return [(one, other, row["probability"]) for (one, other), row in zip(both, rows, strict=True)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("soft", [(10, 200, 0.95), (210, 10, 0.8), (20, 200, 0.99), (210, 20, 0.6)]),
        ("hard", [(10, 200, 0.95), (210, 10, 0.8), (20, 200, 0.99), (210, 20, 0.6)]),  # a flag makes them certain
        ("filtered", [(10, 200, 0.95), (20, 200, 0.99)]),
        ("true", [(10, 200, 1.0), (10, 210, 1.0), (20, 210, 1.0)]),  # a tie of the reader's has no winner
    ],
)
def test_an_arm_has_the_winners_of_its_labels_and_how_certain_they_are(
    tmp_path: Path, drawn: list[world_pairs.Scene], name: str, expected: list[tuple[int, int, float]]
) -> None:
    assert soft_labels.write(drawn, found(), ARMS[name], tmp_path) == len(expected)
    assert lights(tmp_path) == expected


def test_what_judges_see_is_partly_another_picture_and_what_is_trained_on_is_not(
    drawn: list[world_pairs.Scene],
) -> None:
    (seen,) = soft_labels._double_exposed(drawn)
    assert seen.images.shape == drawn[0].images.shape and not np.array_equal(seen.images, drawn[0].images)
    assert drawn[0].images[1, 0, 0, 0, 0] == LIGHTS[1, 0]


def test_soft_labels_are_ahead_by_the_difference_on_the_same_prompts() -> None:
    asked = len(soft_labels.texts())

    def shown(share: float) -> list[dict[str, np.ndarray]]:
        style = (np.arange(asked) < share * asked).astype(float)
        return [{"target style where it is open": style}] * 3

    readings = {"soft": shown(0.75), "hard": shown(0.5)}
    rows = {row.what: row for row in soft_labels.effects(readings)}
    ahead = rows["target style where it is open: soft less hard"]
    assert ahead.figure == pytest.approx(25, abs=0.6) and ahead.reached and ahead.goal == "> 0"
    low, _, high = ahead.spread.partition(" to ")
    assert 15 < float(low) < 25 < float(high) < 35
