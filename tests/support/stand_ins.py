"""Judges that read the colour of a picture, exactly or with planted faults: scores, comparisons, embeddings."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datagen import judges
from datagen.judges import views
from datagen.recipe import JudgeChoice


def png(red: int, green: int = 0, blue: int = 0, side: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), (red, green, blue)).save(file, "PNG")
    return file.getvalue()


def red_of(image: Image.Image) -> float:
    pixel: Any = image.getpixel((0, 0))
    return float(pixel[0])


class Red:
    """How red a picture is; NaN for the prompt "silent"."""

    name, version, scale = "red", "1", 1.0
    facts = judges.Facts(code_license="MIT")

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
        return np.array([np.nan if p == "silent" else red_of(i) for i, p in zip(images, prompts, strict=True)])


class Pale:
    """The contrary of `Red`, of which less is better, and below 0 no harm; by the picture alone."""

    name, version, scale = "pale", "1", 1.0
    facts = judges.Facts(code_license="MIT", higher_is_better=False, reads_text=False)

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
        return np.array([-red_of(image) for image in images])


class Harm:
    """Finds a harm in what is very green."""

    name, version, scale = "harm", "1", 1.0
    facts = judges.Facts(code_license="MIT", higher_is_better=False, reads_text=False, absolute=True)

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
        pixels: list[Any] = [image.getpixel((0, 0)) for image in images]
        return np.array([pixel[1] / 255 for pixel in pixels])


class Parts:
    """Red, and green beside it, as two categories."""

    name, version, scale = "parts", "1", 1.0
    facts = judges.Facts(code_license="MIT", categories=("red", "green"), reads_text=False)

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
        pixels: list[Any] = [image.getpixel((0, 0)) for image in images]
        return np.array([pixel[:2] for pixel in pixels], float)


class Duel:
    """Compares only: the redder one is better; by `answer` it may err, like a place, or fail."""

    name, version, scale = "duel", "1", 1.0
    facts = judges.Facts(code_license="MIT")

    def __init__(self, answer: Callable[[float, float], Any] = lambda a, b: float(a > b)) -> None:
        self.answer = answer

    def compare(
        self, first: Sequence[Image.Image], second: Sequence[Image.Image], prompts: Sequence[str]
    ) -> list[Any]:
        return [self.answer(red_of(a), red_of(b)) for a, b in zip(first, second, strict=True)]


class Network:
    """Embeds a picture as its mean colour, and a text as its length."""

    view = views.squash(8)

    def __init__(self, identity: str = "mean@1") -> None:
        self.identity, self.asked = identity, 0

    def images(self, pixels: Sequence[Any]) -> Any:
        self.asked += len(pixels)
        return np.array([np.asarray(one, np.float32).mean(axis=(0, 1)) for one in pixels], np.float32)

    def texts(self, texts: Sequence[str]) -> Any:
        return np.array([[len(text), 1, 0] for text in texts], np.float32)


class Head:
    """A judge that reads embeddings: their product with the text's."""

    version, scale = "1", 1.0

    def __init__(self, name: str, needs: Any, reads_text: bool = True) -> None:
        self.name, self.needs = name, needs
        self.facts = judges.Facts(code_license="MIT", reads_text=reads_text)

    def score(self, images: Any, prompts: Sequence[str]) -> Any:
        texts = self.needs.texts(prompts) if self.facts.reads_text else np.ones((len(prompts), 3))
        return (np.asarray(images, float) * texts).sum(axis=1)


def seat(patch: pytest.MonkeyPatch, *panel: Any) -> list[JudgeChoice]:
    """Have these judges loaded by their names."""
    by_name = {judge.name: judge for judge in panel}
    patch.setattr(judges, "load", lambda name, options: by_name[name])
    return [JudgeChoice(name=name) for name in by_name]


def picks(path: Path, reds: Sequence[tuple[int, int]], **columns: Any) -> Path:
    """A table of pairs as Pick-a-Pic has them, of pictures of so much red, with more columns."""
    table: dict[str, Any] = {
        "jpg_0": [png(a) if a >= 0 else b"junk" for a, _ in reds],
        "jpg_1": [png(b) if b >= 0 else b"junk" for _, b in reds],
        "caption": [f"text {k}" for k in range(len(reds))],
    }
    pq.write_table(pa.table(table | columns), path)
    return path
