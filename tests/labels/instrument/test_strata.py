"""A stratum that the judges cannot read, told from one in which the model did not obey."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datagen.labels import instrument

Numbers = NDArray[np.float64]
STRENGTH = np.array([2.0, 1.5, 1.2, 1.0])


def run(seed: int, each: int = 500) -> tuple[Numbers, Numbers, list[str]]:
    """Margins, truth and strata of 'read', which is obeyed in 90 %, and 'blind', in which margins are chance."""
    rng = np.random.default_rng(seed)
    strata = ["read"] * (3 * each) + ["blind"] * each
    truth = np.where(rng.random(len(strata)) < 0.9, 1.0, -1.0)
    seen = np.where(np.array(strata) == "read", truth, rng.choice([1.0, -1.0], len(strata)))
    return seen[:, None] * STRENGTH + rng.standard_normal((len(strata), 4)), truth, strata


def labelled(margins: Numbers, strata: list[str]) -> instrument.Labels:
    count = len(margins)
    names = [f"p{k}" for k in range(count)]
    return instrument.label(margins, np.ones(count), np.zeros(count), np.full(count, np.nan), names, strata=strata)


def test_where_judges_are_chance_labels_rest_on_the_design_and_it_is_said() -> None:
    margins, truth, strata = run(seed=1)
    found = labelled(margins, strata)
    blind = np.array(strata) == "blind"
    assert np.ptp(found.probability[blind]) < 0.3 and found.probability[blind].max() < 0.97
    assert abs(found.probability[blind].mean() - 0.9) < 0.07
    sure = found.probability > 0.97
    assert sure.mean() > 0.5 and (truth[sure] > 0).mean() > 0.98
    assert any(note.startswith("In blind the judges cannot read") for note in found.notes)
    assert not any(note.startswith("In read") for note in found.notes)


def test_a_stratum_that_is_obeyed_less_keeps_its_judges() -> None:
    rng = np.random.default_rng(2)
    strata = ["good"] * 1200 + ["worse"] * 600
    truth = np.where(rng.random(1800) < np.where(np.array(strata) == "good", 0.95, 0.7), 1.0, -1.0)
    margins = truth[:, None] * STRENGTH + rng.standard_normal((1800, 4))
    found = labelled(margins, strata)
    worse = np.array(strata) == "worse"
    assert ((found.probability > 0.5) == (truth > 0))[worse].mean() > 0.96
    assert abs(found.obedience["worse"].value - 0.7) < 0.08 < found.obedience["good"].value - 0.7
    assert not any("cannot read" in note for note in found.notes)
