"""CLIP through open_clip: the cosine of picture and text (Radford et al. 2021, arXiv 2103.00020).

Pictures are embedded once for all texts of a call, texts once per process.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from datagen import judges
from datagen.judges.backbones import open_clip

if TYPE_CHECKING:
    from PIL import Image

VERSION = "1"
# Log-odds per unit of cosine. A real CLIP was trained to distinguish texts at 1/temperature = 100: its own posterior
# that each picture belongs to its text and not to the other's is sigmoid(100·m). The embedded one is less sharp.
SCALE = {"embedded": 20.0, "real": 100.0}


class Options(judges.Options):
    """Which CLIP: "embedded", an open_clip folder, ARCHITECTURE/PRETRAINED, or hf-hub:OWNER/NAME."""

    model: str = Field(default="embedded", min_length=1)


class Judge:
    """An open_clip model with its own preprocessing and tokenizer."""

    name = "clip"
    absolute = False

    def __init__(self, options: Options) -> None:
        self.embedded = options.model == "embedded"
        self.scale = SCALE["embedded" if self.embedded else "real"]
        self._source = open_clip.find(options.model)

    @functools.cached_property
    def version(self) -> str:
        """Ours and the model's."""
        return f"{VERSION}:{self._source.identity}"

    @functools.cached_property
    def _clip(self) -> open_clip.Clip:
        return open_clip.load(self._source)

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> judges.Scores:
        """(N,) float64, cosines in -1…1. Texts are cut to the model's context, as CLIP does; it never abstains."""
        import numpy as np

        unique, places = judges.distinct(images)
        if not unique:
            return np.zeros(0)
        pictures, texts = self._clip.images(unique), self._clip.texts(prompts)
        cosines: judges.Scores = np.einsum("nd,nd->n", pictures[places], texts)
        return cosines
