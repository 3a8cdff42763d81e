"""Agreement beyond chance, against published examples, against the definitions written out, and where it is none."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.labels.audit import agreement

NAN = float("nan")


def krippendorff(units: list[list[float]], distance: Callable[[float, float], float]) -> float:
    """Alpha by its definition: the mean distance within units over that of all values."""
    kept = [[value for value in unit if not np.isnan(value)] for unit in units]
    kept = [unit for unit in kept if len(unit) > 1]
    values = [value for unit in kept for value in unit]
    within = sum(sum(distance(a, b) for a, b in itertools.permutations(u, 2)) / (len(u) - 1) for u in kept)
    apart = sum(distance(a, b) for a, b in itertools.permutations(values, 2))
    return 1 - (len(values) - 1) * within / apart if apart else NAN


def differ(a: float, b: float) -> float:
    return float(a != b)


def squared(a: float, b: float) -> float:
    return (a - b) ** 2


def both_orders(margins: np.ndarray) -> list[list[float]]:
    return [*margins.tolist(), *(-margins).tolist()]


def test_the_definition_gives_the_published_values() -> None:
    # Krippendorff's example of three coders and fifteen units: .691 nominal, .811 interval.
    a = [NAN] * 5 + [3, 4, 1, 2, 1, 1, 3, 3, NAN, 3]
    b = [1, NAN, 2, 1, 3, 3, 4, 3] + [NAN] * 7
    c = [NAN, NAN, 2, 1, 3, 4, 4, NAN, 2, 1, 1, 3, 3, NAN, 4]
    units = [list(unit) for unit in zip(a, b, c, strict=True)]
    assert krippendorff(units, differ) == pytest.approx(0.691, abs=0.0005)
    assert krippendorff(units, squared) == pytest.approx(0.811, abs=0.0005)


tables = st.lists(
    st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 3.0, NAN]), min_size=3, max_size=3), min_size=1, max_size=12
)


@given(tables)
def test_alpha_is_that_of_all_pairs_in_both_orders(rows: list[list[float]]) -> None:
    margins = np.array(rows)
    prompts = np.arange(len(rows))
    signs = np.sign(margins)
    for found, expected in (
        (agreement.alpha_nominal(margins, prompts), krippendorff(both_orders(signs), differ)),
        (agreement.alpha_interval(margins, prompts), krippendorff(both_orders(margins), squared)),
    ):
        assert found.value == pytest.approx(expected, nan_ok=True)


@given(tables)
def test_which_image_comes_first_does_not_matter(rows: list[list[float]]) -> None:
    margins, prompts = np.array(rows), np.arange(len(rows))
    turned = margins * np.where(prompts % 2, 1, -1)[:, None]
    for measure in (agreement.fleiss, agreement.alpha_nominal, agreement.alpha_interval):
        assert measure(turned, prompts).value == pytest.approx(measure(margins, prompts).value, nan_ok=True)


def test_cohens_example() -> None:
    # 50 proposals, two readers: both yes 20, both no 15, apart 5 and 10: kappa .4.
    cells = [(1.0, 1.0)] * 20 + [(1.0, -1.0)] * 5 + [(-1.0, 1.0)] * 10 + [(-1.0, -1.0)] * 15
    one, other = np.array(cells).T
    found = agreement.cohen(one, other, np.arange(50))
    assert found.value == pytest.approx(0.4) and found.count == 50
    assert found.low < 0.4 < found.high and 0.2 < found.high - found.low < 0.7


def test_two_judges_have_the_same_kappa_by_cohen_and_by_fleiss_where_they_tie_equally_often() -> None:
    random = np.random.default_rng(0)
    one = random.choice([1.0, -1.0], 400)
    other = np.where(random.random(400) < 0.8, one, -one)
    prompts = np.arange(400)
    fleiss = agreement.fleiss(np.stack([one, other], 1), prompts)
    assert fleiss.value == pytest.approx(agreement.cohen(one, other, prompts).value) == pytest.approx(0.6, abs=0.1)


def test_fleiss_written_out() -> None:
    # Three judges, two pairs: 3 for the first; 2 for the first and 1 tie. In both orders: P = (1 + 1/3) / 2,
    # shares 5/12, 2/12, 5/12, so P_e = (25 + 4 + 25) / 144.
    found = agreement.fleiss(np.array([[1.0, 2.0, 3.0], [1.0, 5.0, 0.0], [NAN, 1.0, 1.0]]), np.arange(3))
    assert found.value == pytest.approx((2 / 3 - 54 / 144) / (1 - 54 / 144)) and found.count == 2


def test_chance_agreement_is_none_and_its_interval_says_so() -> None:
    random = np.random.default_rng(1)
    margins, prompts = random.normal(size=(3000, 4)), np.arange(3000)
    for found in (
        agreement.cohen(margins[:, 0], margins[:, 1], prompts),
        agreement.fleiss(margins, prompts),
        agreement.alpha_nominal(margins, prompts),
        agreement.alpha_interval(margins, prompts),
    ):
        assert abs(found.value) < 0.04 and found.low < 0 < found.high


def test_judges_that_prefer_the_first_of_every_pair_agree_fully_and_not_by_chance() -> None:
    margins = np.ones((20, 2))
    assert agreement.cohen(margins[:, 0], margins[:, 1], np.arange(20)).value == 1.0
    assert agreement.alpha_nominal(margins, np.arange(20)).value == 1.0


@pytest.mark.parametrize(
    "margins", [np.full((4, 2), NAN), np.zeros((4, 2)), np.empty((0, 2)), np.array([[1.0, NAN], [NAN, 1.0]])]
)
def test_where_nothing_differs_or_nothing_overlaps_there_is_no_number(margins: np.ndarray) -> None:
    prompts = np.arange(len(margins))
    for found in (
        agreement.cohen(margins[:, 0], margins[:, 1], prompts),
        agreement.fleiss(margins, prompts),
        agreement.alpha_nominal(margins, prompts),
        agreement.alpha_interval(margins, prompts),
    ):
        assert np.isnan(found.value) and found.count == 0


def test_margins_in_one_unit_have_a_root_mean_square_of_one() -> None:
    margins = np.array([[1.0, 100.0, 0.0], [-1.0, NAN, 0.0], [2.0, -300.0, NAN]])
    found = agreement.in_one_unit(margins)
    np.testing.assert_allclose(np.nanmean(found[:, :2] ** 2, 0), 1)
    assert np.isnan(found[:, 2]).all() and np.isnan(found[1, 1])
