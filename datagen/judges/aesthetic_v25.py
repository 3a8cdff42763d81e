"""Aesthetic predictor v2.5: how much people would like a picture, 1 to 10, by an AGPL head on SigLIP."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from datagen import judges
from datagen.judges.backbones import rows, siglip
from datagen.judges.vectors import along, collapsed
from datagen.weights import heads
from datagen.weights.published import File, Folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = "1"
WEIGHTS = File("aesthetic_v25", "discus0434/aesthetic-predictor-v2-5", "aesthetic_predictor_v2_5.pth", "a6caf256")
TOWER = Folder("aesthetic_v25", "google/siglip-so400m-patch14-384", option="tower", under="siglip")
# The places of the linear layers; between them is dropout alone.
LAYERS = {"scoring_head.0": (1024, heads.ANY), "scoring_head.2": (128, 1024), "scoring_head.4": (64, 128)}
LAYERS |= {"scoring_head.6": (16, 64), "scoring_head.8": (1, 16)}
SHAPES: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in LAYERS.items()}
SHAPES |= {f"{name}.bias": shape[:1] for name, shape in LAYERS.items()}


class Options(judges.Options):
    """`weights` is the published head or its folder, `tower` SigLIP's; "" is where `datagen doctor` looks."""

    weights: str = ""
    tower: str = ""


class Judge:
    """Five linear layers without activations on the pooled embedding of length 1, computed as one affine map, in fp32.

    Its reference runs in bfloat16.
    """

    name = "aesthetic_v25"
    scale = 1.0  # nobody published how sure a difference makes
    facts = judges.Facts(
        code_license="AGPL-3.0 of the reference, whose code is not used",
        weights_license="AGPL-3.0 (head), Apache-2.0 (SigLIP)",
        reference="discus0434/aesthetic-predictor-v2-5",
        reads_text=False,
    )

    def __init__(self, options: Options) -> None:
        head = heads.read(WEIGHTS.find(options.weights), SHAPES, WEIGHTS.digest)
        self._identity = heads.identity(head)
        self._affine = collapsed([(head[f"{name}.weight"], head[f"{name}.bias"]) for name in LAYERS])
        self.needs = siglip.find("siglip", TOWER.find(options.tower))

    @functools.cached_property
    def version(self) -> str:
        """Ours, the head's and the tower's."""
        return f"{VERSION}:{self._identity}:{self.needs.identity}"

    def score(self, images: NDArray[np.float32], prompts: Sequence[str]) -> judges.Scores:
        """(N,) float64, about 1 to 10, above 5.5 good, whatever the prompts; it never abstains."""
        weight, bias = self._affine
        rows.check_width(self.name, images, weight.shape[1])
        found: NDArray[np.float64] = along(images, weight)[:, 0] + bias
        return found
