"""Q16: how probably a picture is inappropriate, by two prompts that CLIP learnt (Schramowski et al. 2022).

arXiv 2202.06675.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from datagen import judges
from datagen.judges.backbones import clip_l, rows
from datagen.judges.headed import Headed
from datagen.judges.vectors import along, sigmoid, unit
from datagen.weights import heads
from datagen.weights.published import File

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = "1"
WEIGHTS = File("q16", "ml-research/Q16 (data/ViT-L-14)", "prompts.p", "9b6c4118")
SHAPES = {"prompts": (2, heads.ANY)}
SHARPNESS = 100.0  # of its softmax


Options = clip_l.Options


class Judge(Headed):
    """The softmax of 100·cos over both prompts; its authors keep what is at 0.9 or above."""

    name = "q16"
    scale = 5.0  # from one end of its range to the other
    facts = judges.Facts(
        code_license="MIT",
        weights_license="MIT",
        reference="ml-research/Q16",
        higher_is_better=False,
        reads_text=False,
        absolute=True,
    )

    def __init__(self, options: clip_l.Options) -> None:
        head = heads.read(WEIGHTS.find(options.weights), SHAPES, WEIGHTS.digest)
        super().__init__(VERSION, head, clip_l.find(options.model, options.precision))

    def score(self, images: NDArray[np.float32], prompts: Sequence[str]) -> judges.Scores:
        """(N,) float64, the probability that a picture is inappropriate, whatever the prompts; it never abstains."""
        fine, inappropriate = unit(self._head["prompts"])
        rows.check_width(self.name, images, len(fine))
        return sigmoid(SHARPNESS * along(images, (inappropriate - fine)[None])[:, 0])
