"""Figures of pairs and of the images of a prompt: win rate with ties, drift, diversity, Vendi score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from training.evaluation import diversity, drift, preference
from training.evaluation.clip import unit
from training.evaluation.observations import Observations


def judged(*scores: float) -> Observations:
    return Observations(["a", "b"], [{}, {}], np.arange(len(scores)) % 2, scores={"judge": np.array(scores)})


def test_ties_count_half_and_abstentions_not_at_all() -> None:
    base, adapted = judged(1, 2, 3, 4, np.nan), judged(2, 2, 2, 5, 9)
    figure = preference.figures(base, adapted)["win.judge"]
    assert (figure.value, figure.images) == (pytest.approx((1 + 0.5 + 0 + 1) / 4), 4)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1))
def test_swapping_the_arms_turns_the_win_rate_round_and_only_order_counts(pairs: list[tuple[int, int]]) -> None:
    base, adapted = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    assert (preference.wins(base, adapted) + preference.wins(adapted, base)).tolist() == [1.0] * len(pairs)
    assert preference.wins(np.exp(base), np.exp(adapted)).tolist() == preference.wins(base, adapted).tolist()
    assert preference.wins(base, base).tolist() == [0.5] * len(pairs)


def test_drift_of_pixels_is_the_mean_difference() -> None:
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    half = black.copy()
    half[:2] = 255
    found = [drift.pixel_distance(Image.fromarray(black), Image.fromarray(other)) for other in (black, white, half)]
    assert found == [0, 1, 0.5]
    assert drift.pixel_distance(Image.fromarray(white), Image.fromarray(np.full((8, 8, 3), 255, np.uint8))) == 0


def test_drift_of_embeddings_is_one_minus_the_cosine() -> None:
    right, up = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    base = Observations(["a"], [{}], np.zeros(2, int), embeddings=np.stack([right, right]))
    adapted = Observations(["a"], [{}], np.zeros(2, int), embeddings=np.stack([right, up]))
    found = drift.figures(base, adapted, "tiny", np.zeros(2))
    assert found["drift.clip-tiny"].value == 0.5
    assert set(drift.figures(Observations(["a"], [{}], np.zeros(2, int)), adapted, "", np.zeros(2))) == {
        "drift.pixels"
    }


def test_diversity_by_hand() -> None:
    same, apart = np.eye(3)[[0, 0, 0]], np.eye(3)
    one = Observations(
        ["a", "b", "c"], [{}] * 3, np.array([0, 0, 0, 1, 1, 1, 2]), embeddings=np.vstack([same, apart, apart[:1]])
    )
    found = diversity.figures(one, "tiny")
    assert (found["diversity.clip-tiny"].value, found["diversity.clip-tiny"].images) == (pytest.approx(0.5), 2)
    assert found["vendi.clip-tiny"].value == pytest.approx((1 + 3) / 2)
    assert diversity.figures(Observations(["a"], [{}], np.zeros(1, int), embeddings=apart[:1]), "tiny") == {}


@settings(deadline=None)
@given(st.integers(2, 6), st.integers(0, 100))
def test_vendi_lies_between_one_and_the_number_of_images(count: int, seed: int) -> None:
    rows = unit(np.random.default_rng(seed).normal(size=(count, 4)))
    assert 1 - 1e-9 <= diversity.vendi(rows) <= min(count, 4) + 1e-9
    assert diversity.vendi(np.repeat(rows, 3, axis=0)) == pytest.approx(diversity.vendi(rows))
