"""Fresh contrast pairs of the embedded world: recipes' own wordings, drawn by the embedded model, read exactly.

A scene is worded both ways and each wording drawn twice, from the same two noises, so that a scene gives four pairs:
two of one noise and two of different ones. Of a known share of scenes the wordings are exchanged before they are
drawn, as a model does that disobeys; for the model itself obeys nearly always.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datagen import recipe as recipes
from datagen.records import Principle, Prompt
from datagen.world import PIPELINE
from datagen.world.captions import parse
from datagen.world.reader import read_array

RECIPES = ("pick-style", "pick-culture", "pick-safety", "livo-toxicity", "livo-debias")
SCENES = 250  # of each recipe, at most
SEED = 6006  # of no recipe, of no training, and not of the pairs by which judges were chosen
STEPS = 10  # half of what the recipes take: a draw shows the same in half the time, and errs a little more
EXCHANGED = 0.15
NOISES = 2
TOGETHER = 16  # scenes drawn at a time


@dataclasses.dataclass(frozen=True)
class Scene:
    """A prompt with its principle and four images (2 sides, 2 noises, 64, 64, 3) uint8; side 0 is meant to keep it."""

    recipe: str
    prompt: Prompt
    principle: Principle
    images: np.ndarray
    exchanged: bool

    def truth(self) -> np.ndarray:
        """(2, 2): how many of the attributes that the two wordings disagree about an image shows as they keep the
        principle, less how many it shows as they break it."""
        kept, broken = parse(self.prompt.chosen_prompt), parse(self.prompt.rejected_prompt)
        about = [name for name in kept.keys() | broken.keys() if kept.get(name) != broken.get(name)]
        shown = [[read_array(image).attributes for image in side] for side in self.images]
        sides = [[[_side(seen[n], kept.get(n), broken.get(n)) for n in about] for seen in side] for side in shown]
        found: np.ndarray = np.array(sides).sum(-1)
        return found

    def pairs(self) -> Iterator[tuple[int, int]]:
        """The noises of both sides, for each pair."""
        return itertools.product(range(NOISES), range(NOISES))


def _side(shown: object, kept: object, broken: object) -> int:
    """1 for what keeps, -1 for what breaks; what one wording leaves open is broken by the other's value alone."""
    if kept is None:
        return -(shown == broken)
    if broken is None:
        return int(shown == kept)
    return (shown == kept) - (shown == broken)


def scenes(folder: Path, each: int = SCENES, names: Sequence[str] = RECIPES, seed: int = SEED) -> list[Scene]:
    """The first `each` scenes of each recipe in turn; drawn into the folder where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    found, pipeline = [], None
    for start, name in itertools.product(range(0, each, TOGETHER), names):
        file = folder / f"{name}-{start}.npz"
        asked = _prompts(name, seed)[start : start + TOGETHER]
        if not file.exists():
            pipeline = pipeline or _pipeline()
            guidance = recipes.load(name, []).profile("embedded").guidance
            images = _drawn(pipeline, [prompt for prompt, _ in asked], guidance, seed=seed + start)
            partial = file.with_suffix(".part")
            with partial.open("wb") as stream:
                np.savez_compressed(stream, images=images)
            partial.rename(file)
        images = np.load(file)["images"]
        for (prompt, principle), four in list(zip(asked, images, strict=True))[: each - start]:
            found.append(Scene(name, prompt, principle, four, _exchanged(prompt)))
    return sorted(found, key=lambda scene: RECIPES.index(scene.recipe))


@functools.cache
def _prompts(name: str, seed: int = SEED) -> list[tuple[Prompt, Principle]]:
    """The prompts of a recipe with a seed of our own."""
    from datagen.writers.offline import OfflineWriter

    recipe = recipes.load(name, [f"seed={seed}", f"prompts.count={SCENES}"])
    writer = OfflineWriter(recipe, recipe.profile("embedded"))
    principles = list(writer.principles().rows)
    by_id = {principle.principle_id: principle for principle in principles}
    return [(prompt, by_id[prompt.principle_id]) for prompt in writer.prompts(principles).rows]


def _exchanged(prompt: Prompt) -> bool:
    return random.Random(prompt.prompt_id).random() < EXCHANGED


def _pipeline() -> Any:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(PIPELINE, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _drawn(pipeline: Any, prompts: list[Prompt], guidance: float, seed: int) -> np.ndarray:
    """(scenes, 2, NOISES, 64, 64, 3) uint8."""
    import torch

    texts, noises = [], []
    for place, prompt in enumerate(prompts):
        sides = [prompt.chosen_prompt, prompt.rejected_prompt]
        for text in reversed(sides) if _exchanged(prompt) else sides:
            for k in range(NOISES):
                texts.append(text)
                noises.append(torch.Generator().manual_seed(1_000_000 * k + seed + place))
    with torch.inference_mode():
        made = pipeline(
            texts, num_inference_steps=STEPS, guidance_scale=guidance, generator=noises, output_type="np"
        ).images
    pixels = (made * 255).round().astype(np.uint8)
    found: np.ndarray = pixels.reshape(len(prompts), 2, NOISES, *pixels.shape[1:])
    return found
