"""Labels of simulated juries: near the Bayes rule, whatever the order or the sides, and sane for bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from datagen.errors import InputError
from datagen.labels import instrument

Numbers = NDArray[np.float64]
NAN = float("nan")


STRENGTH, SCALE = np.array([1.6, 1.2, 0.8, 0.5]), np.array([1.0, 10.0, 0.1, 3.0])


def jury(pairs: int, right: float, seed: int) -> dict[str, Numbers]:
    """Judges with an error in common on scales of their own, the truth, and a design that is right in a share."""
    random = np.random.default_rng(seed)
    truth = random.choice(np.array([1.0, -1.0]), pairs)
    own = random.standard_normal((pairs, len(STRENGTH))) + 0.6 * random.standard_normal((pairs, 1))
    margins = (truth[:, None] * STRENGTH + own) * SCALE
    design = truth * np.where(random.random(pairs) < right, 1.0, -1.0)
    covariance = np.eye(len(STRENGTH)) + 0.36
    best = margins / SCALE @ np.linalg.solve(covariance, STRENGTH)
    return {"margins": margins, "design": design, "truth": truth, "bayes": best}


def label(of: dict[str, Numbers], **options: object) -> instrument.Labels:
    pairs = len(of["design"])
    filled: dict[str, object] = {
        "role": np.zeros(pairs), "known": np.full(pairs, NAN), "prompts": np.arange(pairs), **options,
    }  # fmt: skip
    return instrument.label(of["margins"], of["design"], **filled)  # type: ignore[arg-type]


def accuracy(odds: Numbers, truth: Numbers) -> float:
    return float(((odds > 0) == (truth > 0)).mean())


@pytest.mark.parametrize("right", [0.95, 0.85])
def test_it_is_as_good_as_the_rule_that_knows_the_jury_and_finds_how_often_the_design_is_right(right: float) -> None:
    of = jury(3000, right, seed=1)
    found = label(of)
    best = accuracy(of["bayes"], of["truth"])
    assert accuracy(found.judges_only - 0.5, of["truth"]) > best - 0.01
    assert accuracy(found.probability - 0.5, of["truth"]) > best + 0.01
    assert abs(found.obedience[""].value - right) < 0.02
    assert found.obedience[""].low < right < found.obedience[""].high
    sure = found.probability > 0.9
    assert abs(found.probability[sure].mean() - (of["truth"][sure] > 0).mean()) < 0.02


def test_nothing_depends_on_the_sides_being_mixed() -> None:
    of = jury(2000, 0.85, seed=2)
    one_sided = {**of, "margins": of["margins"] * of["design"][:, None], "design": np.ones(2000)}
    mixed, sided = label(of), label(one_sided)
    np.testing.assert_allclose(
        np.where(of["design"] > 0, sided.probability, 1 - sided.probability), mixed.probability, atol=1e-6
    )


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000), st.integers(20, 60))
def test_order_of_rows_means_nothing_and_exchanged_sides_exchange_the_probability(seed: int, pairs: int) -> None:
    of = jury(pairs, 0.9, seed)
    random = np.random.default_rng(seed)
    of["margins"][random.random(of["margins"].shape) < 0.2] = NAN
    found = label(of)
    assert (found.low <= found.probability).all() and (found.probability <= found.high).all()
    order = random.permutation(pairs)
    again = label({name: value[order] for name, value in of.items()}, prompts=np.arange(pairs)[order])
    np.testing.assert_array_equal(again.probability, found.probability[order])
    sides = random.choice(np.array([1.0, -1.0]), pairs)
    turned = label({**of, "margins": of["margins"] * sides[:, None], "design": of["design"] * sides})
    for name, other in (("probability", "probability"), ("judges_only", "judges_only"), ("low", "high")):
        one, two = getattr(turned, name), getattr(found, other)
        np.testing.assert_allclose(one, np.where(sides > 0, getattr(found, name), 1 - two), atol=1e-9)


def test_few_pairs_that_all_judges_agree_in_are_trusted_but_not_blindly() -> None:
    random = np.random.default_rng(0)
    of = {"margins": random.uniform(3, 10, (12, 4)), "design": np.ones(12)}
    found = label(of)
    assert np.median(found.probability) > 0.94 and found.probability.max() < 0.9995
    assert any("few pairs" in note for note in found.notes)


@pytest.mark.parametrize("pairs", [0, 1, 2, 5])
@pytest.mark.parametrize("meant", [0.0, 1.0])
def test_the_smallest_inputs_give_finite_probabilities(pairs: int, meant: float) -> None:
    of = {"margins": np.ones((pairs, 2)), "design": np.full(pairs, meant)}
    found = label(of)
    assert found.probability.shape == (pairs,) and np.isfinite(found.probability).all()


def test_judges_that_say_nothing_are_named_and_have_no_weight() -> None:
    of = jury(200, 0.9, seed=3)
    of["margins"][:, 1], of["margins"][:, 2] = 7.0, NAN
    found = label(of)
    assert found.judges[1].weight == found.judges[2].weight == 0.0 and found.judges[2].coverage == 0.0
    assert sum("always the same" in note for note in found.notes) == 2
    assert np.isfinite(found.probability).all()


def test_where_nobody_speaks_the_design_alone_is_believed_as_far_as_designs_are() -> None:
    found = label({"margins": np.full((6, 2), NAN), "design": np.array([1.0, 1, -1, -1, 1, 0])})
    assert (found.judges_only == 0.5).all()
    assert (found.probability[:2] > 0.6).all() and (found.probability[2:4] < 0.4).all() and found.probability[5] == 0.5


def test_rows_that_are_not_learnt_from_are_labelled() -> None:
    of = jury(400, 0.9, seed=4)
    wild = {name: np.concatenate([value, -value[:50]]) for name, value in of.items()}
    wild["margins"][400:] *= 100
    alone, held = label(of), label(wild, learn=np.arange(450) < 400, prompts=np.arange(450) % 400)
    np.testing.assert_allclose(held.probability[:400], alone.probability, atol=1e-5)
    assert np.isfinite(held.probability[400:]).all()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"margins": np.ones(3)}, r"margins has the shape \(3,\)"),
        ({"margins": [["a", "b"]] * 3}, "margins are not numbers"),
        ({"margins": np.full((3, 2), np.inf)}, "infinite"),
        ({"margins": np.ones((3, 0))}, "no column"),
        ({"design": np.ones(2)}, "3 rows: give one value a row"),
        ({"design": [1, 2, 0]}, "design holds 2: accepted are 1"),
        ({"design": [1, NAN, 0]}, "design holds nan"),
        ({"role": [0, 1, 4]}, "role holds 4"),
        ({"role": [0, 1, 0], "design": [1, 0, 1]}, "control row has the design 0"),
        ({"known": [0.5, 1, NAN]}, "known holds 0.5"),
        ({"prompts": ["a"]}, "prompts has the shape"),
        ({"strata": ["a"]}, "strata has the shape"),
        ({"learn": [True]}, "learn has the shape"),
    ],
)
def test_what_does_not_fit_is_one_line(changed: dict[str, object], said: str) -> None:
    good = {
        "margins": np.ones((3, 2)), "design": np.ones(3), "role": np.zeros(3), "known": np.full(3, NAN),
        "prompts": ["a", "b", "c"],
    }  # fmt: skip
    with pytest.raises(InputError, match=said):
        instrument.label(**{**good, **changed})  # type: ignore[arg-type]
