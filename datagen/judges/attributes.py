"""Attributes that a picture shows: which of a list fits it best by CLIP, as LiVO measures fairness."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from datagen import judges
from datagen.judges.backbones import clip_l, open_clip, rows
from datagen.judges.vectors import softmax, unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = "1"
# LiVO's two lists.
PRESETS = {"gender": ("male", "female"), "race": ("white", "black", "indian", "asian", "latino")}


def _listed(given: Any) -> Any:
    """A preset's attributes by its name; PydanticCustomError for what is no preset, and for one given twice."""
    if isinstance(given, str):
        if given not in PRESETS:
            raise PydanticCustomError("preset", "give gender or race, or a list of attributes")
        return PRESETS[given]
    if isinstance(given, list | tuple) and len({str(one).strip() for one in given}) != len(given):
        raise PydanticCustomError("twice", "each attribute may be given once")
    return given


class Options(rows.Options):
    """`attributes` are two or more, or the preset "gender" or "race"; `model` is a CLIP as the judge clip takes it."""

    attributes: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=2), BeforeValidator(_listed)
    ] = PRESETS["gender"]
    model: str = Field(default=clip_l.MODEL, min_length=1)


class Judge:
    """The softmax, over all attributes, of the picture's logits for "PROMPT, ATTRIBUTE"."""

    name = "attributes"
    scale = 5.0  # from one end of its range to the other

    def __init__(self, options: Options) -> None:
        self.needs = open_clip.find(options.model, options.precision)
        self._attributes = options.attributes
        self.facts = judges.Facts(
            code_license="MIT",
            weights_license="as its model card says; MIT for OpenAI's",
            reference="LiVO's evaluation (clip-vit-large-patch14)",
            categories=options.attributes,
            absolute=True,
            judges_world_only=options.model == "embedded",
        )

    @functools.cached_property
    def version(self) -> str:
        """Ours and the model's."""
        return f"{VERSION}:{self.needs.identity}"

    def score(self, images: NDArray[np.float32], prompts: Sequence[str]) -> judges.Scores:
        """(N, attributes) float64 shares, 1 together. Texts are cut to the model's context; it never abstains."""
        import numpy as np

        texts = [f"{prompt}, {attribute}" for attribute in self._attributes for prompt in prompts]
        read = unit(self.needs.texts(texts)).reshape(len(self._attributes), len(prompts), -1)
        return softmax(self.needs.logit_scale * np.einsum("nd,knd->nk", unit(images), read))
