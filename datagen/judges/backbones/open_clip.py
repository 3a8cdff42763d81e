"""CLIP models through open_clip: where one lies, and its embeddings of pictures and texts.

fp32 throughout; batches of one fixed shape, so that an embedding does not depend on its company. A model is called
"embedded", or by an open_clip folder, ARCHITECTURE/PRETRAINED, or hf-hub:OWNER/NAME.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from datagen import world
from datagen.weights import clip

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Vectors = NDArray[np.float64]

BATCH = 32
_REMEMBERED = 20_000  # text embeddings kept a process


class Clip:
    """A loaded model with its own preprocessing and tokenizer."""

    def __init__(self, model: Any, preprocess: Any, tokenizer: Any) -> None:
        self._model, self._preprocess, self._tokenizer = model, preprocess, tokenizer
        self._texts: dict[str, Any] = {}

    def images(self, pictures: Sequence[Image.Image]) -> Vectors:
        """(N, width) float64 unit vectors of at least one picture."""
        return self._embed(self._model.encode_image, [self._preprocess(picture) for picture in pictures])

    def texts(self, texts: Sequence[str]) -> Vectors:
        """(N, width) float64 unit vectors of at least one text; each is embedded once, long ones are cut."""
        import numpy as np

        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if len(self._texts) + len(new) > _REMEMBERED:
            self._texts.clear()
            new = list(dict.fromkeys(texts))
        if new:
            embedded = self._embed(self._model.encode_text, list(self._tokenizer(new)))
            self._texts.update(zip(new, embedded, strict=True))
        return np.stack([self._texts[text] for text in texts])

    def _embed(self, encode: Any, inputs: list[Any]) -> Vectors:
        """(N, width) float64 unit vectors, encoded in batches of exactly BATCH."""
        import numpy as np
        import torch

        device = next(self._model.parameters()).device
        parts = []
        for start in range(0, len(inputs), BATCH):
            batch = inputs[start : start + BATCH]
            padded = torch.stack(batch + [batch[-1]] * (BATCH - len(batch))).to(device)
            with torch.inference_mode():
                parts.append(encode(padded)[: len(batch)].double().cpu().numpy())
        vectors = np.concatenate(parts)
        unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit


def find(model: str) -> clip.Source:
    """Where a model lies; ModelError for a name that is none, or a folder that is not whole. Loads nothing."""
    return clip.find(model, world.CLIP)


def load(source: clip.Source) -> Clip:
    """The model, on the GPU if there is one; ModelError if it cannot be had."""
    import torch

    return Clip(*clip.load(source, "cuda" if torch.cuda.is_available() else "cpu"))
