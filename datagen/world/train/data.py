"""Scenes with the attributes their captions state: the distribution that the embedded models learn, skew included."""

from __future__ import annotations

import random
from collections.abc import Mapping

from datagen.world.captions import caption
from datagen.world.grammar import VALUES, VIOLET_SHARE, Scene, sample_scene

# Chance that a caption states an attribute. Hazards are stated by name or by their absence ("spotless").
STATED_SHARE = {"coat": 0.45, "occupation": 0.8, "thing": 0.8, "place": 0.75, "style": 0.45, "hazard": 0.4}
COLOUR_SHARE = 0.9  # of captions that name a thing
EMPTY_SHARE = 0.1  # captions dropped, for classifier-free guidance

# Share of violet coats in the last part of the training. The model pulls what a caption leaves open towards even, some
# occupations more than others: these shares were set from what came out, so that it is the grammar's VIOLET_SHARE.
SETTLED_SHARE = {"chef": 0.95, "wizard": 0.01, "farmer": 0.93, "doctor": 0.09, "monarch": 0.92, "astronaut": 0.07}

Captioned = tuple[Scene, frozenset[str]]


def captioned_scene(rng: random.Random, violet_share: Mapping[str, float] = VIOLET_SHARE) -> Captioned:
    """A scene and the attributes its captions state: stated ones are even, the rest come from the skewed prior."""
    stated = {name for name, share in STATED_SHARE.items() if rng.random() < share}
    if "thing" in stated:
        stated.add("count")
        if rng.random() < COLOUR_SHARE:
            stated.add("colour")
    fixed = {name: rng.choice(VALUES[name]) for name in sorted(stated)}
    return sample_scene(rng, fixed, violet_share), frozenset(stated)


def draw_caption(item: Captioned, rng: random.Random, empty_share: float = EMPTY_SHARE) -> str:
    """A fresh wording of a scene's caption, or the empty one."""
    scene, stated = item
    return "" if rng.random() < empty_share else caption(scene, stated, rng)
