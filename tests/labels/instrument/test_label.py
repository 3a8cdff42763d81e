"""Labels of simulated juries: near the Bayes rule, whatever the order or the sides, and sane for bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
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
    share = (of["design"] == of["truth"]).mean()
    assert abs(found.obedience[""].value - share) < 0.02
    assert found.obedience[""].low - 0.01 < share < found.obedience[""].high + 0.01
    sure = found.probability > 0.9
    assert abs(found.probability[sure].mean() - (of["truth"][sure] > 0).mean()) < 0.02


def test_sure_judges_are_not_mistaken_for_weak_ones_where_the_design_is_often_wrong() -> None:
    of = jury(1500, 0.7, seed=13)
    of["margins"] += of["truth"][:, None] * np.array([3.0, 2.0, 2.0, 1.0]) * SCALE
    found = label(of)
    assert abs(found.obedience[""].value - (of["design"] == of["truth"]).mean()) < 0.03
    assert accuracy(found.probability - 0.5, of["truth"]) > 0.97


def test_nothing_depends_on_the_sides_being_mixed() -> None:
    of = jury(2000, 0.85, seed=2)
    one_sided = {**of, "margins": of["margins"] * of["design"][:, None], "design": np.ones(2000)}
    mixed, sided = label(of), label(one_sided)
    np.testing.assert_allclose(
        np.where(of["design"] > 0, sided.probability, 1 - sided.probability), mixed.probability, atol=1e-6
    )


@settings(max_examples=3, deadline=None)
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
    # By chance the first places may look liked: a liking means something else when sides are exchanged.
    assume(not any(judge.first for one in (found, turned) for judge in one.judges))
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


def test_a_judge_that_says_nothing_changes_nothing_that_the_others_say() -> None:
    of = jury(300, 0.85, seed=17)
    alone = label(of)
    of["margins"] = np.insert(of["margins"], 2, NAN, axis=1)
    beside = label(of)
    assert (beside.probability == alone.probability).all() and (beside.low == alone.low).all()
    assert [judge.weight for judge in beside.judges if judge.coverage] == [judge.weight for judge in alone.judges]


def test_a_judge_that_sees_the_wording_only_has_no_weight_and_is_named() -> None:
    of, controls = jury(600, 0.85, seed=18), jury(60, 1.0, seed=19)
    blind = controls["margins"] - controls["truth"][:, None] * STRENGTH * SCALE
    random = np.random.default_rng(20)
    wording = [of["truth"] * 0.8, np.ones(60) * 0.95]  # the model drew what it was told: wordings were exchanged
    extra = [(lean + 0.9 * random.standard_normal(len(lean)))[:, None] for lean in wording]
    given = {
        "margins": np.concatenate([np.hstack([of["margins"], extra[0]]), np.hstack([blind, extra[1]])]),
        "design": np.concatenate([of["design"], np.ones(60)]),
    }
    found = label(given, role=np.repeat([0.0, 1.0], [600, 60]), names=["a", "b", "c", "d", "eye"])
    assert found.judges[4].weight == 0.0 < found.judges[0].weight
    assert any("eye sees more of the wording than of what was meant" in note for note in found.notes)
    assert abs(found.obedience[""].value - 0.85) < 0.05
    assert accuracy(found.probability[:600] - 0.5, of["truth"]) > accuracy(of["bayes"], of["truth"])


def test_where_nobody_speaks_the_design_alone_is_believed_as_far_as_designs_are() -> None:
    found = label({"margins": np.full((6, 2), NAN), "design": np.array([1.0, 1, -1, -1, 1, 0])})
    assert (found.judges_only == 0.5).all()
    assert (found.probability[:2] > 0.6).all() and (found.probability[2:4] < 0.4).all() and found.probability[5] == 0.5


def test_controls_take_out_what_judges_see_of_the_wording_and_say_who_does() -> None:
    of, controls = jury(2000, 0.85, seed=5), jury(500, 1.0, seed=6)
    random = np.random.default_rng(7)
    meant = random.choice(np.array([1.0, -1.0]), 500)
    seen = np.array([0.6, 0.6, 0.0, 0.6])
    blind = controls["margins"] - controls["truth"][:, None] * STRENGTH * SCALE
    margins = np.concatenate(
        [of["margins"] + of["design"][:, None] * seen * SCALE, blind + meant[:, None] * seen * SCALE]
    )
    given = {"margins": margins, "design": np.concatenate([of["design"], meant])}
    role = np.concatenate([np.zeros(2000), np.ones(500)])
    found = label(given, role=role, names=["a", "b", "c", "d"])
    for judge, true in zip(found.judges, seen, strict=True):
        assert judge.leak is not None and abs(judge.leak.value * 1.17 - true) < 0.2
    assert any("a, b, d see the wording; their leaks are taken out" in note for note in found.notes)
    assert (found.probability[2000:] == 0.5).all()
    fooled = label({name: value[:2000] for name, value in given.items()})
    assert abs(found.obedience[""].value - 0.85) < 0.03 < fooled.obedience[""].value - 0.85
    assert any("no controls" in note for note in fooled.notes)


def planted(pairs: int, seed: int, ease: float = 2.0) -> tuple[dict[str, Numbers], Numbers, Numbers]:
    """Pairs without a design, clearer ones that are known, and nulls; roles and the truth."""
    parts = [jury(pairs, 1.0, seed), jury(1000, 1.0, seed + 1), jury(500, 1.0, seed + 2)]
    shift = [0.0, ease - 1, -1.0]
    margins = [p["margins"] + p["truth"][:, None] * STRENGTH * SCALE * s for p, s in zip(parts, shift, strict=True)]
    design = [np.zeros(pairs), parts[1]["truth"], np.zeros(500)]
    role = np.repeat([0.0, 2.0, 3.0], [pairs, 1000, 500])
    return {"margins": np.concatenate(margins), "design": np.concatenate(design)}, role, parts[0]["truth"]


def test_planted_and_null_pairs_stand_in_for_a_design() -> None:
    of, role, truth = planted(1500, seed=20)
    found = label(of, role=role)
    assert accuracy(found.judges_only[:1500] - 0.5, truth) > accuracy(jury(1500, 1.0, 20)["bayes"], truth) - 0.01
    sure = found.probability[:1500] > 0.9
    assert abs(found.probability[:1500][sure].mean() - (truth[sure] > 0).mean()) < 0.03
    assert any("1000 planted pairs; 500 null pairs give the noise" in note for note in found.notes)


def test_where_nothing_is_meant_it_is_no_worse_than_the_majority_and_less_sure() -> None:
    of = jury(1500, 0.85, seed=8)
    alone, meant = label({**of, "design": np.zeros(1500)}), label(of)
    votes = np.sign(of["margins"]).sum(1)
    assert accuracy(alone.judges_only - 0.5, of["truth"]) >= np.where(votes == 0, 0.5, votes * of["truth"] > 0).mean()
    assert (alone.high - alone.low).mean() > (meant.high - meant.low).mean()
    assert any("Nothing was meant" in note for note in alone.notes) and not alone.obedience


def test_known_labels_calibrate_and_are_told() -> None:
    of = jury(1500, 0.85, seed=9)
    of["margins"] = of["margins"] + 2.0 * of["design"][:, None] * SCALE  # judges that see the wording, no controls
    known = np.full(1500, NAN)
    known[:300] = of["truth"][:300] > 0
    before, after = label(of), label(of, known=known)
    off = [
        abs(np.maximum(p, 1 - p).mean() - accuracy(p - 0.5, of["truth"]))
        for p in (before.probability, after.probability)
    ]
    assert off[1] < off[0] / 2
    assert any("300 known labels: calibration error" in note for note in after.notes)


def test_where_nothing_was_meant_labels_of_people_say_what_judges_are_worth() -> None:
    of = jury(1500, 0.85, seed=13) | {"design": np.zeros(1500)}
    # Two judges that only agree in an error look good to whoever asks what judges agree in.
    habit = np.random.default_rng(14).standard_normal(1500)
    of["margins"] = np.column_stack([of["margins"], habit, 0.9 * habit + 0.1 * of["truth"]])
    known = np.full(1500, NAN)
    known[:120] = of["truth"][:120] > 0
    without, taught = label(of), label(of, known=known)
    untold = of["truth"][120:]
    best = accuracy(of["bayes"][120:], untold)
    assert best - accuracy(taught.probability[120:] - 0.5, untold) < 0.03
    assert best - accuracy(without.probability[120:] - 0.5, untold) > 0.05
    assert not taught.obedience and any("120 of 1500 pairs" in note for note in taught.notes)
    known[0] = 1 - known[0]  # its own label is no evidence of a row
    assert abs(label(of, known=known).probability[0] - taught.probability[0]) < 0.05


def test_a_liking_for_the_first_place_is_taken_out() -> None:
    of = jury(1000, 0.9, seed=10)
    liking = {**of, "margins": of["margins"] + np.array([2.0, 0, 0, 0])}
    plain, found = label(of), label(liking)
    assert abs(found.judges[0].first - 2.0) < 0.2 and found.judges[1].first == 0.0
    assert np.abs(found.probability - plain.probability).mean() < 0.02


def test_strata_are_obeyed_each_in_its_own_measure() -> None:
    one, other = jury(800, 0.95, seed=11), jury(800, 0.7, seed=12)
    of = {name: np.concatenate([one[name], other[name]]) for name in one}
    found = label(of, strata=np.repeat(["style", "safety"], 800))
    assert abs(found.obedience["style"].value - 0.95) < 0.03
    assert abs(found.obedience["safety"].value - 0.7) < 0.05


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
        ({"names": ["a"]}, "1 names for 2 judges"),
    ],
)
def test_what_does_not_fit_is_one_line(changed: dict[str, object], said: str) -> None:
    good = {
        "margins": np.ones((3, 2)), "design": np.ones(3), "role": np.zeros(3), "known": np.full(3, NAN),
        "prompts": ["a", "b", "c"],
    }  # fmt: skip
    with pytest.raises(InputError, match=said):
        instrument.label(**{**good, **changed})  # type: ignore[arg-type]
