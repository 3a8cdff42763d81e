"""What of a drawn picture is kept: the bytes of its file and, by choice, what it was drawn from within them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from datagen.images import encode
from datagen.records import Image

if TYPE_CHECKING:
    from PIL import Image as Pillow

SHOWN = 7_000  # characters of a text that a file carries: two of them fit into the 64 kB that a JPEG has for words
_QUOTED = re.compile(r'[,:"\n]')


def file_of(row: Image, picture: Pillow.Image, kind: str, *, metadata: bool) -> bytes:
    """The file of a row's picture, of a kind of `encode`; equal for equal rows, pixels and libraries."""
    return encode.encode(picture, kind, parameters(row) if metadata else "")


def parameters(row: Image) -> str:
    """What a picture was drawn from and how, in the three lines that programs for diffusion models write and read."""
    how = {
        "Steps": row.steps,
        "Sampler": row.scheduler,
        "CFG scale": f"{row.guidance:g}",
        "Seed": row.seed,
        "Size": f"{row.width}x{row.height}",
        "Model": row.generator,
        "Model hash": row.generator_revision,
        "VAE": row.vae,
        "Adapter": row.adapter,
    }
    last = ", ".join(f"{name}: {_quoted(str(value))}" for name, value in how.items() if value != "")
    negative = [f"Negative prompt: {_line(row.negative)}"] if row.negative else []
    return "\n".join([_line(row.text), *negative, last])


def _line(text: str) -> str:
    """A text of any origin in one line, so that none passes for another; SHOWN characters at most."""
    shown = "".join(sign if sign.isprintable() else " " for sign in " ".join(text.split()))
    return shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 1]}…"


def _quoted(value: str) -> str:
    """A value as it can stand between commas."""
    return json.dumps(_line(value), ensure_ascii=False) if _QUOTED.search(value) else _line(value)
