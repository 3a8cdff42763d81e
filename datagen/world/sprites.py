"""Every drawing of the embedded world: figures, things, places and hazards, each a short list of shapes.

Each function returns a uint8 RGBA array; all are cached, since the world has only a few hundred of them.
Sizes: figure 24×56, thing 16×16, background and hazard 64×64 (width × height, scene pixels).
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable

import numpy as np

from datagen.world.pen import INK, PAPER, PIXEL_BLOCK, Colour, Pen

COAT_RGB: dict[str, Colour] = {"violet": (122, 62, 200), "amber": (255, 160, 20)}
THING_RGB: dict[str, Colour] = {
    "red": (228, 30, 38),
    "blue": (30, 90, 240),
    "green": (20, 150, 60),
    "yellow": (255, 222, 20),
    "pink": (255, 120, 200),
}
SKIN: Colour = (246, 200, 160)
WHITE: Colour = (250, 250, 250)
BROWN: Colour = (120, 76, 40)
GOLD: Colour = (255, 208, 40)
HAZARD_RGB: dict[str, Colour] = {"splatter": (140, 0, 50), "cracks": (8, 8, 10), "smoke": (78, 74, 72)}


# --- figures -------------------------------------------------------------------------------------------------------


def _toque(pen: Pen) -> None:
    for x in (2, 14, 8):
        pen.ellipse((x, 0 if x == 8 else 2, x + 9, 11), WHITE)
    pen.rectangle((6, 8, 18, 15), WHITE)


def _pointed_hat(pen: Pen) -> None:
    blue = (36, 52, 150)
    pen.polygon([(12, -1), (19, 13), (5, 13)], blue)
    pen.ellipse((1, 11, 23, 17), blue)
    pen.ellipse((9.5, 6, 14.5, 11), GOLD, stroke=False)


def _straw_hat(pen: Pen) -> None:
    straw = (222, 178, 90)
    pen.ellipse((6, 4, 18, 16), straw)
    pen.ellipse((0.5, 10, 23.5, 16), straw)
    pen.rectangle((6.5, 9.5, 17.5, 12), (170, 50, 40), stroke=False)


def _cross_cap(pen: Pen) -> None:
    pen.polygon([(4, 4), (20, 4), (18.5, 15), (5.5, 15)], WHITE)
    pen.line([(12, 5.5), (12, 13.5)], (230, 20, 30), 2.8)
    pen.line([(8, 9.5), (16, 9.5)], (230, 20, 30), 2.8)


def _crown(pen: Pen) -> None:
    pen.polygon([(4, 15), (3, 3), (8, 9), (12, 1), (16, 9), (21, 3), (20, 15)], GOLD)
    pen.ellipse((10.5, 9.5, 13.5, 12.5), (220, 30, 50), stroke=False)


def _helmet(pen: Pen) -> None:
    pen.ellipse((1.5, 4, 22.5, 29), (214, 222, 232))
    pen.ellipse((5, 10, 19, 25), (30, 60, 120))
    pen.ellipse((7, 12, 11, 16), (150, 200, 250), stroke=False)


HATS: dict[str, Callable[[Pen], None]] = {
    "chef": _toque,
    "wizard": _pointed_hat,
    "farmer": _straw_hat,
    "doctor": _cross_cap,
    "monarch": _crown,
    "astronaut": _helmet,
}


@functools.cache
def figure(style: str, occupation: str, coat: str) -> np.ndarray:
    """A figure 24×56: hat (or helmet), face, coat in the group's colour, boots."""
    pen = Pen(style, 24, 56)
    pen.rectangle((7, 48, 11, 55), (60, 56, 70))
    pen.rectangle((13, 48, 17, 55), (60, 56, 70))
    pen.polygon([(8.5, 25), (15.5, 25), (21.5, 49), (2.5, 49)], COAT_RGB[coat])
    if style != "pixel":
        pen.line([(12, 27), (12, 48.5)], INK if style == "plain" else COAT_RGB[coat], 1.0)
    pen.ellipse((6, 13, 18, 27), SKIN)
    for x in (9.7, 14.3):
        pen.line([(x, 18), (x, 21)], INK, 1.8)
    pen.line([(10, 23.5), (14, 23.5)], (170, 70, 60), 0.9)
    HATS[occupation](pen)
    return pen.finish()


# --- things --------------------------------------------------------------------------------------------------------


def _ball(pen: Pen, colour: Colour) -> None:
    pen.ellipse((1.5, 2, 14.5, 15), colour)
    pen.ellipse((4, 4.5, 7.5, 8), PAPER, stroke=False)


def _box(pen: Pen, colour: Colour) -> None:
    pen.rectangle((1.5, 3, 14.5, 14.5), colour)
    pen.rectangle((6.8, 3.5, 9.2, 14), WHITE, stroke=False)
    pen.rectangle((2, 7.4, 14, 9.8), WHITE, stroke=False)


def _tree(pen: Pen, colour: Colour) -> None:
    pen.rectangle((6.5, 11, 9.5, 15.5), BROWN)
    pen.polygon([(8, 0), (15.5, 12), (0.5, 12)], colour)


def _cup(pen: Pen, colour: Colour) -> None:
    pen.ellipse((9, 5, 15.5, 12), colour)
    pen.ellipse((11, 7, 13.6, 10), PAPER)
    pen.polygon([(1, 3.5), (12, 3.5), (10.5, 15), (2.5, 15)], colour)


def _star(pen: Pen, colour: Colour) -> None:
    turn = [(-math.pi / 2 + k * math.pi / 5, 8.2 if k % 2 == 0 else 3.6) for k in range(10)]
    pen.polygon([(8 + r * math.cos(a), 8.6 + r * math.sin(a)) for a, r in turn], colour)


THING_SHAPES: dict[str, Callable[[Pen, Colour], None]] = {
    "ball": _ball,
    "box": _box,
    "tree": _tree,
    "cup": _cup,
    "star": _star,
}


@functools.cache
def thing(style: str, kind: str, colour: str) -> np.ndarray:
    """One thing, 16×16."""
    pen = Pen(style, 16, 16)
    THING_SHAPES[kind](pen, THING_RGB[colour])
    return pen.finish()


# --- places --------------------------------------------------------------------------------------------------------


def _ground(pen: Pen, sky: Colour, ground: Colour) -> None:
    pen.rectangle((-2, -2, 66, 40), sky, stroke=False)
    pen.rectangle((-2, 40, 66, 66), ground, stroke=False)
    if pen.style == "outline":
        pen.line([(0, 40), (64, 40)], ground, 1.6)


def _cloud(pen: Pen, x: float, y: float) -> None:
    for dx, dy in ((0, 3), (10, 3), (5, 0)):
        pen.ellipse((x + dx, y + dy, x + dx + 10, y + dy + 8), WHITE, stroke=pen.style == "outline")


def _park(pen: Pen, variant: int) -> None:
    _ground(pen, (140, 208, 250), (130, 206, 96))
    _cloud(pen, 16 * variant - 2, 4)
    for x in (4, 36, 52):
        at = (x + 8 * variant) % 64
        pen.line([(at, 62), (at - 2, 58)], (90, 170, 60), 1.2)
        pen.line([(at, 62), (at + 2, 58)], (90, 170, 60), 1.2)


def _beach(pen: Pen, variant: int) -> None:
    _ground(pen, (170, 224, 250), (244, 222, 166))
    pen.rectangle((-2, 28, 66, 40), (20, 140, 170), stroke=pen.style == "outline")
    x = 16 * variant
    pen.ellipse((x + 2, 3, x + 14, 15), (255, 236, 120), stroke=pen.style == "outline")


def _city(pen: Pen, variant: int) -> None:
    _ground(pen, (22, 26, 66), (66, 66, 84))
    for k in range(4):
        top = (8, 16, 8, 24)[(k + variant) % 4]
        pen.rectangle((16 * k + 1, top, 16 * k + 15, 40), (48, 52, 96), stroke=pen.style == "outline")
        for y in range(top + 3, 38, 8):
            for x in (3, 9):
                pen.rectangle((16 * k + x, y, 16 * k + x + 4, y + 4), (255, 226, 130), stroke=False)


def _ruins(pen: Pen, variant: int) -> None:
    pen.rectangle((-2, -2, 66, 66), (150, 144, 136), stroke=False)
    mortar = (104, 98, 92)
    for row in range(8):
        pen.line([(0, row * 8), (64, row * 8)], mortar, 1.2)
        for k in range(5):
            x = 16 * k + (8 if (row + variant) % 2 else 0)
            pen.line([(x, row * 8), (x, row * 8 + 8)], mortar, 1.2)
    pen.rectangle((-2, 56, 66, 66), (118, 104, 84), stroke=pen.style == "outline")
    x = 16 * variant
    pen.rectangle((x + 2, 2, x + 14, 14), (70, 66, 64), stroke=False)


def _mountains(pen: Pen, variant: int) -> None:
    _ground(pen, (196, 214, 240), (240, 246, 252))
    for k in range(-1, 4):
        x = 24 * k + 8 * variant - 8
        pen.polygon([(x, 40), (x + 16, 10), (x + 32, 40)], (112, 128, 168))
        pen.polygon([(x + 11, 19.4), (x + 16, 10), (x + 21, 19.4), (x + 16, 22)], WHITE, stroke=False)


PLACE_SHAPES: dict[str, Callable[[Pen, int], None]] = {
    "park": _park,
    "beach": _beach,
    "city": _city,
    "ruins": _ruins,
    "mountains": _mountains,
}


def _dither(image: np.ndarray) -> np.ndarray:
    """Chequer darker blocks over a pixel-art background, as limited palettes do."""
    y, x = np.indices(image.shape[:2]) // PIXEL_BLOCK
    image[..., :3] = np.where(((x + y) % 2 == 0)[..., None], image[..., :3], image[..., :3] * 0.86)
    return image


@functools.cache
def background(style: str, place: str, variant: int) -> np.ndarray:
    """A place, 64×64, opaque."""
    pen = Pen(style, 64, 64)
    PLACE_SHAPES[place](pen, variant)
    image = pen.finish()
    image[..., 3] = 255
    return _dither(image) if style == "pixel" else image


# --- hazards -------------------------------------------------------------------------------------------------------


def _splatter(pen: Pen, rng: random.Random) -> None:
    colour = HAZARD_RGB["splatter"]
    for _ in range(9):
        x, y = 8 * rng.randrange(8) + 4, 8 * rng.randrange(8) + 4
        r = rng.choice((2.6, 3.6, 4.6))
        pen.ellipse((x - r, y - r, x + r, y + r), colour, stroke=False)
        pen.ellipse((x + r, y + 1, x + r + 2.4, y + 3.4), colour, stroke=False)
        pen.line([(x, y), (x, y + r + 4)], colour, 1.8)


def _cracks(pen: Pen, rng: random.Random) -> None:
    for start in ((rng.choice((4, 12, 20)), 0), (rng.choice((36, 44, 52)), 0)):
        x, y = start
        points = [(float(x), float(y))]
        while y < 64:
            x, y = x + rng.choice((-6, -3, 4, 8)), y + 8
            points.append((float(x), float(y)))
        pen.line(points, HAZARD_RGB["cracks"], 2.6)
        fork = points[3]
        pen.line([fork, (fork[0] + rng.choice((-10, 10)), fork[1] + 10)], HAZARD_RGB["cracks"], 1.8)


def _smoke(pen: Pen, rng: random.Random) -> None:
    dark, light = HAZARD_RGB["smoke"], (112, 106, 102)
    for left in (rng.choice((0, 8)), rng.choice((32, 40))):
        for k, y in enumerate((40, 32, 24, 16, 8, 0)):
            r = 6.5 + 0.9 * k
            x = left + 12 + rng.choice((-3, 0, 3))
            pen.ellipse((x - r, y - r, x + r, y + r), dark, stroke=False)
            pen.ellipse((x - 0.6 * r, y - 0.8 * r, x + 0.3 * r, y), light, stroke=False)


HAZARD_SHAPES: dict[str, Callable[[Pen, random.Random], None]] = {
    "splatter": _splatter,
    "cracks": _cracks,
    "smoke": _smoke,
}


HAZARDS_BEHIND = ("smoke",)
HAZARDS_IN_FRONT = ("splatter", "cracks")


class _SolidPen(Pen):
    """Hazards keep their full colour in every style, so that a line drawing cannot hide one."""

    def _look(self, colour: Colour) -> tuple[Colour, Colour, float]:
        return colour, colour, 0.0


@functools.cache
def hazard(style: str, kind: str, variant: int) -> np.ndarray:
    """A hazard, 64×64: splatter and cracks lie over the whole scene, smoke hangs behind figure and things."""
    pen = _SolidPen(style, 64, 64)
    HAZARD_SHAPES[kind](pen, random.Random(f"{kind}-{variant}"))
    return pen.finish()
