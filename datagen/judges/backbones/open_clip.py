"""CLIP models through open_clip: where one lies, and its embeddings of pictures and texts.

fp32 throughout; batches of one fixed shape, so that an embedding does not depend on its company. A model is called
"embedded", or by an open_clip folder, ARCHITECTURE/PRETRAINED, or hf-hub:OWNER/NAME.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from datagen import world
from datagen.errors import ModelError, one_line
from datagen.judges import views
from datagen.weights import clip

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from datagen.judges.views import View

BATCH = 32
_REMEMBERED = 20_000  # text embeddings kept a process


class OpenClip:
    """A model with its own view and tokenizer, loaded when it is first asked."""

    def __init__(self, source: clip.Source) -> None:
        self._source = source
        self._texts: dict[str, NDArray[np.float32]] = {}

    @functools.cached_property
    def identity(self) -> str:
        """The model's name and what tells its weights apart."""
        return self._source.identity

    @functools.cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import torch

        network, _, tokenizer = clip.load(self._source, "cuda" if torch.cuda.is_available() else "cpu")
        return network, tokenizer

    @functools.cached_property
    def view(self) -> View:
        """What the model was trained to see; ModelError for what no view is equal to."""
        try:
            return views.open_clip(self._loaded[0].visual.preprocess_cfg)
        except (AttributeError, KeyError, ValueError) as error:
            raise ModelError(f"the preprocessing of the CLIP model {self._source.model}: {one_line(error)}") from error

    @property
    def logit_scale(self) -> float:
        """The model's own factor from cosines to logits, 100 for most."""
        return float(self._loaded[0].logit_scale.detach().exp())

    def images(self, pixels: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """(N, width) float32 as the model gives them, of at least one picture in `view`."""
        return self._embed(self._loaded[0].encode_image, pixels, self._normalised)

    def _normalised(self, pixels: Sequence[NDArray[Any]]) -> Any:
        import numpy as np
        import torch

        return torch.from_numpy(views.normalise(np.stack(pixels), self.view))

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, width) float32 of at least one text; each is embedded once, long ones are cut to the model's context."""
        import numpy as np

        network, tokenizer = self._loaded
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if len(self._texts) + len(new) > _REMEMBERED:
            self._texts.clear()
            new = list(dict.fromkeys(texts))
        if new:
            embedded = self._embed(network.encode_text, new, tokenizer)
            self._texts.update(zip(new, embedded, strict=True))
        return np.stack([self._texts[text] for text in texts])

    def _embed(self, encode: Any, inputs: Sequence[Any], form: Callable[[list[Any]], Any]) -> NDArray[np.float32]:
        """(N, width), encoded in batches of exactly BATCH, so that no row depends on its company."""
        import numpy as np
        import torch

        device = next(self._loaded[0].parameters()).device
        parts = []
        for start in range(0, len(inputs), BATCH):
            batch = list(inputs[start : start + BATCH])
            padded = form(batch + [batch[-1]] * (BATCH - len(batch))).to(device)
            with torch.inference_mode():
                parts.append(encode(padded)[: len(batch)].float().cpu().numpy())
        return np.concatenate(parts)


@functools.lru_cache(maxsize=8)
def find(model: str) -> OpenClip:
    """A model by its name, the same for everybody who asks; ModelError for a name that is none, or a folder that is
    not whole. Loads nothing."""
    return OpenClip(clip.find(model, world.CLIP))
