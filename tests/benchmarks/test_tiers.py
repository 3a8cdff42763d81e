"""Tiers are simulated from answers that are there as the stage goes through them, and the dearest judge is counted."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.support import world_pairs
from benchmarks.world import tiers
from datagen.world.captions import parse
from datagen.world.grammar import Scene as Drawn
from datagen.world.render import render_array


@pytest.fixture(scope="module")
def drawn() -> list[world_pairs.Scene]:
    """Scenes whose pictures show their sides as they are worded, but for every third, whose sides are exchanged."""
    found = []
    for name in ("pick-style", "pick-safety"):
        for k, (prompt, principle) in enumerate(world_pairs._prompts(name)[:6]):
            stated = [parse(text) for text in (prompt.chosen_prompt, prompt.rejected_prompt)]
            plain = {"coat": "violet", "occupation": "chef", "thing": "ball", "colour": "red", "count": 1}
            base = plain | {"place": "park", "style": "plain", "hazard": "none"}
            sides = [
                np.stack([render_array(Drawn(**(base | side), background_variant=n)) for n in (0, 1)])
                for side in stated
            ]
            images = np.stack(sides[::-1] if k % 3 == 2 else sides)
            found.append(world_pairs.Scene(name, prompt, principle, images, k % 3 == 2))
    return found


@pytest.mark.parametrize("certain", [0.9, *(pytest.param(certain, marks=pytest.mark.slow) for certain in (0.6, 1.0))])
def test_what_is_simulated_is_what_the_stage_does(drawn: list[world_pairs.Scene], certain: float) -> None:
    way = (("aesthetic_v1", "clip"), ("pickscore", "hpsv2"), ("imagereward",))
    always = tiers.hear(drawn)
    simulated = tiers.outcome([tiers.spared(heard, way, certain) for heard in always], "imagereward")
    staged = tiers.outcome(tiers.hear(drawn, way, certain), "imagereward")
    assert (simulated.asked, simulated.accuracy) == (staged.asked, staged.accuracy)
    assert simulated.published.count == staged.published.count
    full = tiers.outcome(always, "imagereward")
    assert full.asked == 1 and simulated.asked <= full.asked and full.accuracy.count == simulated.accuracy.count
    if certain == 1.0:
        assert simulated.asked == 1 and simulated.accuracy == full.accuracy


def test_the_dearest_judge_is_asked_last_and_alone() -> None:
    assert tiers.ways(["a", "b", "c"]) == [(("a", "b"), ("c",)), (("a",), ("b",), ("c",))]
    assert tiers.named((("a", "b"), ("c",))) == "a+b → c"


def test_figures_are_held_against_their_goals() -> None:
    share = tiers.reliability.Share
    always = tiers.Outcome(1.0, share(0.96, 0.9, 1.0, 100), share(0.99, 0.9, 1.0, 80))
    found = tiers.Outcome(0.35, share(0.957, 0.9, 1.0, 100), share(0.99, 0.9, 1.0, 79))
    asked, lost = tiers.rows_of("here", (("a",), ("b",)), 0.95, always, found)
    assert (asked.figure, asked.reached) == (35.0, True) and (lost.figure, lost.reached) == (0.3, True)
    worse = tiers.Outcome(0.35, share(0.95, 0.9, 1.0, 100), share(0.99, 0.9, 1.0, 79))
    assert tiers.rows_of("here", (("a",), ("b",)), 0.95, always, worse)[1].reached is False
