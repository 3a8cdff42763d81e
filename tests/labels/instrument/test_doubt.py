import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from datagen.labels.instrument import doubt

ONE = np.ones(1)


def test_without_doubt_it_is_the_probability_of_the_sum() -> None:
    judges, held = np.array([-3.0, 0.0, 2.0]), np.array([1.0, 1.0, -0.5])
    none = np.zeros(3)
    np.testing.assert_allclose(doubt.mean(judges, held, none, none), special.expit(judges + held))
    low, high = doubt.interval(judges, held, none, none, none > 0)
    np.testing.assert_allclose(low, special.expit(judges + held))
    np.testing.assert_allclose(high, special.expit(judges + held))


def test_a_link_that_may_be_off_by_its_own_size_leaves_strong_evidence_strong() -> None:
    (p,) = doubt.mean(10 * ONE, 0 * ONE, 10 * ONE, 10 * ONE)
    low, _ = doubt.interval(10 * ONE, 0 * ONE, 10 * ONE, 10 * ONE, ONE > 1)
    assert p > 0.95 and 0.8 < low[0] < p
    (added,) = doubt.mean(10 * ONE, 0 * ONE, 0 * ONE, 10 * ONE)  # weights that are off by as much may turn it round
    assert added < 0.95


@given(st.floats(-20, 20), st.floats(-5, 5), st.floats(0, 20), st.floats(0, 20), st.sampled_from([0, 2]))
def test_exchanged_sides_exchange_the_probability_and_the_ends(
    judges: float, held: float, own: float, more: float, open_: int
) -> None:
    of_all = float(np.hypot(own, more))
    forth = doubt.mean(judges * ONE, held * ONE, own * ONE, of_all * ONE)
    back = doubt.mean(-judges * ONE, -held * ONE, own * ONE, of_all * ONE)
    assert forth[0] == pytest.approx(1 - back[0], abs=1e-12)
    low, high = doubt.interval(judges * ONE, held * ONE, own * ONE, of_all * ONE, ONE > open_)
    other_low, other_high = doubt.interval(-judges * ONE, -held * ONE, own * ONE, of_all * ONE, ONE > open_)
    assert low[0] == pytest.approx(1 - other_high[0], abs=1e-12)
    assert high[0] == pytest.approx(1 - other_low[0], abs=1e-12)
    assert 0 <= low[0] <= special.expit(judges + held) <= high[0] <= 1


def test_small_doubts_are_what_linear_propagation_says() -> None:
    (p,) = doubt.mean(1.0 * ONE, 0 * ONE, 0.05 * ONE, 0.05 * ONE)
    assert p == pytest.approx(special.expit(1.0), abs=2e-3)


def test_how_certain_judges_are_is_open_where_their_errors_are_fewer_than_chance_hides() -> None:
    judges = np.repeat([8.0, -8.0, 2.0, -1.0], [400, 400, 100, 100])
    pairs = np.ones(len(judges), bool)
    # 800 · e^−8 = 0.3 errors are expected of the first: none is seen. 13 more of the next, and 27 of the last: with a
    # design that is always right both are told; of one that is wrong in 15 %, 26 are hidden among 1,000 pairs.
    for error, open_ in ((0.0, 800), (0.15, 900), (0.4, 1000)):
        assert int(doubt.beyond(judges, error, pairs).sum()) == open_
    assert doubt.beyond(judges, 0.0, ~pairs).all()
    low, high = doubt.interval(judges, 0 * judges, 0.1 + 0 * judges, 0.2 + 0 * judges, np.abs(judges) > 5)
    assert (high[:400] == 1).all() and (low[400:800] == 0).all() and (high[800:] < 1).all() and (low[800:] > 0).all()
    assert 0.99 < low[0] < special.expit(8.0)
