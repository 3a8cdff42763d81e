"""LAION's improved aesthetic predictor (sac+logos+ava1): how much people would like a picture, 1 to 10."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from datagen import judges
from datagen.judges.backbones import clip_l, rows
from datagen.judges.vectors import along, collapsed
from datagen.weights import heads
from datagen.weights.published import File

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = "1"
WEIGHTS = File(
    "aesthetic_v2",
    "christophschuhmann/improved-aesthetic-predictor",
    "sac+logos+ava1-l14-linearMSE.pth",
    "21dd590f",
)
# The places of the linear layers; between them is dropout alone. The file that ends with reluMSE has others.
LAYERS = {"layers.0": (1024, heads.ANY), "layers.2": (128, 1024), "layers.4": (64, 128)}
LAYERS |= {"layers.6": (16, 64), "layers.7": (1, 16)}
SHAPES: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in LAYERS.items()}
SHAPES |= {f"{name}.bias": shape[:1] for name, shape in LAYERS.items()}


Options = clip_l.Options


class Judge:
    """Five linear layers without activations on the embedding of length 1: one affine map, and computed as one."""

    name = "aesthetic_v2"
    scale = 1.0  # nobody published how sure a difference makes
    facts = judges.Facts(
        code_license="Apache-2.0",
        weights_license="Apache-2.0",
        reference="christophschuhmann/improved-aesthetic-predictor",
        reads_text=False,
    )

    def __init__(self, options: clip_l.Options) -> None:
        self._head = heads.read(WEIGHTS.find(options.weights), SHAPES, WEIGHTS.digest)
        self._affine = collapsed([(self._head[f"{name}.weight"], self._head[f"{name}.bias"]) for name in LAYERS])
        self.needs = clip_l.find(options.model)

    @functools.cached_property
    def version(self) -> str:
        """Ours, the head's and the model's."""
        return f"{VERSION}:{heads.identity(self._head)}:{self.needs.identity}"

    def score(self, images: NDArray[np.float32], prompts: Sequence[str]) -> judges.Scores:
        """(N,) float64, about 3.5 to 7.5, whatever the prompts; it never abstains."""
        weight, bias = self._affine
        rows.check_width(self.name, images, weight.shape[1])
        found: NDArray[np.float64] = along(images, weight)[:, 0] + bias
        return found
