"""The most likely link: that of the scores it was drawn from, deeper than where it began, as sure as they are many."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from datagen.labels.instrument import link as links
from datagen.labels.instrument.link import Link
from datagen.labels.instrument.moments import Moments
from datagen.labels.instrument.posterior import Posterior
from datagen.labels.instrument.worth import Worth

# Three judges that agree with each other as much as with a design that is right in 80 % of the pairs.
AGREED = Moments(np.array([[1.0, 0.25, 0.25], [0.25, 1.0, 0.25], [0.25, 0.25, 1.0]]), np.full(3, 0.5 * 0.6))
RIGHT = 0.8


def drawn(count: int, seed: int) -> Posterior:
    """Of scores of mean ±1 along the truth, equally clear, with normal noise of variance 1."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([-1.0, 1.0], count)
    design = np.where(rng.random(count) < RIGHT, truth, -truth)
    score = truth + rng.standard_normal(count)
    worth = Worth(2 * RIGHT - 1, 2.0)
    return Posterior.of(score, np.ones(count), design, np.full(count, np.nan), worth, AGREED)


def test_the_link_of_many_scores_is_that_which_they_were_drawn_with() -> None:
    of = drawn(20_000, 1)
    deepest = of.valley(links.EXPECTED, of.every)
    at = of.best(deepest)
    assert Link.of(at).error == pytest.approx(1 - RIGHT, abs=0.015)
    assert Link.of(at).spread < 0.3  # equally clear
    for begin in (links.EXPECTED, deepest, np.array([special.logit(0.6), -0.7, -1.5, 0.0])):
        assert of.loss(at, of.every, of.shape) <= of.loss(begin, of.every, of.shape)


def test_four_times_the_scores_are_twice_as_sure_of_the_error() -> None:
    widths = []
    for count in (4_000, 16_000):
        of = drawn(count, 2)
        information = of.information(of.best(of.valley(links.EXPECTED, of.every)))
        assert (np.linalg.eigvalsh(information) > 0).all()
        widths.append(np.sqrt(np.linalg.inv(information)[0, 0]))
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.25)


def test_votes_say_nothing_of_how_clear_pairs_are() -> None:
    scores = np.ones(50), np.ones(50), np.ones(50), np.full(50, np.nan)
    votes = Worth(0.6, 2.0, (np.full(3, 1 / 3), np.full(3, 0.3)))
    of = Posterior.of(*scores, votes, AGREED)
    assert of.shape == 0 and of.centre[1] < links.EXPECTED[1] and of.doubt[1] < links.SURE[1]
