"""CLIP through open_clip: the cosine of picture and text (Radford et al. 2021, arXiv 2103.00020)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from datagen import judges
from datagen.judges.backbones import open_clip, rows
from datagen.judges.vectors import cosines

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = "2"
# Log-odds per unit of cosine. A real CLIP was trained to distinguish texts at 1/temperature = 100: its own posterior
# that each picture belongs to its text and not to the other's is sigmoid(100·m). The embedded one is less sharp.
SCALE = {"embedded": 20.0, "real": 100.0}
# What one unit of each definition is in cosines, and what stands before a caption.
CLIPSCORE = {"cosine": (1.0, ""), "percent": (100.0, ""), "hessel": (2.5, "A photo depicts ")}


class Options(rows.Options):
    """Which CLIP, and which of the three scores that are called CLIPScore.

    `model` is "embedded", an open_clip folder, ARCHITECTURE/PRETRAINED, or hf-hub:OWNER/NAME. `definition` is the bare
    "cosine"; "percent", 100·max(cos, 0), as torchmetrics and LiVO have it; or "hessel", 2.5·max(cos, 0) of the caption
    after "A photo depicts" (Hessel et al. 2021, arXiv 2104.08718).
    """

    model: str = Field(default="embedded", min_length=1)
    definition: Literal["cosine", "percent", "hessel"] = "cosine"


class Judge:
    """Reads the embeddings of its backbone."""

    name = "clip"

    def __init__(self, options: Options) -> None:
        embedded = options.model == "embedded"
        self.needs = open_clip.find(options.model, options.precision)
        self._unit, self._before = CLIPSCORE[options.definition]
        self._definition = options.definition
        self.scale = SCALE["embedded" if embedded else "real"] / self._unit
        self.facts = judges.Facts(
            code_license="MIT",
            weights_license="Apache-2.0 (ours)" if embedded else "as its model card says; MIT for OpenAI's",
            reference="open_clip 3.3",
            judges_world_only=embedded,
        )

    @functools.cached_property
    def version(self) -> str:
        """Ours, the definition and the model's."""
        return f"{VERSION}:{self._definition}:{self.needs.identity}"

    def score(self, images: NDArray[np.float32], prompts: Sequence[str]) -> judges.Scores:
        """(N,) float64. Texts are cut to the model's context, as CLIP does; it never abstains."""
        import numpy as np

        found = cosines(images, self.needs.texts([f"{self._before}{prompt}" for prompt in prompts]))
        return found if self._definition == "cosine" else self._unit * np.maximum(found, 0)
