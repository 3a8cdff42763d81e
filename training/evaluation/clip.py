"""CLIP in evaluation: embeddings of pictures and texts, each made once, with the model's own preprocessing."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from training.errors import TrainingError
from training.models import clip


class Clip:
    """An open_clip model; `name` stands in the figures that it makes."""

    def __init__(self, name: str, model: Any, preprocess: Any, tokenizer: Any) -> None:
        self.name = name
        self._model, self._preprocess, self._tokenizer = model, preprocess, tokenizer
        self._texts: dict[str, np.ndarray] = {}
        self._last: tuple[Sequence[Image.Image], np.ndarray] | None = None

    @torch.inference_mode()
    def images(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """(N, D) embeddings as the model gives them, not of length 1; the same list again costs nothing."""
        if self._last and self._last[0] is pictures:
            return self._last[1]
        device = next(self._model.parameters()).device
        pixels = torch.stack([self._preprocess(picture) for picture in pictures]).to(device)
        made = self._model.encode_image(pixels).double().cpu().numpy()
        if not np.isfinite(made).all():
            raise TrainingError(
                f"the CLIP model {self.name} gives embeddings that are not finite numbers: name another"
            )
        self._last = (pictures, made)
        return np.asarray(made)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """(N, D) embeddings of length 1; each text is encoded once. Long ones are cut to the model's context."""
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        device = next(self._model.parameters()).device
        for start in range(0, len(new), 64):
            part = new[start : start + 64]
            vectors = self._model.encode_text(self._tokenizer(part).to(device)).double().cpu().numpy()
            self._texts.update(zip(part, unit(vectors), strict=True))
        return np.stack([self._texts[text] for text in texts])

    def score(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> np.ndarray:
        """(N,) cosines of picture and prompt, −1 to 1."""
        return np.asarray((unit(self.images(pictures)) * self.texts(prompts)).sum(axis=1))

    @property
    def scale(self) -> float:
        """The model's own factor from cosines to logits, 100 for most."""
        return float(self._model.logit_scale.detach().exp())


def unit(vectors: np.ndarray) -> np.ndarray:
    """The rows brought to length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@functools.lru_cache(maxsize=3)
def load(model: str, device: str) -> Clip:
    """A model by any of the names that `training.models.clip` knows; TrainingError for what cannot be loaded."""
    loaded = clip.load(model, device)
    return Clip(loaded.name, loaded.model, loaded.preprocess, loaded.tokenizer)
