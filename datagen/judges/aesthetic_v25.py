"""Aesthetic predictor v2.5: how much people would like a picture, 1 to 10, by an AGPL head on SigLIP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datagen import judges
from datagen.judges import headed
from datagen.judges.backbones import rows, siglip
from datagen.weights import heads
from datagen.weights.published import File, Folder

if TYPE_CHECKING:
    pass

VERSION = "1"
WEIGHTS = File("aesthetic_v25", "discus0434/aesthetic-predictor-v2-5", "aesthetic_predictor_v2_5.pth", "a6caf256")
TOWER = Folder("aesthetic_v25", "google/siglip-so400m-patch14-384", option="tower", under="siglip")
LAYERS = [f"scoring_head.{k}." for k in (0, 2, 4, 6, 8)]  # the linear ones; between them is dropout alone
SHAPES = headed.shapes(LAYERS)


class Options(rows.Options):
    """`weights` is the published head or its folder, `tower` SigLIP's; "" is where `datagen doctor` looks."""

    weights: str = ""
    tower: str = ""


class Judge(headed.Affine):
    """Five linear layers without activations on the pooled embedding of length 1, about 1 to 10, above 5.5 good.

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
        needs = siglip.find("siglip", TOWER.find(options.tower), options.precision)
        super().__init__(VERSION, head, needs, LAYERS)
