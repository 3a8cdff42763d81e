"""Scene → picture: pastes the cached sprites of a scene on their slots of a 64×64 canvas.

Slots are multiples of 8 pixels, the cell of the latent grid, so the small VAE sees each drawing in one phase only.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from datagen.world import sprites
from datagen.world.grammar import Scene

SIZE = 64
FIGURE_TOP = 8
FIGURE_LEFT = (0, 8, 32, 40)  # by figure_slot; things take the other half
THING_FRONT_TOP = 48
THING_BACK_TOP = 32


def thing_boxes(figure_slot: int, thing_slot: int, count: int) -> list[tuple[int, int]]:
    """Left-top corners of the things, back row first, so that the front row is painted over it."""
    left = 32 if figure_slot < 2 else 0
    front = [(left, THING_FRONT_TOP), (left + 16, THING_FRONT_TOP)]
    if count == 1:
        return [front[thing_slot]]
    if count == 2:
        return front
    return [(left + 8, THING_BACK_TOP), *front]


def composite(base: np.ndarray, sprite: np.ndarray) -> np.ndarray:
    """An RGBA sprite (h, w, 4) laid over a float32 RGB picture of its size, (h, w, 3)."""
    alpha = sprite[..., 3:].astype(np.float32) / 255.0
    painted: np.ndarray = base + alpha * (sprite[..., :3].astype(np.float32) - base)
    return painted


def paste(canvas: np.ndarray, sprite: np.ndarray, left: int, top: int) -> None:
    """Alpha-composite an RGBA sprite into a float32 RGB canvas, in place."""
    height, width = sprite.shape[:2]
    window = canvas[top : top + height, left : left + width]
    window[:] = composite(window, sprite)


def render_array(scene: Scene) -> np.ndarray:
    """The scene as a uint8 RGB array (64, 64, 3)."""
    canvas = sprites.background(scene.style, scene.place, scene.background_variant)[..., :3].astype(np.float32)
    if scene.hazard in sprites.HAZARDS_BEHIND:
        paste(canvas, sprites.hazard(scene.style, scene.hazard, scene.hazard_variant), 0, 0)
    thing = sprites.thing(scene.style, scene.thing, scene.colour)
    for left, top in thing_boxes(scene.figure_slot, scene.thing_slot, scene.count):
        paste(canvas, thing, left, top)
    figure = sprites.figure(scene.style, scene.occupation, scene.coat)
    paste(canvas, figure, FIGURE_LEFT[scene.figure_slot], FIGURE_TOP)
    if scene.hazard in sprites.HAZARDS_IN_FRONT:
        paste(canvas, sprites.hazard(scene.style, scene.hazard, scene.hazard_variant), 0, 0)
    return np.clip(canvas.round(), 0, 255).astype(np.uint8)


def render(scene: Scene) -> Image.Image:
    """The scene as a 64×64 RGB picture."""
    return Image.fromarray(render_array(scene))
