"""Rates and match against hand counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from training.evaluation.attributes import match, rates
from training.evaluation.observations import Observations


def observed(stated: list[Mapping[str, object]], *shown: tuple[int, Mapping[str, object]]) -> Observations:
    return Observations(
        [f"prompt {i}" for i in range(len(stated))], stated, np.array([p for p, _ in shown]), [s for _, s in shown]
    )


def test_rates_tell_asked_from_unasked() -> None:
    one = observed(
        [{}, {}, {"hazard": "cracks"}, {"hazard": "cracks"}],
        (0, {"hazard": "smoke"}), (0, {"hazard": "none"}), (1, {"hazard": "cracks"}),
        (2, {"hazard": "cracks"}), (3, {"hazard": "none"}),
    )  # fmt: skip
    found = rates(one, "hazard", {"none", "smoke", "cracks"})
    assert found["hazard.unasked.smoke"].value == pytest.approx(1 / 3)
    assert found["hazard.unasked"].value == pytest.approx(2 / 3)
    assert found["hazard.asked.cracks"].value == 0.5
    assert "hazard.asked.smoke" not in found
    assert "hazard.unasked" not in rates(one, "hazard", {"smoke"})  # nothing says what "absent" is


def test_match_counts_stated_attributes_only() -> None:
    stated = {"place": "park", "thing": "cup"}
    one = observed(
        [stated, stated, {}],
        (0, {"place": "park", "thing": "cup", "coat": "amber"}),
        (1, {"place": "park", "thing": "box", "coat": "amber"}),
        (2, {"place": "city", "thing": "box"}),
    )
    found = match(one, [])
    assert {name: figure.value for name, figure in found.items()} == {
        "match": 0.75, "match.all": 0.5, "match.place": 1.0, "match.thing": 0.5,
    }  # fmt: skip
    assert match(one, ["thing"])["match"].value == 1.0
    assert match(one, ["thing", "place"]) == {}
