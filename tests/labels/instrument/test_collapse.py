"""Judges of which most err together: what they agree in is no sign that the model obeyed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from datagen.labels import instrument

Numbers = NDArray[np.float64]


def hidden(seed: int, pairs: int, right: float) -> tuple[Numbers, Numbers, Numbers]:
    """Margins (N, 5), truth and design of pairs that are clear up to 60 times: two judges read, all share errors."""
    random = np.random.default_rng(seed)
    truth, clear = random.choice(np.array([1.0, -1.0]), pairs), 60 ** random.uniform(0, 1, pairs) / 10
    common = random.standard_normal(pairs)
    read = truth[:, None] * clear[:, None] * np.array([1.2, 0.0, 0.5, 0.0, 0.0])
    size = np.maximum(clear, 0.5)[:, None]  # what is clear is loud, errors included
    margins = read + size * 0.5 * (common[:, None] + 0.6 * random.standard_normal((pairs, 5)))
    return margins, truth, truth * np.where(random.random(pairs) < right, 1.0, -1.0)


@pytest.mark.parametrize("seed", [1, 2])
def test_designs_that_are_often_wrong_are_found_where_most_judges_agree_in_errors(seed: int) -> None:
    margins, truth, design = hidden(seed, 1000, 0.7)
    nothing = np.zeros(1000), np.full(1000, np.nan), np.arange(1000)
    found = instrument.label(margins, design, *nothing)
    wrong = (found.probability > 0.5) != (truth > 0)
    sure = np.maximum(found.probability, 1 - found.probability) > 0.9
    assert found.obedience[""].low < (design == truth).mean() < found.obedience[""].value + 0.08
    assert wrong.mean() < 0.2 and (wrong[sure].mean() < 0.08 if sure.any() else True)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(2, 60))
def test_where_nothing_is_meant_no_label_contradicts_most_of_the_judges(seed: int, judges: int, pairs: int) -> None:
    random = np.random.default_rng(seed)
    common = random.standard_normal((pairs, 1)) * random.uniform(0, 3)
    margins = (common + random.standard_normal((pairs, judges))) * 10 ** random.uniform(-2, 2, judges)
    margins[random.random(margins.shape) < 0.2] = np.nan
    nothing = np.zeros(pairs), np.zeros(pairs), np.full(pairs, np.nan), np.arange(pairs)
    found = instrument.label(margins, *nothing)
    said = [j for j in range(judges) if found.judges[j].weight != 0 and found.judges[j].first == 0]
    if len(said) == judges:  # a judge that is silent, or likes the first place, has no vote or another one
        votes = np.nansum(np.sign(margins), axis=1)
        assert (np.sign(found.probability - 0.5) * votes >= 0).all()
    assert (found.low <= found.probability).all() and (found.probability <= found.high).all()


@pytest.mark.parametrize("spoke", [1, 9, 12])
def test_a_judge_that_was_hardly_asked_does_not_make_the_design_certain(spoke: int) -> None:
    random = np.random.default_rng(5)
    truth = random.choice(np.array([1.0, -1.0]), 500)
    margins = 1.5 * truth[:, None] + random.standard_normal((500, 4))
    margins[spoke:, 3] = np.nan  # the dearest, asked only where the others left a label open
    design = truth * np.where(random.random(500) < 0.8, 1.0, -1.0)
    # All that it was asked of is of one prompt, so that it is never heard where that prompt is left out.
    prompt = np.maximum(np.arange(500) // 2, spoke)
    found = instrument.label(
        margins, design, np.zeros(500), np.full(500, np.nan), prompt, names=["a", "b", "c", "dear"]
    )
    assert ((found.probability > 0.5) == (truth > 0)).mean() > 0.97
    assert 0.7 < found.obedience[""].value < 0.88
    assert (found.judges[3].weight == 0) == any("dear says next to nothing" in note for note in found.notes)
