import math

import pytest

from datagen.labels import aggregate
from datagen.labels.aggregate import Reading

UNIT = Reading(1.0)


def odds(p: float) -> float:
    return math.log(p / (1 - p))


def test_one_judge_is_bradley_terry() -> None:
    reading = Reading(2.0)
    chosen, rejected = ({"aligned": 0.9, "violating": 0.2}, {"aligned": 0.3, "violating": 0.6})
    one, other = (aggregate.lean(reading, values) for values in (chosen, rejected))
    assert one is not None and other is not None
    assert aggregate.sigmoid(one - other) == pytest.approx(1 / (1 + math.exp(-2.0)))


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


def test_log_odds_of_judges_add_up_and_one_that_abstains_says_nothing() -> None:
    assert aggregate.added([2.0, None, -1.5]) == pytest.approx(0.5)
    assert aggregate.added([None, None]) is None
    assert aggregate.added([]) is None


@pytest.mark.parametrize("p", [0.0, 1e-15, 0.2, 0.5, 1 - 1e-15, 1.0])
def test_log_odds_of_a_probability_that_was_rounded_to_certainty_are_finite(p: float) -> None:
    assert math.isfinite(aggregate.log_odds(p))
    assert aggregate.log_odds(p) == pytest.approx(-aggregate.log_odds(1 - p))
    assert aggregate.log_odds(0.2) == pytest.approx(odds(0.2))


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
