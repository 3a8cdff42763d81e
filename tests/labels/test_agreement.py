import math

import pytest

from datagen.labels.agreement import agreements


def test_closed_form_of_share_and_kappa() -> None:
    # yes/yes 2, yes/no 1, no/yes 0, no/no 1: share 3/4; marginals 3/4 and 2/4; chance 1/2; kappa (3/4 - 1/2) / (1/2).
    (agreement,) = agreements({"b": [1, 1, -1, -1], "a": [1, 1, 1, -1]})
    assert (agreement.first, agreement.second, agreement.pairs) == ("a", "b", 4)
    assert agreement.share == pytest.approx(0.75)
    assert agreement.kappa == pytest.approx(0.5)


def test_ties_and_abstentions_say_nothing() -> None:
    (agreement,) = agreements({"a": [1, None, 0.0, 2, -1], "b": [1, 1, 1, None, -3]})
    assert (agreement.pairs, agreement.share, agreement.kappa) == (2, 1.0, 1.0)


def test_undefined_is_nan() -> None:
    nothing, constant = agreements({"a": [None], "b": [1]})[0], agreements({"a": [1, 2], "b": [1, 1]})[0]
    assert nothing.pairs == 0 and math.isnan(nothing.share) and math.isnan(nothing.kappa)
    assert constant.share == 1.0 and math.isnan(constant.kappa)


def test_every_two_of_three_judges_in_order() -> None:
    found = agreements({"c": [1], "a": [1], "b": [-1]})
    assert [(a.first, a.second) for a in found] == [("a", "b"), ("a", "c"), ("b", "c")]
