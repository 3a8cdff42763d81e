"""Draws the README's picture: real pairs of finished datasets, chosen above rejected, the context prompt below.

`python docs/draw_pairs.py out/pick-style out/livo-toxicity … docs/pairs.png`
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from datagen.images.decode import decode

SIDE = 128
GAP = 8
TEXT = 74
COLUMNS = 3  # pairs of each dataset


def rows(run: Path) -> list[dict[str, Any]]:
    """The first pairs of a run's test split."""
    (file,) = sorted((run / "dataset" / "data").glob("test-*.parquet"))
    found: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    found.sort(key=lambda row: row["pair_id"])
    return found[:COLUMNS]


def draw(pairs: list[dict[str, Any]]) -> Image.Image:
    """All pairs side by side."""
    width = GAP + len(pairs) * (SIDE + GAP)
    sheet = Image.new("RGB", (width, 2 * SIDE + 3 * GAP + TEXT), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    for column, row in enumerate(pairs):
        x = GAP + column * (SIDE + GAP)
        for line, side in enumerate(("chosen", "rejected")):
            picture = decode(row[side]["bytes"])
            picture = picture.resize((SIDE, SIDE), Image.Resampling.NEAREST)
            y = GAP + line * (SIDE + GAP)
            sheet.paste(picture, (x, y))
            pen.rectangle((x - 2, y - 2, x + SIDE + 1, y + SIDE + 1), outline=("#1a8f3c", "#c0282d")[line], width=2)
        text = f"{row['prompt']}\n[{row['principle']}]"
        lines = [part for paragraph in text.splitlines() for part in textwrap.wrap(paragraph, 22)]
        pen.multiline_text((x, 2 * SIDE + 3 * GAP), "\n".join(lines), fill="black", font=font, spacing=2)
    return sheet


def main() -> int:
    """Runs first, the PNG to write last."""
    parser = argparse.ArgumentParser(prog="python docs/draw_pairs.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    runs, out = given.runs, given.out
    out.parent.mkdir(parents=True, exist_ok=True)
    draw([row for run in runs for row in rows(run)]).save(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
