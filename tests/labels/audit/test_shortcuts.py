"""What predicts a winner by itself: planted shortcuts with the area that they must have, clean labels with none."""

from __future__ import annotations

import numpy as np
import pytest

from datagen.labels.audit import shortcuts


def sides(winner: np.ndarray, loser: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {"brightness": (winner, loser)}


def planted(share: float, count: int, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Two images of random brightness, of which the lighter one wins in a share of the pairs."""
    random = np.random.default_rng(seed)
    both = np.sort(random.random((count, 2)), axis=1)
    lighter = random.random(count) < share
    return sides(np.where(lighter, both[:, 1], both[:, 0]), np.where(lighter, both[:, 0], both[:, 1]))


@pytest.mark.parametrize("share", [0.7, 0.8, 0.95, 1.0, 0.1])
def test_a_planted_shortcut_has_its_area(share: float) -> None:
    # Of two predictions the larger one decides, and it is right in the planted share of the pairs, whatever its size.
    (found,) = shortcuts.audit(planted(share, 1500, 0), np.arange(1500))
    assert found.auc == pytest.approx(max(share, 1 - share), abs=0.03) and found.warned
    assert found.low is not None and found.high is not None and found.low <= found.auc <= found.high
    assert found.higher == pytest.approx(share, abs=0.03)


def test_a_liking_for_the_middle_is_found_too() -> None:
    random = np.random.default_rng(0)
    both = random.random((800, 2))
    order = np.argsort(np.abs(both - 0.5), axis=1)
    near, far = np.take_along_axis(both, order, 1).T
    (found,) = shortcuts.audit(sides(near, far), np.arange(800))
    assert found.auc is not None and found.auc > 0.95 and found.warned
    assert found.higher == pytest.approx(0.5, abs=0.06)


def test_clean_labels_have_no_shortcut() -> None:
    random = np.random.default_rng(3)
    facts = {f"fact {k}": (random.random(300), random.random(300)) for k in range(7)}
    found = shortcuts.audit(facts, np.arange(300))
    assert not [one for one in found if one.warned] and len(found) == 8
    assert all(one.auc is not None and abs(one.auc - 0.5) < 0.15 for one in found)


def test_one_model_that_wins_is_found_by_its_name() -> None:
    random = np.random.default_rng(0)
    names = random.choice(["sdxl", "flux", "sd15"], (600, 2))
    names[names[:, 1] == "flux"] = names[names[:, 1] == "flux"][:, ::-1]  # it never loses
    (found,) = shortcuts.audit({"generator": (names[:, 0], names[:, 1])}, np.arange(600))
    differ = (names[:, 0] != names[:, 1]).sum()
    assert found.warned and found.pairs == differ and found.higher is None
    assert found.auc is not None and found.auc > 0.7


def test_many_pairs_of_few_prompts_are_few() -> None:
    facts = planted(0.9, 500, 0)
    (found,) = shortcuts.audit(facts, np.zeros(500, int))
    assert found.auc is None and found.pairs == 500 and not found.warned
    assert found.why == "1 prompts have pairs that differ in it, and 20 are needed"


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        (np.ones(50), np.ones(50)),
        (np.full(50, np.nan), np.arange(50.0)),
        (np.full(50, "sdxl"), np.full(50, "sdxl")),
        (np.empty(0), np.empty(0)),
    ],
)
def test_what_does_not_differ_has_no_number(winner: np.ndarray, loser: np.ndarray) -> None:
    (found,) = shortcuts.audit(sides(winner, loser), np.arange(len(winner)))
    assert found.auc is None and not found.warned and found.pairs == 0
    assert found.why == "the same in both images of every pair, or not known"


def test_nothing_but_the_pair_itself_matters() -> None:
    facts = planted(0.75, 400, 1)
    (one,) = shortcuts.audit(facts, np.arange(400))
    ((winner, loser),) = facts.values()
    (turned,) = shortcuts.audit(sides(-winner, -loser), np.arange(400))
    assert turned.auc == pytest.approx(one.auc, abs=1e-6) and turned.higher == pytest.approx(1 - (one.higher or 0))
    (grown,) = shortcuts.audit(sides(np.exp(9 * winner), np.exp(9 * loser)), np.arange(400))
    assert grown == one  # of a number only its place among all counts


def test_the_area_is_that_of_all_pairs_of_predictions() -> None:
    random = np.random.default_rng(0)
    predicted = random.integers(-3, 5, 60).astype(float)
    sums = predicted[:, None] + predicted
    value, drawn = shortcuts.auc(predicted, np.arange(60))
    assert value == pytest.approx((sums > 0).mean() + (sums == 0).mean() / 2)
    assert drawn.mean() == pytest.approx(value, abs=0.01) and 0.02 < drawn.std() < 0.08
