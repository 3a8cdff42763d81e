from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.labels.instrument import condense, posterior
from datagen.labels.instrument.condense import condensed
from datagen.labels.instrument.worth import Worth

NAN = np.nan


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores, what they are expected to be by one of three sets of judges, designs, and some labels of people."""
    rng = np.random.default_rng(seed)
    design = rng.choice([-1.0, 1.0], count)
    known = rng.choice([NAN, NAN, NAN, 0.0, 1.0], count)
    design[(rng.random(count) < 0.1) & ~np.isnan(known)] = 0.0
    expected = rng.choice([0.5, 1.0, 2.0], count)
    return design + 2 * rng.standard_normal(count), expected, design, known


def test_few_scores_stay_as_they_are() -> None:
    given = drawn(100)
    found = condensed(*given, most=100)
    for mine, of in zip((found.score, found.expected, found.design, found.known), given, strict=True):
        np.testing.assert_array_equal(mine, of)
    assert (found.counts == 1).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2000), st.integers(1, 300), st.integers(0, 2**31))
def test_all_are_counted_and_the_means_are_theirs(count: int, most: int, seed: int) -> None:
    score, expected, design, known = drawn(count, seed)
    found = condensed(score, expected, design, known, most)
    assert found.counts.sum() == count and len(found.score) <= most + 18 * (count > most)
    side = np.where(design != 0, design, np.where(known == 0, -1, 1)) if count > most else 1
    for mine, of in ((found.score, score * side), (found.expected, expected)):
        assert found.counts @ mine == pytest.approx(of.sum(), abs=1e-9)
    assert found.counts @ obeyed(found.design, found.known) == obeyed(design, known).sum()


def obeyed(design: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Where people say that what was meant is the better one."""
    found: np.ndarray = (design != 0) & (2 * known - 1 == design)
    return found


def test_which_image_is_called_the_first_changes_nothing() -> None:
    score, expected, design, known = drawn(3000)
    turned = np.random.default_rng(1).choice([-1.0, 1.0], 3000)
    one = condensed(score, expected, design, known, 200)
    other = condensed(score * turned, expected, design * turned, np.where(turned < 0, 1 - known, known), 200)
    for name in ("score", "expected", "design", "known", "counts"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_where_each_score_has_its_own_expectation_near_ones_are_put_together() -> None:
    rng = np.random.default_rng(2)
    expected = rng.random(20_000) + 0.5
    found = condensed(rng.standard_normal(20_000), expected, np.ones(20_000), np.full(20_000, NAN), 2000)
    assert len(found.score) <= 2000 + condense.LEVELS
    assert found.counts @ found.expected == pytest.approx(expected.sum())
    assert 0.5 < found.expected.min() < 0.52 and 1.48 < found.expected.max() < 1.5


def test_the_likelihood_of_a_link_is_that_of_all_scores() -> None:
    given = drawn(60_000, 3)
    whole, some = condensed(*given, most=60_000), condensed(*given, most=3000)
    worth = Worth(1.0, 4.0)

    def total(at: np.ndarray, of: condense.Scores) -> float:
        return float(of.counts @ posterior.likelihood(at, of, worth, 0.3))

    links = [np.array(at) for at in ([-1.4, -0.7, -1.5, 0.0], [-2.5, 0.2, -3.0, 0.2], [0.5, -1.5, 1.0, -0.1])]
    for one, other in zip(links, links[1:], strict=False):
        apart = total(one, whole) - total(other, whole)
        assert total(one, some) - total(other, some) == pytest.approx(apart, rel=0.01)
