"""How a score becomes log-odds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datagen.labels.instrument import link as links


@given(
    st.floats(0.05, 2.0), st.floats(0.003, 0.44), st.floats(0.05, 5.0), st.floats(-0.5, 0.5), st.integers(0, 2**31)
)  # fmt: skip
def test_many_scores_with_the_same_noise_are_read_off_a_table_and_change_by_nothing(spread, tail, noise, other, seed):
    random = np.random.default_rng(seed)
    y, link = random.standard_t(5, 20_000), links.Link(0.1, spread, tail, np.exp(other))
    variance = noise * random.choice([1.0, 1.3], len(y))
    exactly, _ = links.odds_and_density(y, variance, link)
    np.testing.assert_allclose(links.odds(y, variance, link), exactly, rtol=1e-5, atol=2e-5)


def test_who_said_nothing_adds_nothing_among_any_others():
    y, link = np.linspace(-3, 3, 5_000), links.Link.of(links.EXPECTED)
    variance = np.where(np.arange(len(y)) % 7 == 0, np.inf, 0.5)
    found = links.odds(y, variance, link)
    assert not found[np.isinf(variance)].any()
    np.testing.assert_allclose(found, links.odds_and_density(y, variance, link)[0], atol=2e-5)
    assert not links.odds(y, np.full(len(y), np.inf), link).any()


def test_scores_of_which_hardly_two_have_the_same_noise_are_not_read_off_anything():
    random = np.random.default_rng(0)
    y, variance, link = random.normal(size=3_000), random.uniform(0.1, 2, 3_000), links.Link.of(links.EXPECTED)
    np.testing.assert_array_equal(links.odds(y, variance, link), links.odds_and_density(y, variance, link)[0])


def test_scores_that_are_all_nothing_say_nothing():
    assert not links.odds(np.zeros(100), np.ones(100), links.Link.of(links.EXPECTED)).any()
