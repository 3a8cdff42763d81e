"""The vision tower of SigLIP through transformers: its pooled embeddings of pictures, in fp32 unless told.

A model is a folder as `save_pretrained` writes it, of the tower or of a whole SigLIP, whose texts are left unread.
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


class Siglip:
    """A tower that is loaded when it is first asked."""

    def __init__(self, name: str, folder: Path, side: int, precision: rows.Precision) -> None:
        self._name, self._folder, self._precision = name, folder, precision
        self.view = views.squash(side)

    @functools.cached_property
    def identity(self) -> str:
        """What the model is called, and what tells its weights apart."""
        return f"{self._name}@{identity.folder(self._folder)}{rows.suffix(self._precision)}"

    def images(self, pixels: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """(N, width) float32, not of length 1, of at least one picture in `view`."""
        import torch

        batch = torch.from_numpy(views.normalise(pixels, self.view))
        return rows.embed(self._network, lambda some: self._network(some).pooler_output, batch, self._precision)

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """A ModelError: the text tower is not read."""
        raise ModelError(f"{self._name} reads pictures alone, and no texts")

    @functools.cached_property
    def _network(self) -> Any:
        import torch
        from transformers import SiglipVisionModel

        network = parts.load(SiglipVisionModel, self._folder).model.requires_grad_(False)
        return network.to("cuda" if torch.cuda.is_available() else "cpu")


@functools.lru_cache(maxsize=8)
def find(name: str, folder: Path, precision: rows.Precision = "float32") -> Siglip:
    """The tower of a folder, called `name`, the same for everybody who asks; ModelError if it is not whole or pools
    nothing. Reads no weights."""
    config = files.read_json(folder / "config.json")
    files.find(folder).entries()
    inner = config.get("vision_config", config)
    vision = inner if isinstance(inner, dict) else {}
    side = vision.get("image_size", SIDE)
    if not isinstance(side, int) or side < 1 or vision.get("vision_use_head") is False:
        raise ModelError(f"{folder / 'config.json'} is not of a SigLIP that pools pictures: {files.AGAIN}")
    return Siglip(name, folder, side, precision)
