"""LAION's first aesthetic predictor: how much people would like a picture, 1 to 10, linear in CLIP's embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datagen import judges
from datagen.judges import jury
from datagen.judges.backbones import clip_l
from datagen.judges.headed import Affine
from datagen.weights import heads
from datagen.weights.published import File

if TYPE_CHECKING:
    pass

VERSION = "1"
WEIGHTS = File("aesthetic_v1", "LAION-AI/aesthetic-predictor", "sa_0_4_vit_l_14_linear.pth", "2cd4e60f")
HEAD = "sa_0_4_linear.safetensors"  # the embedded jury's
SHAPES = {"weight": (1, heads.ANY), "bias": (1,)}


class Options(clip_l.Options):
    """Also `weights` may be "embedded": the head of the embedded jury, on the jury's own CLIP whatever `model` is."""


class Judge(Affine):
    """w·e + b of the embedding e of length 1, about 1 to 8."""

    name = "aesthetic_v1"
    facts = judges.Facts(
        code_license="MIT",
        weights_license="MIT",
        reference="LAION-AI/aesthetic-predictor",
        reads_text=False,
    )
    scale = 1.0  # nobody published how sure a difference makes

    def __init__(self, options: Options) -> None:
        embedded = options.weights == jury.EMBEDDED
        self.facts = jury.facts(self.facts) if embedded else self.facts
        file = jury.folder(self.name) / HEAD if embedded else WEIGHTS.find(options.weights)
        model = jury.EMBEDDED if embedded else options.model
        super().__init__(VERSION, heads.read(file, SHAPES, WEIGHTS.digest), clip_l.find(model, options.precision))
