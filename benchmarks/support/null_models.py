"""A generator and a judge that cost next to nothing: `model = "benchmarks.support.null_models:1"`, and as a judge.

A picture is of one grey, light where its text opens with the style that it should keep, but for one in sixteen that is
the contrary; and the judge says how light it is. So a run of them goes through every stage with real pairs, of which
there is something to learn, and what it takes is what the stages take.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.sentences import made_up, sentence
from datagen import judges
from datagen.generators.protocol import Means, Request
from datagen.models import Needs

SIDE = 8
KEPT = "pixel"  # stands in every wording that keeps the principle
CONTRARY = 16  # one of so many images is not as it was worded
SPARE = 1.5  # texts for a prompt, as the checks of texts drop some of them
NAMED = 6  # of 4,096 made-up words a text; of few words a million texts would nearly all be near-duplicates
RECIPE = """
name = "null-models"
license = "cc0-1.0"
description = "Every stage with models that cost nothing."
pairing = "contrast"
[prompts]
writer = "file"
count = {count}
control_share = 0
asked_share = 0
source = "{source}"
[images]
shard_size = {size}
[labels]
min_probability = 0.5
min_match = 0
[profiles.null]
model = "benchmarks.support.null_models:1"
taxonomy = "world-styles"
principles = ["pixel-art"]
grammar = "world-styles"
scheduler = "ddim"
steps = 1
guidance = 1.0
width = 8
height = 8
judges = ["benchmarks.support.null_models"]
"""


def recipe(folder: Path, count: int, size: int = 100) -> Path:
    """A recipe of so many prompts in shards of `size` with these models, whose profile is `null`, and its texts."""
    rng, more = random.Random(0), made_up()
    texts = (f"{sentence(rng)}, {' and '.join(rng.sample(more, NAMED))}" for _ in range(int(count * SPARE)))
    source, file = folder / "texts.txt", folder / "null.toml"
    source.write_text("\n".join(texts), encoding="utf-8")
    file.write_text(RECIPE.format(count=count, size=size, source=source), encoding="utf-8")
    return file


class Null:
    """Greys by text and seed."""

    name, revision = "null", "1"

    def means(self, request: Request) -> Means:
        """Nothing but the request."""
        return Means()

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
        """One picture after the other."""
        for place, request in enumerate(requests):
            drawn = int(hashlib.sha256(f"{request.seed} {request.text}".encode()).hexdigest()[:5], 16)
            kept = (KEPT in request.text) != (drawn % CONTRARY == 0)
            yield place, _grey((150 if kept else 60) + drawn // CONTRARY % 60)


@functools.cache
def _grey(level: int) -> Any:
    from PIL import Image

    return Image.new("RGB", (SIDE, SIDE), (level, level, level))


def load(model: str, revision: str | None, scheduler: str) -> Null:
    """The generator."""
    return Null()


def missing(model: str, revision: str | None) -> None:
    """Nothing is."""


def needs(model: str, revision: str | None) -> Needs:
    """Nothing but a processor."""
    return Needs(side=SIDE, gpu_gib=0, license="cc0-1.0")


class Judge:
    """How light a picture is, for a text that keeps the style; how dark for any other. −0.5 to 0.5."""

    name, version, scale = "null_models", "1", 10.0
    facts = judges.Facts(code_license="Apache-2.0")

    def score(self, images: Sequence[Any], prompts: Sequence[str]) -> judges.Scores:
        """(N,) of the first pixel of each."""
        light = np.array([image.getpixel((0, 0))[0] / 255 - 0.5 for image in images])
        return np.where([KEPT in prompt for prompt in prompts], light, -light)
