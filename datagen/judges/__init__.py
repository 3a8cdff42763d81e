"""Judges: what says how well a picture fits a text. The folder is the registry: one file a judge.

Each file has `VERSION`, `ABSOLUTE`, `scale(choice)` and `load(choice)`. A judge may abstain (NaN); nobody guesses. A
score depends on the picture and the text alone, never on the batch.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from datagen.errors import ModelError, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Scores = NDArray[np.float64]


class JudgeChoice(Protocol):
    """The part of a profile that decides which judges are loaded."""

    @property
    def clip_model(self) -> str:
        """The word "embedded", an open_clip folder, or "architecture/pretrained"."""


class Judge(Protocol):
    """A loaded judge. `scale`: log-odds of a label a unit of score. `absolute`: the score is a share, 0…1."""

    name: str
    version: str
    scale: float
    absolute: bool

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Scores:
        """(N,) float64, one score for each picture and its text; NaN abstains. A picture given twice is read once."""


def names() -> list[str]:
    """The judges that there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def module(name: str) -> ModuleType:
    """The file of a judge, without its model; ModelError with the nearest name if there is none."""
    if name not in names():
        raise ModelError(f"no judge is called {name!r}; {nearest(name, names())}")
    return importlib.import_module(f"{__name__}.{name}")


def scale(name: str, choice: JudgeChoice) -> float:
    """Log-odds a unit of a judge's score, without loading its model."""
    return float(module(name).scale(choice))


def is_absolute(name: str) -> bool:
    """Whether a judge's score is a share, 0…1, that can be compared with a limit."""
    return bool(module(name).ABSOLUTE)


def load(name: str, choice: JudgeChoice) -> Judge:
    """A judge ready to score; each is loaded once a process."""
    judge: Judge = module(name).load(choice)
    return judge


def distinct(images: Sequence[Image.Image]) -> tuple[list[Image.Image], list[int]]:
    """The pictures without repetitions of the same object, and for each given one its place among them."""
    places: dict[int, int] = {}
    unique: list[Image.Image] = []
    for image in images:
        if id(image) not in places:
            places[id(image)] = len(unique)
            unique.append(image)
    return unique, [places[id(image)] for image in images]
