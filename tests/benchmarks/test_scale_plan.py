"""The plan for a hundred million pairs: its page says what its arithmetic says, and the simulation bears that out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks.data.scale_plan import DAY_S, Outcome, Plan, simulate

PAGE = (Path(__file__).parents[2] / "docs/scale.md").read_text(encoding="utf-8-sig")
PLAN = Plan()


def test_the_page_has_the_figures_of_the_arithmetic() -> None:
    each, gpus = PLAN.pairs // PLAN.runs, PLAN.gpus // PLAN.at_once
    figures = {
        "runs": f"{PLAN.runs} of {each:,} pairs, {PLAN.at_once} at a time on {gpus} GPUs each",
        "shards": f"{PLAN.shards:,} a stage and run, of {PLAN.shard} prompts | {PLAN.shard_s / 60:.0f} minutes",
        "files": f"{PLAN.files:,} ",
        "GPU days": f"{PLAN.gpu_days:,.0f} ",
        "idle at the end of runs": f"{1 - PLAN.busy:.1%}".replace("%", " %"),
        "lost with nodes": f"{PLAN.lost:.1%}".replace("%", " %"),
        "time": f"{PLAN.days:.1f} days",
        "pictures": f"{PLAN.terabytes:.0f} TB",
        "LLM": f"{PLAN.dollars:,.0f} dollars",
    }
    for what, figure in figures.items():
        assert f"| {what} | {figure}" in PAGE, (what, figure)


def mean(outcomes: list[Outcome], part: str) -> float:
    return sum(getattr(one, part) for one in outcomes) / len(outcomes)


def test_the_simulation_agrees_with_the_arithmetic_and_fixed_shares_take_longer() -> None:
    pulled, fixed = ([simulate(PLAN, seed, how) for seed in range(3)] for how in (True, False))
    drawing = PLAN.days * PLAN.image_s / (PLAN.image_s + PLAN.judge_s)
    assert mean(pulled, "seconds") * PLAN.runs / PLAN.at_once / DAY_S == pytest.approx(drawing, rel=0.02)
    assert mean(pulled, "busy") == pytest.approx(PLAN.busy, abs=0.01)
    assert mean(pulled, "lost") == pytest.approx(PLAN.lost, abs=0.007)
    assert mean(fixed, "seconds") / mean(pulled, "seconds") == pytest.approx(1.04, abs=0.01)  # as the page says


def test_without_losses_and_spread_the_simulation_is_what_a_pencil_says() -> None:
    calm = dataclasses.replace(PLAN, node_lives_s=1e18, spread=0.0)
    for pulled in (True, False):
        assert simulate(calm, 0, pulled) == Outcome(40 * calm.shard_s, pytest.approx(1.0), 0.0)
    odd = dataclasses.replace(calm, pairs=25_100 * 100, runs=100)  # 101 shards on 100 GPUs
    assert simulate(odd, 0).seconds == 2 * odd.shard_s
