"""One prompt, one principle and one recipe to start from, changed where a test needs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from datagen.recipe import Images, JudgeChoice, Labels, Profile, Recipe
from datagen.records import Principle, Prompt
from datagen.stages import Context

PROFILE = Profile(
    model="embedded",
    taxonomy="world-styles",
    grammar="world",
    scheduler="ddim",
    steps=2,
    guidance=4.0,
    width=64,
    height=64,
    judges=(JudgeChoice(name="world"), JudgeChoice(name="clip")),
)
PRINCIPLE = Principle(
    "pixel",
    "prefer",
    "style",
    "pixel art preferred",
    "{prompt}, pixel art",
    "{prompt}",
    "",
    "pixel",
    "taxonomy:t",
    "s",
)
PROMPT = Prompt(
    "p0", "pixel", "style", "a chef", "a chef, pixel art", "a chef, plain style", "blur", "pixels", "c", "train", "t"
)


@pytest.fixture
def principle() -> Principle:
    return PRINCIPLE


@pytest.fixture
def make_prompt() -> Callable[..., Prompt]:
    return lambda **changes: dataclasses.replace(PROMPT, **changes)


@pytest.fixture
def make_context() -> Callable[..., Context]:
    def make(
        pairing: Any = "contrast",
        candidates: int = 1,
        same_seed: bool = True,
        seed: int = 0,
        violating: int = 0,
        **labels: float,
    ) -> Context:
        images = Images(candidates=candidates)
        if pairing == "pool":
            images = Images(aligned=candidates, violating=violating or candidates)
        recipe = Recipe(
            name="r",
            license="openrail++",
            seed=seed,
            pairing=pairing,
            same_seed=same_seed,
            images=images,
            labels=Labels(**labels),
            profiles={"embedded": PROFILE},
        )
        return Context(recipe, PROFILE)

    return make
