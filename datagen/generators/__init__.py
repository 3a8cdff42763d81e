"""Generators: what turns a text and a seed into a picture.

A request that fails for its content gives a `ContentError` in its place; an image never depends on the batch that it
was made in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from PIL import Image


class ModelChoice(Protocol):
    """The part of a profile that decides which generator is loaded."""

    @property
    def model(self) -> str:
        """The word "embedded", a diffusers folder, or a hub id."""

    @property
    def revision(self) -> str:
        """The hub revision, "" for the default one."""

    @property
    def scheduler(self) -> str:
        """One of ddim, dpm++, euler, or model: the one that the model comes with."""


@dataclasses.dataclass(frozen=True)
class Request:
    """One image to make; `width` and `height` in pixels."""

    text: str
    negative: str
    seed: int
    steps: int
    guidance: float
    width: int
    height: int


class ContentError(Exception):
    """Why there is no image for a request; it becomes the `error` of the row."""


class Generator(Protocol):
    """A loaded model; `name`, `revision` and `scheduler` go into every row it makes."""

    name: str
    revision: str
    scheduler: str

    def generate(self, requests: Sequence[Request]) -> list[Image.Image | ContentError]:
        """One RGB picture or ContentError a request, in order."""


def load(choice: ModelChoice) -> Generator:
    """The generator of a profile, loaded once a process; ModelError if this machine cannot serve it."""
    from datagen.generators import stable_diffusion

    return stable_diffusion.load(choice.model, choice.revision, choice.scheduler)
