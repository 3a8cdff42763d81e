"""CLIP models through open_clip: where one lies, and its embeddings of pictures and texts.

fp32 unless told; batches of one fixed shape, so that an embedding does not depend on its company. A model is called
"embedded", or by an open_clip folder, ARCHITECTURE/PRETRAINED, or hf-hub:OWNER/NAME.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from datagen.errors import ModelError, one_line
from datagen.judges import jury, views
from datagen.judges.backbones import rows
from datagen.weights import clip

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from datagen.judges.views import View


class OpenClip:
    """A model with its own view and tokenizer, loaded when it is first asked."""

    def __init__(self, source: clip.Source, precision: rows.Precision = "float32") -> None:
        self.source, self._precision = source, precision
        self.texts = rows.Remembered(self._encode_texts)

    @functools.cached_property
    def identity(self) -> str:
        """The model's name and what tells its weights apart, and in what precision it computes."""
        return self.source.identity + rows.suffix(self._precision)

    @property
    def missing(self) -> str:
        """What would have to be downloaded first, in words; "" if nothing."""
        return clip.missing(self.source)

    @functools.cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import torch

        network, _, tokenizer = clip.load(self.source, "cuda" if torch.cuda.is_available() else "cpu")
        return network, tokenizer

    @functools.cached_property
    def view(self) -> View:
        """What the model was trained to see; ModelError for what no view is equal to."""
        try:
            return views.open_clip(self._loaded[0].visual.preprocess_cfg)
        except (AttributeError, KeyError, ValueError) as error:
            raise ModelError(f"the preprocessing of the CLIP model {self.source.model}: {one_line(error)}") from error

    @property
    def logit_scale(self) -> float:
        """The model's own factor from cosines to logits, 100 for most."""
        return float(self._loaded[0].logit_scale.detach().exp())

    def images(self, pixels: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """(N, width) float32 as the model gives them, of at least one picture in `view`."""
        import torch

        network, batch = self._loaded[0], torch.from_numpy(views.normalise(pixels, self.view))
        return rows.embed(network, network.encode_image, batch, self._precision)

    def _encode_texts(self, texts: list[str]) -> NDArray[np.float32]:
        """(N, width) float32; long ones are cut to the model's context."""
        network, tokenizer = self._loaded
        return rows.embed(network, network.encode_text, tokenizer(texts), self._precision)


@functools.lru_cache(maxsize=8)
def find(model: str, precision: rows.Precision = "float32") -> OpenClip:
    """A model by its name, the same for everybody who asks; ModelError for a name that is none, or a folder that is
    not whole. Loads nothing."""
    return OpenClip(clip.find(model, jury.folder("clip")), precision)
