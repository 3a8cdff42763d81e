"""Reads a scene's attributes off a picture by analysis through synthesis: it knows every drawing of the renderer.

Place and style first, then the figure, then the things, then what nothing explains: hazards. Distances are clipped per
pixel, so a part hidden under a hazard costs little. Exact on renders; its error on generated pictures is published.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import numpy as np
from PIL import Image

from datagen.world import sprites
from datagen.world.grammar import (
    BACKGROUND_VARIANTS,
    COATS,
    COLOURS,
    HAZARD_VARIANTS,
    OCCUPATIONS,
    PLACES,
    STYLES,
    THINGS,
)
from datagen.world.render import FIGURE_LEFT, FIGURE_TOP, SIZE, composite, paste, thing_boxes

CLIP_DISTANCE = 60.0  # of 255; a pixel further off than this is simply unexplained
HAZARD_MARGIN = 12.0  # a pixel belongs to a hazard if its colour fits this much better than the scene without it
HAZARD_PIXELS = 70  # fewer pixels than this are not a hazard; the smallest drawn one covers about 200


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a picture shows: all eight attributes, and its mean distance (0 to 60) from the render of that scene."""

    attributes: dict[str, object]
    error: float


def _distance(picture: np.ndarray, templates: np.ndarray) -> np.ndarray:
    """Clipped distance per pixel: mean absolute channel difference, (..., H, W)."""
    distance: np.ndarray = np.minimum(np.abs(picture - templates).mean(-1), CLIP_DISTANCE)
    return distance


@functools.cache
def _backgrounds() -> tuple[list[tuple[str, str, bool]], np.ndarray]:
    """Every background, with and without smoke: names (style, place, smoke) and pictures (N, 64, 64, 3) float32."""
    names, pictures = [], []
    for style, place, variant in itertools.product(STYLES, PLACES, range(BACKGROUND_VARIANTS)):
        plain = sprites.background(style, place, variant)[..., :3].astype(np.float32)
        names.append((style, place, False))
        pictures.append(plain)
        for smoke in range(HAZARD_VARIANTS):
            names.append((style, place, True))
            pictures.append(composite(plain, sprites.hazard(style, "smoke", smoke)))
    return names, np.stack(pictures)


@functools.cache
def _background_thumbnails() -> np.ndarray:
    return np.ascontiguousarray(_backgrounds()[1][:, ::2, ::2])


def _read_background(picture: np.ndarray) -> tuple[str, str, bool, np.ndarray]:
    names, pictures = _backgrounds()
    costs = _distance(picture[::2, ::2], _background_thumbnails()).sum((1, 2))
    best = int(costs.argmin())
    return *names[best], pictures[best]


def _read_figure(picture: np.ndarray, base: np.ndarray, style: str) -> tuple[str, str, int]:
    """Occupation, coat and slot whose sprite explains most of what the background leaves unexplained."""
    best = (-np.inf, "", "", 0)
    for slot, left in enumerate(FIGURE_LEFT):
        window = (slice(FIGURE_TOP, SIZE), slice(left, left + 24))
        seen, behind = picture[window], base[window]
        unexplained = _distance(seen, behind).sum()
        for occupation, coat in itertools.product(OCCUPATIONS, COATS):
            drawn = composite(behind, sprites.figure(style, occupation, coat))
            gain = unexplained - _distance(seen, drawn).sum()
            best = max(best, (gain, occupation, coat, slot))
    return best[1:]


def _read_things(picture: np.ndarray, base: np.ndarray, style: str, slot: int) -> tuple[str, str, int, int]:
    """Thing, colour, count and slot with the least distance over the things' half of the ground."""
    left = 32 if slot < 2 else 0
    window = (slice(32, SIZE), slice(left, left + 32))
    arrangements = [(1, 0), (1, 1), (2, 0), (3, 0)]
    names = list(itertools.product(THINGS, COLOURS, arrangements))
    drawn = np.repeat(base[None, 32:SIZE, left : left + 32], len(names), axis=0)
    for canvas, (kind, colour, (count, thing_slot)) in zip(drawn, names, strict=True):
        for x, y in thing_boxes(slot, thing_slot, count):
            paste(canvas, sprites.thing(style, kind, colour), x - left, y - 32)
    costs = _distance(picture[window], drawn).sum((1, 2))
    kind, colour, (count, thing_slot) = names[int(costs.argmin())]
    return kind, colour, count, thing_slot


def _read_front_hazard(picture: np.ndarray, scene: np.ndarray) -> tuple[str, np.ndarray]:
    """The hazard laid over a reconstructed scene ("none" if neither covers enough) and the pixels it covers."""
    inks = np.array([sprites.HAZARD_RGB[name] for name in sprites.HAZARDS_IN_FRONT], dtype=np.float32)
    to_ink = np.abs(picture[None] - inks[:, None, None]).mean(-1)
    nearest = to_ink.argmin(0)  # dark red and black are near each other: a pixel belongs to the nearer one only
    covered = to_ink.min(0) + HAZARD_MARGIN < np.abs(picture - scene).mean(-1)
    masks = [covered & (nearest == k) for k in range(len(inks))]
    best = int(np.argmax([mask.sum() for mask in masks]))
    if masks[best].sum() < HAZARD_PIXELS:
        return "none", np.zeros_like(covered)
    return sprites.HAZARDS_IN_FRONT[best], covered


def read_array(pixels: np.ndarray) -> Reading:
    """Read one picture given as (64, 64, 3) uint8."""
    picture = pixels.astype(np.float32)
    style, place, smoke, base = _read_background(picture)
    occupation, coat, slot = _read_figure(picture, base, style)
    scene = base.copy()
    kind, colour, count, thing_slot = _read_things(picture, base, style, slot)
    for x, y in thing_boxes(slot, thing_slot, count):
        paste(scene, sprites.thing(style, kind, colour), x, y)
    paste(scene, sprites.figure(style, occupation, coat), FIGURE_LEFT[slot], FIGURE_TOP)
    hazard, mask = _read_front_hazard(picture, scene)
    if hazard == "none" and smoke:
        hazard = "smoke"
    attributes: dict[str, object] = {
        "coat": coat, "occupation": occupation, "thing": kind, "colour": colour, "count": count, "place": place,
        "style": style, "hazard": hazard,
    }  # fmt: skip
    return Reading(attributes, float(_distance(picture, scene)[~mask].mean()) if not mask.all() else CLIP_DISTANCE)


def read(images: Sequence[Image.Image]) -> list[Reading]:
    """Read pictures of any size and mode; other sizes are first brought to 64×64."""
    readings = []
    for image in images:
        rgb = image.convert("RGB")
        small = rgb if rgb.size == (SIZE, SIZE) else rgb.resize((SIZE, SIZE), Image.Resampling.BOX)
        readings.append(read_array(np.asarray(small)))
    return readings
