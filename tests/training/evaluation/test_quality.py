"""CLIPScore, FID and Inception Score against closed forms, through torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation import quality
from training.evaluation.observations import Observations


def exactly(mean: list[float], deviations: list[float], rows: int, seed: int) -> np.ndarray:
    """Rows whose sample mean and covariance are exactly these."""
    raw = np.random.default_rng(seed).normal(size=(rows, len(mean)))
    centred = raw - raw.mean(axis=0)
    white = centred @ np.linalg.inv(np.linalg.cholesky(np.cov(centred, rowvar=False)).T)
    return white * np.array(deviations) + np.array(mean)


def test_fid_of_two_gaussians_is_the_closed_form() -> None:
    """|μ − ν|² + Σ (σ − τ)² for diagonal covariances."""
    one, other = exactly([0, 0, 1], [1, 2, 3], 50, 0), exactly([1, 0, -1], [2, 2, 1], 80, 1)
    assert quality.fid(one, other) == pytest.approx((1 + 4) + (1 + 4), rel=1e-6)


def test_fid_of_correlated_gaussians_is_the_closed_form() -> None:
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    one, other = exactly([0, 0, 0], [1, 2, 3], 50, 0) @ turn, exactly([0, 2, 0], [3, 2, 1], 50, 1) @ turn
    assert quality.fid(one, other) == pytest.approx(4 + 4 + 4, rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_fid_is_nothing_for_one_set_and_symmetric(seed: int) -> None:
    one, other = np.random.default_rng(seed).normal(size=(2, 30, 4))
    assert quality.fid(one, one) == pytest.approx(0, abs=1e-6)
    assert quality.fid(one, other) == pytest.approx(quality.fid(other, one), abs=1e-6)


def test_chance_stays_where_it_is_while_fid_shows_a_drift() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 200, 8))
    still, drifted = quality.fid_by_chance(one, other), quality.fid_by_chance(one, one + 3)
    assert quality.fid(one, other) == pytest.approx(still, rel=0.8)
    assert drifted < 1 < 70 < quality.fid(one, one + 3)


def test_clipscore_is_a_hundred_times_the_cosine_and_never_below_nothing() -> None:
    one = Observations(["a", "b"], [{}, {}], np.array([0, 0, 1]), cosines=np.array([0.3, -0.2, 0.5]))
    assert quality.clipscore(one, "tiny")["clipscore.tiny"].value == pytest.approx(100 * (0.3 + 0 + 0.5) / 3)
    assert quality.clipscore(Observations(["a"], [{}], np.array([0])), "tiny") == {}


def test_inception_score_of_one_class_is_one_and_of_sure_classes_their_number() -> None:
    assert quality.inception_score(np.zeros((50, 4))).value == pytest.approx(1)
    sure = 50 * np.eye(4)[np.arange(4000) % 4]
    assert quality.inception_score(sure).value == pytest.approx(4, rel=0.01)
    assert quality.inception_score(sure[:30], seed=1).value == quality.inception_score(sure[:30], seed=1).value
