"""What is said of judges whose faults are planted: each is found and named, and a good judge is left in peace."""

from __future__ import annotations

import numpy as np
import pytest

from datagen.labels.audit import jury
from datagen.labels.audit.evidence import Evidence

COUNT = 400
RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.choice([1.0, -1.0], COUNT)
NAN = float("nan")


def judge(accuracy: float = 0.85) -> np.ndarray:
    right = RANDOM.random(COUNT) < accuracy
    return np.where(right, TRUTH, -TRUTH) * RANDOM.gamma(2, size=COUNT)


def evidence(margins: dict[str, np.ndarray], generators: np.ndarray | None = None, **duels: np.ndarray) -> Evidence:
    columns = np.stack(list(margins.values()), 1)
    none = np.full(columns.shape, NAN)
    one = np.full((len(columns), 2), "sd15", dtype=object) if generators is None else generators
    asked = np.ones(columns.shape, bool)
    prompts = np.array([f"p{k}" for k in range(len(columns))], dtype=object)
    ahead, behind = duels.get("ahead", none), duels.get("behind", none)
    return Evidence(tuple(margins), prompts, columns, asked, one, ahead, behind)


def test_good_judges_have_no_warning() -> None:
    given = evidence({"clip": judge(), "pickscore": judge(0.7)})
    rows, warnings = jury.judges(given, built=True)
    assert not warnings and [row["name"] for row in rows] == ["clip", "pickscore"] and rows[0]["built"]
    assert rows[0]["coverage"]["value"] == 1 and rows[0]["ties"]["value"] == 0 and rows[0]["first"] is None
    agreement, said = jury.agreements(given)
    assert not said
    # both right or both wrong: .85·.7 + .15·.3 = .64, kappa .28
    assert agreement["pairs"][0]["cohen"]["value"] == pytest.approx(0.28, abs=0.1)
    assert agreement["fleiss"]["value"] == pytest.approx(agreement["alpha_nominal"]["value"], abs=0.01)


FAULTY: dict[str, tuple[np.ndarray, str]] = {
    "silent": (np.full(COUNT, NAN), "faulty abstained from all pairs"),
    "constant": (np.zeros(COUNT), "faulty gives both images of every pair the same score, so it decides nothing"),
    "shy": (np.where(np.arange(COUNT) % 2, TRUTH, NAN), "faulty speaks of 50 % of the pairs it was asked about"),
    "undecided": (np.where(np.arange(COUNT) % 4, 0, TRUTH), "faulty decides nothing in 75 % of the pairs"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_fault_is_named(fault: str) -> None:
    margins, said = FAULTY[fault]
    given = evidence({"clip": judge(), "faulty": margins})
    assert jury.judges(given, built=False)[1] == [said]
    jury.agreements(given)  # with nothing to compare there is no number, and no error


def test_a_liking_for_the_first_place_is_measured_and_named() -> None:
    by_place = RANDOM.random(COUNT) < 0.3
    ahead = np.where(by_place, 0.9, np.where(TRUTH > 0, 0.9, 0.1))[:, None]
    behind = np.where(RANDOM.random(COUNT) < 0.3, 0.9, np.where(TRUTH > 0, 0.1, 0.9))[:, None]
    given = evidence({"vlm": TRUTH}, ahead=ahead, behind=behind)
    (row,), warnings = jury.judges(given, built=True)
    assert row["first"]["value"] == pytest.approx(0.65, abs=0.04) and row["consistent"]["value"] < 0.8
    assert warnings == [f"vlm prefers the image shown first in {100 * row['first']['value']:.0f} % of its answers"]


def test_a_judge_that_prefers_one_generator_more_than_others_do_is_named() -> None:
    first = np.where(np.arange(COUNT) % 2, "flux", "sdxl")
    generators = np.stack([first, np.where(first == "flux", "sdxl", "flux")], 1).astype(object)
    own = np.where(first == "flux", 1.0, -1.0)
    given = evidence({"clip": judge(), "hps": judge(), "flux-judge": own, "pick": judge()}, generators)
    rows, warnings = jury.judges(given, built=False)
    assert [made["name"] for made in rows[2]["generators"]] == ["flux", "sdxl"]
    assert rows[2]["generators"][0]["wins"]["value"] == 1.0
    assert rows[2]["generators"][0]["others"]["value"] == pytest.approx(0.5, abs=0.08)
    assert len([line for line in warnings if line.startswith("flux-judge lets flux win 100 %, more than")]) == 1
    assert not [line for line in warnings if not line.startswith("flux-judge lets")]
    alone, _ = jury.judges(evidence({"flux-judge": own}, generators), built=False)
    assert alone[0]["generators"][0]["wins"]["value"] == 1.0 and alone[0]["generators"][0]["difference"] is None


def test_one_score_under_two_names_is_one_judge_and_chance_is_no_agreement() -> None:
    one = judge()
    _, warnings = jury.agreements(
        evidence({"clip": one, "clip again": 3 * one, "noise": -one * (RANDOM.random(COUNT))})
    )
    assert warnings[0] == "clip and clip again say the same of all 400 pairs but for their unit, so together they " \
        "count as one judge"  # fmt: skip
    assert [line for line in warnings if line.startswith("clip and noise agree no more than by chance")]


def test_judges_that_are_right_about_all_pairs_are_not_one() -> None:
    one, other = TRUTH * RANDOM.gamma(2, size=COUNT), TRUTH * RANDOM.gamma(2, size=COUNT)
    assert jury.agreements(evidence({"clip": one, "hps": other}))[1] == []


@pytest.mark.parametrize("count", [0, 1])
def test_one_pair_and_none_are_no_error(count: int) -> None:
    given = evidence({"clip": TRUTH[:count], "hps": TRUTH[:count]})
    rows, _ = jury.judges(given, built=True)
    agreement, _ = jury.agreements(given)
    assert (rows[0]["coverage"] is None) == (count == 0) and agreement["alpha_nominal"] is None or count
