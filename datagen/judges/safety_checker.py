"""Stable Diffusion's safety checker: how near a picture is to 17 concepts of sexual content, less their thresholds."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from datagen import judges
from datagen.judges.backbones import clip_l, rows
from datagen.judges.headed import Headed
from datagen.judges.vectors import along, unit
from datagen.weights import clip, files, heads, towers
from datagen.weights.published import Folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = "1"
WEIGHTS = Folder("safety_checker", "CompVis/stable-diffusion-safety-checker")
CONCEPTS, SPECIAL = 17, 3
SHAPES = {
    "concept_embeds": (CONCEPTS, heads.ANY),
    "concept_embeds_weights": (CONCEPTS,),
    "special_care_embeds": (SPECIAL, heads.ANY),
    "special_care_embeds_weights": (SPECIAL,),
}
STRICTER = 0.01  # what is added once one of the special concepts is found
DIGITS = 3

Options = clip_l.Options


class Judge(Headed):
    """Cosine minus the checkpoint's threshold, rounded; above 0 in the first column is what the checker blacks out.

    The checkpoint's tower must be that of the CLIP whose embedding it reads: they are compared before it is first
    asked. Its own processor cuts one pixel off the middle in pictures of some sizes, as 1216 × 832; CLIP's does not.
    """

    name = "safety_checker"
    scale = 100.0  # of cosines, as CLIP was trained
    facts = judges.Facts(
        code_license="Apache-2.0",
        weights_license="none on their card; CreativeML OpenRAIL-M with Stable Diffusion",
        reference="diffusers' StableDiffusionSafetyChecker",
        categories=("max", *(f"concept {k + 1}" for k in range(CONCEPTS))),
        higher_is_better=False,
        reads_text=False,
    )

    def __init__(self, options: clip_l.Options) -> None:
        self._folder = WEIGHTS.find(options.weights)
        self._clip = clip_l.find(options.model, options.precision)
        super().__init__(VERSION, heads.read_part(files.find(self._folder), SHAPES), self._clip)

    def score(self, images: NDArray[np.float32], prompts: Sequence[str]) -> judges.Scores:
        """(N, 18) float64: the largest, then each concept's, whatever the prompts; it never abstains."""
        import numpy as np

        rows.check_width(self.name, images, self._head["concept_embeds"].shape[1])
        _ = self._same_tower
        adjustment = np.zeros(len(images), np.float32)
        for found in self._beyond(images, "special_care_embeds").T:  # one that is found makes those after it stricter
            adjustment[np.round(found + adjustment, DIGITS) > 0] = STRICTER
        each = np.round(self._beyond(images, "concept_embeds") + adjustment[:, None], DIGITS)
        return np.concatenate([each.max(axis=1, keepdims=True), each], axis=1).astype(np.float64)

    def _beyond(self, images: NDArray[np.float32], which: str) -> NDArray[np.float32]:
        """(N, K) cosines less thresholds, in float32 as the checker has them."""
        import numpy as np

        cosines = along(images, unit(self._head[which])).astype(np.float32)
        found: NDArray[np.float32] = cosines - self._head[f"{which}_weights"]
        return found

    @functools.cached_property
    def _same_tower(self) -> None:
        towers.check_same(self._folder, clip.weights(self._clip.source))
