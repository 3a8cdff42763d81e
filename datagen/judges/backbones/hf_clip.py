"""CLIP models of transformers: their projected embeddings of pictures and texts, and their logit scale.

A model is a folder as `save_pretrained` writes it, with its tokenizer. fp32 unless told; texts are filled up to the
context, so that what is embedded of one does not depend on the others.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datagen.errors import ModelError
from datagen.judges import views
from datagen.judges.backbones import rows
from datagen.weights import files, identity, parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 224  # pixels, where a config does not say otherwise


class HfClip:
    """A model that is loaded when it is first asked."""

    def __init__(self, name: str, folder: Path, side: int, precision: rows.Precision) -> None:
        self._name, self._folder, self._precision = name, folder, precision
        self.view = views.clip_hf(side)
        self._remembered = rows.Remembered(self._encode_texts)

    @functools.cached_property
    def identity(self) -> str:
        """What the model is called, and what tells its weights apart."""
        return f"{self._name}@{identity.folder(self._folder)}{rows.suffix(self._precision)}"

    @property
    def logit_scale(self) -> float:
        """The model's own factor from cosines to logits, about 100."""
        return float(self._network.logit_scale.exp())

    def images(self, views_: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """(N, width) float32, not of length 1, of at least one view."""
        import torch

        pixels = torch.from_numpy(views.normalise(views_, self.view))
        return self._embed(self._network.get_image_features, pixels)

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, width) float32, not of length 1, of at least one text; long ones are cut to the context."""
        return self._remembered(texts)

    def _encode_texts(self, texts: list[str]) -> NDArray[np.float32]:
        longest = self._tokenizer.model_max_length
        ids = self._tokenizer(texts, padding="max_length", max_length=longest, truncation=True, return_tensors="pt")
        return self._embed(self._network.get_text_features, ids["input_ids"])

    def _embed(self, features: Any, inputs: Any) -> NDArray[np.float32]:
        return rows.embed(self._network, lambda batch: _projected(features(batch)), inputs, self._precision)

    @functools.cached_property
    def _network(self) -> Any:
        import torch
        from transformers import CLIPModel

        network = parts.load(CLIPModel, self._folder).model.requires_grad_(False)
        return network.to("cuda" if torch.cuda.is_available() else "cpu")

    @functools.cached_property
    def _tokenizer(self) -> Any:
        """The folder's tokenizer, once its ids are the model's."""
        config = self._network.config.text_config
        found = parts.tokenizer(self._folder, config.max_position_embeddings)
        if len(found) > config.vocab_size:
            raise ModelError(
                f"the tokenizer in {self._folder} has {len(found)} words, its model {config.vocab_size}: they belong "
                "to different models"
            )
        # 2 stands in old configs, where the end of a text is its largest id.
        if config.eos_token_id not in (2, found.eos_token_id):
            raise ModelError(
                f"the tokenizer in {self._folder} ends a text with {found.eos_token_id}, its model looks for "
                f"{config.eos_token_id}: they belong to different models"
            )
        return found


@functools.lru_cache(maxsize=8)
def find(name: str, folder: Path, precision: rows.Precision = "float32") -> HfClip:
    """The model of a folder, called `name`, the same for everybody who asks; ModelError if the folder is not whole.

    Reads no weights.
    """
    config = files.read_json(folder / "config.json")
    files.find(folder).entries()
    parts.check_vocabulary(folder)
    vision = config.get("vision_config")
    side = vision.get("image_size", SIDE) if isinstance(vision, dict) else SIDE
    if not isinstance(side, int) or side < 1:
        raise ModelError(f"{folder / 'config.json'} gives pictures a side of {side!r}: {files.AGAIN}")
    return HfClip(name, folder, side, precision)


def _projected(output: Any) -> Any:
    """The embedding itself, which transformers 5 gives as one field of an object."""
    return getattr(output, "pooler_output", output)
