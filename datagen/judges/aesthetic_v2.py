"""LAION's improved aesthetic predictor (sac+logos+ava1): how much people would like a picture, 1 to 10."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datagen import judges
from datagen.judges import headed
from datagen.judges.backbones import clip_l
from datagen.weights import heads
from datagen.weights.published import File

if TYPE_CHECKING:
    pass

VERSION = "1"
WEIGHTS = File(
    "aesthetic_v2",
    "christophschuhmann/improved-aesthetic-predictor",
    "sac+logos+ava1-l14-linearMSE.pth",
    "21dd590f",
)
# The places of the linear layers; between them is dropout alone. The file that ends with reluMSE has others.
LAYERS = [f"layers.{k}." for k in (0, 2, 4, 6, 7)]
SHAPES = headed.shapes(LAYERS)


Options = clip_l.Options


class Judge(headed.Affine):
    """Five linear layers without activations on the embedding of length 1, about 3.5 to 7.5."""

    name = "aesthetic_v2"
    scale = 1.0  # nobody published how sure a difference makes
    facts = judges.Facts(
        code_license="Apache-2.0",
        weights_license="Apache-2.0",
        reference="christophschuhmann/improved-aesthetic-predictor",
        reads_text=False,
    )

    def __init__(self, options: clip_l.Options) -> None:
        head = heads.read(WEIGHTS.find(options.weights), SHAPES, WEIGHTS.digest)
        super().__init__(VERSION, head, clip_l.find(options.model, options.precision), LAYERS)
