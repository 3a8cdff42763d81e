"""Intervals by prompts: they hold the truth as often as they say, and what cannot have one has none."""

from __future__ import annotations

import numpy as np
import pytest

from datagen.labels import resampling


def test_an_interval_of_very_many_prompts_is_as_wide_as_theory_says() -> None:
    random, count = np.random.default_rng(0), 50_000
    found = resampling.share(random.random(count) < 0.3, np.ones(count, bool), np.arange(count))
    wide = 2 * 1.96 * np.sqrt(0.3 * 0.7 / count)
    assert found.high - found.low == pytest.approx(wide, rel=0.1)
    assert found.low < 0.3 < found.high and found.count == count


def test_pairs_of_one_prompt_count_as_one() -> None:
    random, each = np.random.default_rng(0), 10
    values = np.repeat(random.random(400) < 0.5, each)
    found = resampling.share(values, np.ones(4000, bool), np.repeat(np.arange(400), each))
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(400), rel=0.1)


def test_of_one_prompt_there_is_a_number_and_no_interval() -> None:
    found = resampling.estimate(lambda sums: sums[..., 0], np.ones((5, 1)), np.zeros(5), 5)
    assert found.value == 5 and np.isnan(found.low) and np.isnan(found.high)
    assert resampling.estimate(lambda sums: sums[..., 0], np.ones((0, 1)), np.zeros(0), 0) == resampling.NOTHING


def test_the_order_of_pairs_and_the_names_of_prompts_do_not_matter_to_the_value() -> None:
    random = np.random.default_rng(0)
    values, prompts = random.random(300), random.integers(0, 40, 300)
    one = resampling.share(values, np.ones(300, bool), prompts)
    order = random.permutation(300)
    other = resampling.share(values[order], np.ones(300, bool), prompts[order])
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    named = resampling.share(values, np.ones(300, bool), np.array([f"prompt {number:02d}" for number in prompts]))
    assert named == one
