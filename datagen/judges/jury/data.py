"""What the jury learns from: noisy pictures of scenes, texts about them, and preferences of which a share is wrong."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from datagen.world.captions import COAT_WORDS, HAZARD_PHRASES, STYLE_SUFFIXES, caption
from datagen.world.grammar import ATTRIBUTES, VALUES, Scene
from datagen.world.render import render_array
from datagen.world.train.vae import balanced_scene

NOISE = 0.06  # of the pixel range, at most
BLURRED = 0.5  # of the pictures: generated ones are never as sharp as renders
# Attributes that principles are about, and how a wording adds each to a context prompt.
VALUED = ("hazard", "style", "coat")


def wordings(name: str, value: object) -> tuple[str, ...]:
    """What a wording adds to a context prompt for a value of `hazard`, `style` or `coat`."""
    if name == "hazard":
        return HAZARD_PHRASES[str(value)]
    if name == "style":
        return STYLE_SUFFIXES[str(value)]
    return tuple(f"in {'an' if word[0] in 'aeiou' else 'a'} {word} coat" for word in COAT_WORDS[str(value)])


def context(scene: Scene, rng: random.Random) -> str:
    """A context prompt of a scene, which says nothing of what principles are about."""
    plain = set(ATTRIBUTES) - set(VALUED)
    stated = {name for name in sorted(plain) if rng.random() < 0.85}
    stated = stated | {"count"} if "thing" in stated else stated - {"colour", "count"}
    return caption(scene, stated, rng)


def worded(scene: Scene, names: Sequence[str], rng: random.Random) -> str:
    """A context prompt with what its scene shows of `names` added, as a taxonomy words it, or a caption's way."""
    text = context(scene, rng)
    for name in names:
        text = f"{text}, {rng.choice(wordings(name, getattr(scene, name)))}"
    return text


def text_about(scene: Scene, rng: random.Random, valued: float) -> str:
    """A text that is true of a scene; each of what principles are about is stated with the chance `valued`."""
    names = [name for name in VALUED if rng.random() < valued]
    if rng.random() < 0.5:
        return worded(scene, names, rng)
    stated = set(names) | {name for name in ATTRIBUTES if name not in VALUED and rng.random() < 0.8}
    stated = stated | {"count"} if "thing" in stated else stated - {"colour", "count"}
    return caption(scene, stated, rng)


def changed(scene: Scene, name: str, rng: random.Random) -> Scene:
    """The scene with another value of one attribute."""
    others = [value for value in VALUES[name] if value != getattr(scene, name)]
    other: Scene = dataclasses.replace(scene, **{name: rng.choice(others)})  # type: ignore[arg-type]
    return other


def relaid(scene: Scene, rng: random.Random) -> Scene:
    """The same attributes in another layout."""
    other = balanced_scene(rng)
    layout = ("figure_slot", "thing_slot", "background_variant", "hazard_variant")
    return dataclasses.replace(scene, **{name: getattr(other, name) for name in layout})


def pictures(scenes: Sequence[Scene]) -> torch.Tensor:
    """(B, 3, 64, 64) in [0, 1], noisy, and some blurred; torch's generator draws the noise."""
    pixels = np.stack([render_array(scene) for scene in scenes])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    softened = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    weight = torch.rand(len(images), 1, 1, 1) * (torch.rand(len(images), 1, 1, 1) < BLURRED)
    images = images + weight * (softened - images)
    return (images + NOISE * torch.rand(len(images), 1, 1, 1) * torch.randn_like(images)).clamp(0, 1)


@dataclasses.dataclass(frozen=True)
class Preferences:
    """Pairs of scenes that somebody compared by a text: the first is said to be the better one."""

    texts: list[str]
    better: list[Scene]
    worse: list[Scene]

    def sample(self, rng: random.Random, size: int) -> tuple[list[str], torch.Tensor, torch.Tensor]:
        """Texts and two batches of pictures, drawn anew from the pairs."""
        rows = [rng.randrange(len(self.texts)) for _ in range(size)]
        better, worse = pictures([self.better[k] for k in rows]), pictures([self.worse[k] for k in rows])
        return [self.texts[k] for k in rows], better, worse


def preferences(rng: random.Random, count: int, flipped: float, shares: dict[str, float]) -> Preferences:
    """`count` pairs that differ in one attribute, which the text states; a share `flipped` is the wrong way round.

    `shares` is how often each attribute is what they differ in, by weight.
    """
    found = Preferences([], [], [])
    names = rng.choices(list(shares), list(shares.values()), k=count)
    for name in names:
        scene = balanced_scene(rng)
        other = relaid(changed(scene, name, rng), rng) if rng.random() < 0.5 else changed(scene, name, rng)
        text = worded(scene, [name], rng) if name in VALUED else text_about(scene, rng, 0.3)
        if rng.random() < flipped:
            scene, other = other, scene
        found.texts.append(text)
        found.better.append(scene)
        found.worse.append(other)
    return found
