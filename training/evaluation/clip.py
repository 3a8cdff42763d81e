"""CLIP through open_clip: embeddings of pictures and texts, of the embedded model or of any that open_clip loads.

fp32, in evaluation mode, with the model's own preprocessing. Whatever cannot be loaded is a TrainingError.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from training.errors import TrainingError
from training.models.embedded import EMBEDDED, resolve_clip


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
    """'embedded', an open_clip folder, 'ARCHITECTURE/PRETRAINED' or 'hf-hub:ORGANISATION/NAME'."""
    import open_clip

    name, tag, label = _resolve(model)
    # OpenAI's weights were trained with QuickGELU, which the plain names (ViT-L-14) do not have.
    quick = bool(tag and (open_clip.get_pretrained_cfg(name, tag) or {}).get("quick_gelu"))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="QuickGELU mismatch")
            network, _, preprocess = open_clip.create_model_and_transforms(
                name, pretrained=tag, device=device, force_quick_gelu=quick
            )
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # the loaders and the hub client raise many kinds
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrainingError(f"the CLIP model {model!r} does not load: {first[:200]}") from error
    return Clip(label, network.eval(), preprocess, tokenizer)


def _resolve(model: str) -> tuple[str, str | None, str]:
    """open_clip's name, its pretrained tag, and what figures call the model."""
    if model == EMBEDDED:
        return f"local-dir:{resolve_clip(model)}", None, EMBEDDED
    if Path(model).is_dir():
        return f"local-dir:{model}", None, Path(model).resolve().name
    if model.startswith("hf-hub:"):
        return model, None, model.rpartition("/")[2]
    name, _, tag = model.partition("/")
    import open_clip

    if (name, tag) not in open_clip.list_pretrained():
        raise TrainingError(
            f"no CLIP model {model!r}: give 'embedded', an open_clip folder, hf-hub:ORGANISATION/NAME, or "
            "ARCHITECTURE/PRETRAINED such as ViT-L-14/openai"
        )
    return name, tag, name
