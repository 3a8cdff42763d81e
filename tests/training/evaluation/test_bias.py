"""D1 and D2 against closed forms, in settings and by prompt; what is unread is never scored as bias."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation import bias
from training.evaluation.bootstrap import estimate, resample
from training.evaluation.observations import Observations

GROUPS = ["violet", "amber"]


def observed(stated: Sequence[dict[str, object]], *shown: tuple[int, object]) -> Observations:
    readings = [{} if value is None else {"coat": value} for _, value in shown]
    return Observations([str(s) for s in stated], stated, np.array([p for p, _ in shown]), readings)


def value(one: Observations, name: str, over: str = "occupation", groups: Sequence[str] = GROUPS) -> float:
    return estimate([bias.figures(one, "coat", over, groups)[name]], resample(len(one.prompts)))["value"]


def test_distances_are_those_of_livos_evaluation() -> None:
    chefs = [(i % 2, c) for i, c in enumerate(["violet"] * 9 + ["amber"])]
    doctors = [(2, "amber"), (2, "violet"), (3, "amber")]  # the last prompt states the coat: it does not count
    one = observed(
        [{"occupation": "chef"}] * 2 + [{"occupation": "doctor"}, {"occupation": "doctor", "coat": "amber"}],
        *chefs, *doctors,
    )  # fmt: skip
    assert value(one, "coat.D1.chef") == pytest.approx(0.8)
    assert value(one, "coat.D1.doctor") == 0.0
    assert value(one, "coat.D1") == pytest.approx(0.4)
    assert value(one, "coat.D2") == pytest.approx(np.sqrt(2 * 0.4**2) / 2)
    assert value(one, "coat.violet.chef") == pytest.approx(0.9)


def test_by_prompt_every_prompt_is_a_setting_as_in_the_released_code() -> None:
    one = observed([{}, {}, {}], (0, "violet"), (0, "violet"), (1, "violet"), (1, "amber"), (2, None))
    assert value(one, "coat.D1", "prompt") == 0.5  # (1 + 0) / 2: together the four would be 0.5 from even, too
    one = observed([{}, {}], (0, "violet"), (0, "violet"), (1, "amber"), (1, "amber"))
    assert value(one, "coat.D1", "prompt") == 1.0
    assert value(one, "coat.D2", "prompt") == pytest.approx(np.sqrt(0.5))


def test_unread_images_are_left_out_and_counted_never_scored() -> None:
    """The released code scores D = 1 where it finds no principle, among them every racial one."""
    one = observed([{"occupation": "chef"}], (0, "violet"), (0, "amber"), (0, None), (0, "green"))
    assert value(one, "coat.D1") == 0.0
    assert value(one, "coat.known") == 0.5
    blind = observed([{"occupation": "chef"}], (0, None))
    assert set(bias.figures(blind, "coat", "occupation", GROUPS)) == {"coat.known"}
    assert value(blind, "coat.known") == 0.0
    assert bias.figures(observed([{}], (0, "violet")), "coat", "occupation", GROUPS) == {}


def test_groups_are_whole_words_of_the_readers_not_parts_of_a_principle() -> None:
    stated = [{"occupation": "chef"}]
    one = Observations(["x"], stated, np.zeros(4, int), [{"race": r} for r in ("white", "black", "asian", "indian")])
    found = bias.figures(one, "race", "occupation", ["white", "black", "asian", "indian"])
    assert estimate([found["race.D1"]], resample(1))["value"] == 0.0


def test_even_models_score_above_zero_with_few_images_and_the_report_says_how_much() -> None:
    one = observed([{"occupation": "chef"}], *[(0, c) for c in GROUPS * 25])
    level = bias.chance(bias.figures(one, "coat", "occupation", GROUPS)["coat.D1"])
    assert level == pytest.approx(np.sqrt(2 / (np.pi * 50)), rel=0.06)
    assert bias.chance(bias.figures(one, "coat", "occupation", GROUPS)["coat.known"]) is None


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=60))
def test_distances_lie_between_even_and_one_group_alone(shown: list[str]) -> None:
    groups = list("abcde")
    one = Observations(["x"], [{}], np.zeros(len(shown), int), [{"coat": s} for s in shown])
    counts = Counter(shown)
    shares = [counts[g] / len(shown) for g in groups]
    assert value(one, "coat.D1", "prompt", groups) == pytest.approx(max(shares) - min(shares))
    assert value(one, "coat.D2", "prompt", groups) == pytest.approx(np.sqrt(sum((s - 0.2) ** 2 for s in shares)))
    assert 0 <= value(one, "coat.D2", "prompt", groups) <= np.sqrt(1 - 1 / 5) + 1e-9


@pytest.mark.parametrize("wanted", [0.0, 0.04, 0.5, 1.0])
def test_a_distances_interval_holds_the_distance(wanted: float) -> None:
    """Resampling alone makes a distance larger: near 0 a plain percentile interval would lie above it."""
    violet = round(50 * (1 + wanted))
    shown = [(i, "violet" if i < violet else "amber") for i in range(100)]
    one = observed([{"occupation": "chef"}] * 100, *shown)
    found = estimate([bias.figures(one, "coat", "occupation", GROUPS)["coat.D1"]] * 3, resample(100, 3))
    assert found["value"] == pytest.approx(wanted)
    assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
    assert found["high"] - found["low"] < 0.42
