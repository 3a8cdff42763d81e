import math
from typing import Any

import numpy as np
import pytest

from datagen.labels import rules, verdicts
from datagen.recipe import Labels, Profile, Recipe
from datagen.records import Label, Verdict

NAN = math.nan


def recipe(**labels: Any) -> Recipe:
    profile = Profile.model_validate(
        {"model": "embedded", "taxonomy": "t", "grammar": "g", "steps": 1, "guidance": 1.0, "width": 64, "height": 64,
         "judges": ["clip"]}
    )  # fmt: skip
    return Recipe(name="r", license="x", pairing="contrast", labels=Labels(**labels), profiles={"p": profile})


def verdict(lean: list[float], **axes: Any) -> Verdict:
    silent = [NAN] * len(lean)
    values = {"reason": None, "principle": silent, "wording": silent, "match": silent, "share": NAN} | axes
    return Verdict("i", "p", "chosen", 0, lean=lean, **values)


def label(probability: float = 0.97, low: float = 0.9, prompt: str = "p", name: str = "a") -> Label:
    return Label(prompt, name, "b", None, probability, low, 0.99, probability)


def refusal(of: Recipe, chosen: Verdict, rejected: Verdict, said: Label) -> str | None:
    (found,) = rules.refusals(of, [(chosen, rejected)], [said])
    return found


@pytest.mark.parametrize(
    ("rule", "chosen", "rejected", "passes"),
    [
        ("all", verdict([1.0, 0.5]), verdict([0.0, 0.0]), True),
        ("all", verdict([1.0, -0.5]), verdict([0.0, 0.0]), False),
        ("all", verdict([1.0, 0.0]), verdict([0.0, 0.0]), False),  # a tie prefers nobody
        ("all", verdict([1.0, NAN]), verdict([0.0, 5.0]), True),
        ("posterior", verdict([1.0, -0.5]), verdict([0.0, 0.0]), True),
        (
            "principle",
            verdict([1.0], principle=[2.0], match=[1.0]),
            verdict([0.0], principle=[1.0], match=[1.0]),
            True,
        ),
        (
            "principle",
            verdict([1.0], principle=[2.0], match=[0.5]),
            verdict([0.0], principle=[1.0], match=[1.0]),
            False,
        ),
        ("principle", verdict([1.0]), verdict([0.0]), False),  # nobody spoke of the principle
        ("pareto", verdict([1.0], wording=[1.0]), verdict([0.0], wording=[0.0]), True),
        ("pareto", verdict([1.0], wording=[1.0], match=[0.0]), verdict([0.0], wording=[0.0], match=[0.1]), False),
        ("pareto", verdict([1.0]), verdict([0.0]), False),
    ],
)
def test_a_rule_asks_for_more_than_the_probability(
    rule: str, chosen: Verdict, rejected: Verdict, passes: bool
) -> None:
    assert refusal(recipe(rule=rule), chosen, rejected, label()) == (None if passes else f"rule {rule}")


def test_limits_are_of_the_probability_and_of_the_lower_end_of_its_interval() -> None:
    two = verdict([1.0]), verdict([0.0])
    assert refusal(recipe(min_probability=0.97), *two, label(0.97)) is None
    assert refusal(recipe(min_probability=0.98), *two, label(0.97)) == "low probability"
    assert refusal(recipe(min_low=0.9), *two, label(low=0.9)) is None
    assert refusal(recipe(min_low=0.95), *two, label(low=0.9)) == "uncertain"


PRINCIPLES = {"p": "one", "q": "one", "r": "two"}


def kept(rows: list[Label]) -> list[str]:
    return [row.chosen_id for row in rows if row.reason is None]


@pytest.mark.parametrize(
    ("labels", "left", "reasons"),
    [
        ({}, ["a", "b", "c", "d"], set()),
        ({"most_each_prompt": 1}, ["b", "c", "d"], {"more of its prompt"}),
        ({"most_each_principle": 2}, ["b", "c", "d"], {"more of its principle"}),
        ({"balanced": True}, ["b", "d"], {"more of its principle"}),
        (
            {"most_each_prompt": 1, "most_each_principle": 1},
            ["b", "d"],
            {"more of its prompt", "more of its principle"},
        ),
    ],
)
def test_caps_keep_the_most_certain_and_say_what_they_drop(
    labels: dict[str, Any], left: list[str], reasons: set[str]
) -> None:
    rows = [
        label(0.91, prompt="p", name="a"),
        label(0.99, prompt="p", name="b"),
        label(0.95, prompt="q", name="c"),
        label(0.92, prompt="r", name="d"),
        Label("r", "e", "f", "no judge"),
    ]
    found = rules.capped(recipe(**labels), rows, PRINCIPLES)
    assert kept(found) == left
    assert {row.reason for row in found[:4]} - {None} == reasons
    assert found[4] == rows[4]


def test_of_equally_certain_pairs_the_first_stay() -> None:
    rows = [label(0.95, name=name) for name in "abc"]
    assert kept(rules.capped(recipe(most_each_prompt=2), rows, PRINCIPLES)) == ["a", "b"]


def test_many_are_looked_at_together_and_each_has_the_reason_that_goes_before() -> None:
    good = verdict([1.0], principle=[1.0], wording=[1.0], match=[0.0]), verdict([0.0], principle=[0.0], wording=[0.0])
    against = verdict([1.0], principle=[-1.0], wording=[1.0]), verdict([0.0], principle=[0.0], wording=[0.0])
    worded = verdict([1.0], principle=[1.0], wording=[-1.0]), verdict([0.0], principle=[0.0], wording=[0.0])
    elsewhere = verdict([1.0], reason="shows another prompt"), verdict([0.0])
    unlike = verdict([1.0], share=0.1), verdict([0.0])
    twos = [good, against, worded, elsewhere, unlike, good]
    said = [*[label()] * 5, label(0.2)]
    assert rules.refusals(recipe(min_match=0.5, min_probability=0.5), twos, said) == [
        None, "against its principle", "against its wordings", "shows another prompt", "low match", "low probability",
    ]  # fmt: skip
    assert rules.refusals(recipe(rule="all"), [], []) == []


def test_judges_that_cancel_out_add_up_to_nothing_whatever_the_rounding() -> None:
    tied = verdict([1.0] * 3, principle=[1.0] * 3, match=[0.1, 0.2, -0.3]), verdict([0.0] * 3, match=[0.0] * 3)
    told = verdict([1.0] * 3, principle=[0.0] * 3), verdict([0.0] * 3, principle=[-1.0] * 3)
    total = math.fsum([0.1, 0.2, -0.3])  # which is above 0, as these numbers are stored
    found = verdicts.totals(verdicts.margins([tied, told], "match"))
    assert found[0] == total and math.isnan(found[1])
    exact = verdicts.totals(np.array([[1e16, 1.0, -1e16], [NAN, 0.0, NAN], [NAN, NAN, NAN]]))
    assert exact[0] == 1.0 and exact[1] == 0.0 and math.isnan(exact[2])
