import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.labels import aggregate

scores = st.floats(-1, 1)
values = st.fixed_dictionaries({"match": scores, "aligned": scores, "violating": scores})
margins = st.lists(st.tuples(st.floats(0.1, 100), st.one_of(st.none(), st.floats(-2, 2))), max_size=5)


def test_one_judge_is_bradley_terry() -> None:
    m = aggregate.margin({"aligned": 0.9, "violating": 0.2}, {"aligned": 0.3, "violating": 0.6})
    assert m == pytest.approx(1.0)
    label = aggregate.label([(2.0, m)])
    assert label is not None
    assert label.probability == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert label.margin == pytest.approx(1.0)


def test_log_odds_of_judges_add_up_and_the_margin_is_weighted_by_scale() -> None:
    label = aggregate.label([(20.0, 0.1), (5.0, -0.2), (100.0, None)])
    assert label is not None
    assert label.probability == pytest.approx(1 / (1 + math.exp(-1.0)))
    assert label.margin == pytest.approx((20 * 0.1 - 5 * 0.2) / 25)


@pytest.mark.parametrize("given_margins", [[], [(1.0, None)], [(1.0, None), (20.0, None)]])
def test_no_label_when_all_judges_abstain(given_margins: list[tuple[float, float | None]]) -> None:
    assert aggregate.label(given_margins) is None


@pytest.mark.parametrize("missing", ["aligned", "violating"])
@pytest.mark.parametrize("side", [0, 1])
def test_a_judge_that_abstains_on_one_score_abstains_on_the_pair(missing: str, side: int) -> None:
    pair = [{"aligned": 0.5, "violating": 0.1}, {"aligned": 0.2, "violating": 0.3}]
    pair[side][missing] = None  # type: ignore[assignment]
    assert aggregate.margin(*pair) is None
    del pair[side][missing]
    assert aggregate.margin(*pair) is None


@given(values, values, st.floats(0.1, 100))
def test_swapping_chosen_and_rejected_flips_the_label(
    one: dict[str, float], other: dict[str, float], scale: float
) -> None:
    forth = aggregate.label([(scale, aggregate.margin(one, other))])
    back = aggregate.label([(scale, aggregate.margin(other, one))])
    assert forth is not None and back is not None
    assert forth.probability == pytest.approx(1 - back.probability, abs=1e-12)
    assert forth.margin == pytest.approx(-back.margin, abs=1e-12)


@given(margins)
def test_probabilities_are_probabilities_whatever_the_order_of_judges(
    spoken: list[tuple[float, float | None]],
) -> None:
    label = aggregate.label(spoken)
    assert label == aggregate.label(spoken[::-1])
    if label is not None:
        assert 0 <= label.probability <= 1
        assert (label.probability > 0.5) <= (label.margin > 0)


@given(st.floats(0.1, 100), st.floats(-2, 2))
def test_a_judge_that_abstains_changes_nothing(scale: float, m: float) -> None:
    assert aggregate.label([(scale, m), (50.0, None)]) == aggregate.label([(scale, m)])


@pytest.mark.parametrize("m", [-1e6, 1e6])
def test_no_overflow_at_either_end(m: float) -> None:
    label = aggregate.label([(1e3, m)])
    assert label is not None
    assert label.probability == (1.0 if m > 0 else 0.0)
