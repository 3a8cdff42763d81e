"""The truth of a fresh pair is what the reader sees of what its two wordings disagree about."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.support import world_pairs
from datagen.world.captions import parse
from datagen.world.grammar import Scene as Drawn
from datagen.world.render import render_array

CHEF = Drawn("violet", "chef", "ball", "red", 1, "park", "plain", "none")


@pytest.mark.parametrize("recipe", ["pick-safety", "pick-style", "pick-culture", "livo-toxicity", "livo-debias"])
def test_a_picture_of_either_wording_counts_for_its_side(recipe: str) -> None:
    prompt, principle = next(
        one for one in world_pairs._prompts(recipe) if one[0].role == "neutral" and "ruin" not in one[0].prompt
    )
    stated = [parse(text) for text in (prompt.chosen_prompt, prompt.rejected_prompt)]
    sides = [dataclasses.replace(CHEF, **{n: s[n] for n in ("hazard", "style", "coat") if n in s}) for s in stated]
    images = np.stack([np.stack([render_array(side)] * 2) for side in sides])
    truth = world_pairs.Scene(recipe, prompt, principle, images, exchanged=False).truth()
    assert (truth[0] > truth[1]).all()
    other = world_pairs.Scene(recipe, prompt, principle, images[::-1], exchanged=True).truth()
    assert (other[0] < other[1]).all()
    assert len(list(world_pairs.Scene(recipe, prompt, principle, images, exchanged=False).pairs())) == 4


def test_scenes_that_were_drawn_are_read_again_and_as_many_as_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    def draw(pipeline: object, prompts: list[object], guidance: float, seed: int) -> np.ndarray:
        drawn.append(len(prompts))
        return np.zeros((len(prompts), 2, 2, 64, 64, 3), np.uint8)

    monkeypatch.setattr(world_pairs, "_drawn", draw)
    monkeypatch.setattr(world_pairs, "_pipeline", lambda: object())
    first = world_pairs.scenes(tmp_path, 18)
    assert len(first) == 18 * len(world_pairs.RECIPES) and len(drawn) == 2 * len(world_pairs.RECIPES)
    assert [scene.recipe for scene in first] == [name for name in world_pairs.RECIPES for _ in range(18)]
    again = world_pairs.scenes(tmp_path, 20)
    assert len(again) == 20 * len(world_pairs.RECIPES) and len(drawn) == 2 * len(world_pairs.RECIPES)
    assert {scene.prompt.prompt_id for scene in first} <= {scene.prompt.prompt_id for scene in again}
    share = np.mean([scene.exchanged for scene in world_pairs.scenes(tmp_path)])
    assert share == pytest.approx(world_pairs.EXCHANGED, abs=0.04)
