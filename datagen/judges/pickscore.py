"""PickScore: a CLIP ViT-H/14 trained on what people chose on Pick-a-Pic (Kirstain et al. 2023, arXiv 2305.01569)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from datagen import judges
from datagen.judges import jury
from datagen.judges.backbones import hf_clip, rows
from datagen.judges.vectors import cosines
from datagen.weights.published import Folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = "1"
WEIGHTS = Folder("pickscore", "yuvalkirstain/PickScore_v1")


class Options(rows.Options):
    """`weights` is a folder of transformers' CLIPModel with its tokenizer, "embedded" the one of the embedded jury; ""
    is where `datagen doctor` looks."""

    weights: str = ""


class Judge:
    """exp(logit_scale)·cos, about 17 to 24 with the published weights; only scores of one text can be compared."""

    name = "pickscore"
    facts = judges.Facts(
        code_license="MIT",
        weights_license="none on their card; their repository is under MIT",
        reference="PickScore's repository (transformers 4.27)",
    )
    scale = 1.0  # its own P(a beats b) is the softmax of both scores

    def __init__(self, options: Options) -> None:
        embedded = options.weights == jury.EMBEDDED
        folder = jury.folder(self.name) if embedded else WEIGHTS.find(options.weights)
        self.needs = hf_clip.find(self.name, folder, options.precision)
        self.facts = jury.facts(self.facts) if embedded else self.facts

    @functools.cached_property
    def version(self) -> str:
        """Ours and the weights'."""
        return f"{VERSION}:{self.needs.identity}"

    def score(self, images: NDArray[np.float32], prompts: Sequence[str]) -> judges.Scores:
        """(N,) float64. Texts are cut to 77 tokens; it never abstains."""
        return self.needs.logit_scale * cosines(images, self.needs.texts(prompts))
