"""grid.png: some prompts, and the pictures of each arm side by side, the same seeds in the same order.

Prompts are taken evenly from the whole list, never by what they show.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.evaluation.pictures import Round

PROMPTS = 8
EACH = 4  # pictures of a prompt and arm at most
SIDE, GAP, MARGIN, TEXT = 128, 4, 16, 200  # pixels: a picture, between two, between arms, the caption's column
INK = "#222222"


def contact_sheet(one: Round, texts: Sequence[str]) -> Image.Image:
    """The caption at the left, then the base's pictures, then the adapted ones."""
    known = sorted(set(one.prompt_of))
    chosen = [known[i] for i in np.unique(np.linspace(0, len(known) - 1, PROMPTS).round().astype(int))]
    rows = [[i for i, p in enumerate(one.prompt_of) if p == prompt][:EACH] for prompt in chosen]
    columns = max(len(row) for row in rows)
    block = columns * (SIDE + GAP) - GAP
    lefts = [MARGIN + TEXT + k * (block + MARGIN) for k in range(len(one.arms))]
    page = Image.new("RGB", (lefts[-1] + block + MARGIN, 2 * MARGIN + len(rows) * (SIDE + GAP) + MARGIN), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for left, (arm, pictures) in zip(lefts, one.arms.items(), strict=True):
        pen.text((left, MARGIN // 2), arm, INK, ImageFont.load_default(15))
        for k, row in enumerate(rows):
            for column, index in enumerate(row):
                place = (left + column * (SIDE + GAP), 2 * MARGIN + k * (SIDE + GAP))
                page.paste(_square(pictures[index]), place)
    for k, prompt in enumerate(chosen):
        lines = textwrap.wrap(texts[prompt], TEXT // 7)[:7]
        pen.multiline_text((MARGIN, 2 * MARGIN + k * (SIDE + GAP)), "\n".join(lines), INK, font, spacing=3)
    return page


def _square(picture: Image.Image) -> Image.Image:
    """A picture within SIDE×SIDE: small ones with hard edges, so that their pixels can be seen."""
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    kind = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    square = Image.new("RGB", (SIDE, SIDE), "#f2f2f2")
    square.paste(picture.resize(size, kind), ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return square
