"""Figures and intervals: values by hand, coverage on synthetic data, pairing of the arms, several seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.evaluation.bootstrap import Mean, Single, change, estimate, mean, relative, resample


def test_a_mean_counts_images_not_prompts_and_leaves_out_what_is_unknown() -> None:
    figure = mean(np.array([0, 0, 0, 1, 2]), [1.0, 1.0, 0.0, 0.0, np.nan], 4)
    assert figure.value == 0.5
    assert figure.images == 4
    assert figure.totals.tolist() == [2, 0, 0, 0] and figure.weights.tolist() == [3, 1, 0, 0]
    assert np.isnan(mean(np.array([0]), [np.nan], 1).value)


def test_a_resample_weighs_prompts_as_often_as_they_were_drawn() -> None:
    figure = mean(np.array([0, 1, 1]), [1.0, 0.0, 0.0], 2)
    assert figure(np.array([[1, 1], [2, 0], [0, 2], [2, 1]])).tolist() == [1 / 3, 1.0, 0.0, 0.5]


@pytest.mark.parametrize("images", [1, 5])
def test_intervals_cover_the_truth_where_images_of_a_prompt_resemble_each_other(images: int) -> None:
    """95 % nominal; prompts differ (a beta law), images of one prompt share its rate; images alone would fail."""
    rng, truth, covered, trials = np.random.default_rng(0), 2 / 5, 0, 200
    for trial in range(trials):
        rates = rng.beta(2, 3, 60)
        shown = (rng.random((60, images)) < rates[:, None]).astype(float)
        made = estimate([mean(np.repeat(np.arange(60), images), shown.ravel(), 60)], resample(60, seed=trial))
        covered += made["low"] <= truth <= made["high"]
    assert 0.9 <= covered / trials <= 0.99


def test_the_change_is_resampled_in_pairs() -> None:
    rng = np.random.default_rng(1)
    easy = rng.random(200)  # prompts differ a lot, the adapter takes a little from each
    base, adapted = (mean(np.arange(200), values, 200) for values in (easy, easy - 0.01))
    resamples = resample(200)
    moved = change([base], [adapted], resamples)
    assert moved["value"] == pytest.approx(-0.01)
    assert (
        moved["high"] - moved["low"] < 1e-6 < estimate([base], resamples)["high"] - estimate([base], resamples)["low"]
    )
    same = change([base], [base], resamples)
    assert (same["value"], same["low"], same["high"]) == (0.0, 0.0, 0.0)


def test_the_relative_change_is_a_share_of_the_base() -> None:
    base, adapted = mean(np.arange(2), [0.8, 0.8], 2), mean(np.arange(2), [0.2, 0.2], 2)
    left = relative([base], [adapted], resample(2))
    assert [left[k] for k in ("value", "low", "high")] == pytest.approx([-0.75] * 3)


def test_seeds_are_averaged_and_widen_the_interval() -> None:
    where = np.arange(100)
    values = np.random.default_rng(2).random(100)
    seeds = [mean(where, values + shift, 100) for shift in (-0.5, 0.0, 0.5)]
    one, three = estimate(seeds[1:2], resample(100, 1)), estimate(seeds, resample(100, 3))
    assert three["value"] == pytest.approx(one["value"])
    assert three["images"] == 300
    assert three["high"] - three["low"] > 3 * (one["high"] - one["low"])
    assert estimate([seeds[0]] * 3, resample(100, 3))["high"] == pytest.approx(
        estimate([seeds[0]], resample(100))["high"], abs=0.03
    )


def test_a_seed_that_knows_nothing_is_left_out() -> None:
    nothing = Mean(np.zeros(3), np.zeros(3), 0)
    made = estimate([nothing, mean(np.arange(3), [1.0, 1.0, 1.0], 3)], resample(3, 2))
    assert (made["value"], made["low"], made["high"], made["images"]) == (1.0, 1.0, 1.0, 3)


def test_a_figure_of_the_whole_set_has_no_interval() -> None:
    assert estimate([Single(3.0, 8), Single(5.0, 8)], resample(4, 2)) == {"value": 4.0, "images": 16}


@settings(deadline=None)
@given(arrays(np.float64, st.integers(2, 20), elements=st.floats(0, 1)), st.integers(0, 5))
def test_an_interval_lies_within_what_was_seen(values: np.ndarray, seed: int) -> None:
    made = estimate([mean(np.arange(len(values)), values, len(values))], resample(len(values), seed=seed))
    assert values.min() - 1e-5 <= made["low"] <= made["high"] <= values.max() + 1e-5
    assert made["value"] == pytest.approx(values.mean(), abs=1e-9)
