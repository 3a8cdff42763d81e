import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.labels import aggregate
from datagen.labels.aggregate import Reading

UNIT = Reading(1.0)
scores = st.floats(-1, 1)
texts = st.fixed_dictionaries(
    {axis: scores for axis in ("aligned", "violating", "keeps", "breaks", "match", "others")}
)
maybe = st.one_of(st.none(), st.floats(-40, 40))


def odds(p: float) -> float:
    return math.log(p / (1 - p))


def test_one_judge_is_bradley_terry() -> None:
    reading = Reading(2.0)
    chosen, rejected = ({"aligned": 0.9, "violating": 0.2}, {"aligned": 0.3, "violating": 0.6})
    margin = aggregate.difference([aggregate.lean(reading, chosen)], [aggregate.lean(reading, rejected)])
    label = aggregate.label(margin)
    assert label is not None
    assert label.probability == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert label.margin == pytest.approx(2.0)


def test_an_image_is_read_by_its_wordings_and_by_the_principle_and_a_judge_counts_once() -> None:
    values = {"aligned": 0.9, "violating": 0.1, "keeps": 0.5, "breaks": 0.3, "match": 0.7, "others": 0.2}
    assert aggregate.wording(Reading(10), values) == pytest.approx(8)
    assert aggregate.principle(Reading(10), values) == pytest.approx(2)
    assert aggregate.lean(Reading(10), values) == pytest.approx(5)
    assert aggregate.match(Reading(10), values) == pytest.approx(5)


def test_what_is_not_read_from_texts_is_added_in_log_odds() -> None:
    assert aggregate.lean(Reading(3), {"image": 0.5}) == pytest.approx(1.5)
    assert aggregate.lean(Reading(3, higher_is_better=False), {"image": 0.5}) == pytest.approx(-1.5)
    assert aggregate.lean(UNIT, {"question": 0.8, "beats": 0.9}) == pytest.approx(odds(0.8) + odds(0.9) / 2)
    assert aggregate.principle(UNIT, {"question": 1.0}) == aggregate.CERTAIN
    assert aggregate.lean(UNIT, {"question": 0.0}) == -aggregate.CERTAIN
    assert aggregate.wording(UNIT, {"question": 0.8}) is None


@pytest.mark.parametrize("missing", ["aligned", "violating"])
def test_a_judge_that_abstains_on_one_text_says_nothing_by_these_two(missing: str) -> None:
    values: dict[str, float | None] = {"aligned": 0.5, "violating": 0.1}
    values[missing] = None
    assert aggregate.lean(UNIT, values) is None
    assert aggregate.lean(UNIT, values | {"keeps": 0.3, "breaks": 0.1}) == pytest.approx(0.2)
    del values[missing]
    assert aggregate.lean(UNIT, values) is None


def test_log_odds_of_judges_add_up_and_one_that_abstains_on_either_image_counts_for_neither() -> None:
    assert aggregate.difference([2.0, -1.0, 5.0, None], [0.0, 0.5, None, 3.0]) == pytest.approx(0.5)
    assert aggregate.difference([None, 1.0], [1.0, None]) is None
    assert aggregate.difference([], []) is None
    assert aggregate.label(None) is None


def test_a_liking_for_the_first_place_is_taken_out_of_a_comparison() -> None:
    fair, biased = {("a", "b"): 0.8, ("b", "a"): 0.2}, {("a", "b"): 0.95, ("b", "a"): 0.5}
    assert aggregate.standing(fair) == pytest.approx({"a": 0.8, "b": 0.2})
    both = aggregate.standing(biased)
    assert both["a"] == pytest.approx(aggregate.sigmoid((odds(0.95) - odds(0.5)) / 2))
    assert both["a"] == pytest.approx(1 - (both["b"] or 0))
    assert aggregate.standing({("a", "b"): 0.9, ("b", "a"): 0.9}) == pytest.approx({"a": 0.5, "b": 0.5})
    assert aggregate.standing({("a", "b"): 0.9, ("b", "a"): None}) == {"a": None, "b": None}


def test_an_image_that_met_several_stands_at_the_mean_of_its_log_odds() -> None:
    met = {("a", "b"): 0.8, ("b", "a"): 0.2, ("a", "c"): 0.6, ("c", "a"): 0.4}
    assert aggregate.standing(met)["a"] == pytest.approx(aggregate.sigmoid((odds(0.8) + odds(0.6)) / 2))


@given(texts, texts, st.floats(0.1, 100))
def test_swapping_chosen_and_rejected_flips_the_label(
    one: dict[str, float], other: dict[str, float], scale: float
) -> None:
    leans = [aggregate.lean(Reading(scale), values) for values in (one, other)]
    forth = aggregate.label(aggregate.difference(leans[:1], leans[1:]))
    back = aggregate.label(aggregate.difference(leans[1:], leans[:1]))
    assert forth is not None and back is not None
    assert forth.probability == pytest.approx(1 - back.probability, abs=1e-12)
    assert forth.margin == pytest.approx(-back.margin, abs=1e-12)


@given(st.lists(st.tuples(maybe, maybe), max_size=5))
def test_probabilities_are_probabilities_whatever_the_order_of_judges(
    spoken: list[tuple[float | None, float | None]],
) -> None:
    def of(given: list[tuple[float | None, float | None]]) -> aggregate.Label | None:
        return aggregate.label(aggregate.difference([one for one, _ in given], [other for _, other in given]))

    label = of(spoken)
    assert label == of(spoken[::-1]) == of([*spoken, (None, 1.0)])
    if label is not None:
        assert 0 <= label.probability <= 1
        assert (label.probability > 0.5) <= (label.margin > 0)
