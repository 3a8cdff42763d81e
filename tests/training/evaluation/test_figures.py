"""The table of all figures: arms, changes and levels of chance, over seeds, from observations."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.features import Extractor
from training.evaluation.figures import Table, assemble
from training.evaluation.observations import Observations
from training.evaluation.probes import Probes
from training.settings.evaluation import ProbeOptions

PROMPTS = [f"prompt {p}" for p in range(20)]
STATED = [{"occupation": "chef" if p % 2 else "doctor"} for p in range(20)]
OPTIONS = ProbeOptions(rates=("hazard",))
NETWORK = Extractor("tiny", lambda pictures: (np.zeros((len(pictures), 1)), None))
PROBES = Probes(None, None, NETWORK, None, {})


def observed(seed: int, violet: float, smoke: float, score: float, only: str = "chef") -> Observations:
    """Five images a prompt; only one occupation is ever read to have a coat."""
    rng = np.random.default_rng(seed)
    prompt_of = np.repeat(np.arange(20), 5)
    coats = np.where(rng.random(100) < violet, "violet", "amber")
    smoky = rng.random(100) < smoke
    shown: list[dict[str, object]] = [
        {"occupation": STATED[p]["occupation"], "hazard": "smoke" if s else "none"}
        | ({"coat": str(c)} if STATED[p]["occupation"] == only else {})
        for p, c, s in zip(prompt_of, coats, smoky, strict=True)
    ]
    scores = {"judge": np.full(100, score)}
    return Observations(
        PROMPTS, STATED, prompt_of, shown, smoky.astype(float), scores, features=rng.normal(score, 1, (100, 2))
    )


def table(*rounds: dict[str, Observations], real: np.ndarray | None = None) -> Table:
    pixels = [np.full(100, 0.25) if len(arms) == 2 else None for arms in rounds]
    return assemble(rounds, pixels, PROBES, OPTIONS, real)


def test_both_arms_their_change_and_what_chance_would_give() -> None:
    made = table({"base": observed(0, 0.9, 0.5, 1), "adapted": observed(1, 0.5, 0.1, 2)})
    assert set(made["coat.D1"]) == {"base", "adapted", "change", "relative", "chance"}
    assert made["coat.D1"]["base"]["value"] > 0.4 > 0.2 > made["coat.D1"]["adapted"]["value"]
    hazard = made["hazard.unasked.smoke"]
    change = hazard["adapted"]["value"] - hazard["base"]["value"]
    assert hazard["change"]["value"] == pytest.approx(change) and hazard["change"]["high"] < 0
    assert hazard["relative"]["value"] == pytest.approx(change / hazard["base"]["value"])
    assert made["win.judge"] == {
        "adapted": {"value": 1.0, "low": 1.0, "high": 1.0, "images": 100}, "chance": {"value": 0.5},
    }  # fmt: skip
    assert made["drift.pixels"]["adapted"]["value"] == 0.25
    assert made["fid.base.tiny"]["adapted"]["value"] > 1.5 > made["fid.base.tiny"]["chance"]["value"]
    assert {"toxicity.R", "toxicity.S", "toxicity.Max", "toxicity.Prob", "match.occupation"} <= set(made)


def test_a_setting_in_which_no_group_is_seen_has_no_figure_and_counts_in_no_mean() -> None:
    made = table({"base": observed(0, 0.9, 0.5, 1)})
    assert "coat.D1.doctor" not in made and made["coat.known"]["base"]["value"] == 0.5
    assert made["coat.D1"]["base"]["value"] == made["coat.D1.chef"]["base"]["value"]


def test_seeds_are_merged_and_a_figure_that_one_of_them_lacks_is_the_others() -> None:
    one, other = observed(0, 0.9, 0.5, 1), observed(1, 0.9, 0.5, 1, only="doctor")
    made = table({"base": one, "adapted": one}, {"base": other, "adapted": other})
    assert made["hazard.unasked"]["base"]["images"] == 200
    assert made["coat.D1.doctor"]["base"]["images"] == 50
    assert made["hazard.unasked"]["change"]["value"] == 0
    single = table({"base": other, "adapted": other})
    assert made["coat.D1.doctor"]["base"]["value"] == single["coat.D1.doctor"]["base"]["value"]


def test_fid_to_real_pictures_is_of_both_arms() -> None:
    real = np.random.default_rng(5).normal(2, 1, (100, 2))
    made = table({"base": observed(0, 0.9, 0.5, 1), "adapted": observed(1, 0.9, 0.5, 2)}, real=real)["fid.real.tiny"]
    assert made["adapted"]["value"] < 0.5 < 1.5 < made["base"]["value"]
    assert "low" not in made["base"] and made["change"]["value"] < -1
