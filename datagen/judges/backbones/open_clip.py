"""CLIP models through open_clip: where one lies, and its embeddings of pictures and texts.

fp32 throughout; batches of one fixed shape, so that an embedding does not depend on its company. A model is called
"embedded", or by an open_clip folder, ARCHITECTURE/PRETRAINED, or hf-hub:OWNER/NAME.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen import world
from datagen.errors import ModelError, one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Vectors = NDArray[np.float64]

BATCH = 32
FILES = ("open_clip_config.json", "open_clip_model.safetensors")
_REMEMBERED = 20_000  # text embeddings kept a process


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a model comes from: what the user called it, and what open_clip is given."""

    model: str
    name: str
    pretrained: str | None = None
    folder: Path | None = None

    @functools.cached_property
    def identity(self) -> str:
        """What tells the weights apart, without the paths of this machine; reads those of a folder."""
        if self.folder is None:
            return self.model
        digest = hashlib.sha256(b"".join((self.folder / file).read_bytes() for file in FILES)).hexdigest()[:16]
        return f"{'embedded' if self.model == 'embedded' else self.folder.resolve().name}@{digest}"


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


def find(model: str) -> Source:
    """Where a model lies; ModelError for a name that is none, or a folder that is not whole. Loads nothing."""
    folder = world.CLIP if model == "embedded" else Path(model).expanduser()
    if folder.is_dir():
        for file in FILES:
            if not (folder / file).is_file():
                raise ModelError(f"{folder} is not an open_clip folder: it has no {file}")
        return Source(model, f"local-dir:{folder}", folder=folder)
    if re.fullmatch(r"hf-hub:[\w.-]+/[\w.-]+", model):
        return Source(model, model)
    return _named(model)


def _named(model: str) -> Source:
    """One of the models that open_clip knows; ModelError with the nearest."""
    import open_clip

    known = {f"{name}/{tag}": Source(f"{name}/{tag}", name, tag) for name, tag in open_clip.list_pretrained()}
    if model not in known:
        close = difflib.get_close_matches(model, known, n=3) or ["ViT-L-14/openai"]
        raise ModelError(
            f"no CLIP model is called {model!r}; give embedded, an open_clip folder, hf-hub:OWNER/NAME, "
            f"or ARCHITECTURE/PRETRAINED such as {', '.join(close)}"
        )
    return known[model]


def load(source: Source) -> Clip:
    """The model, on the GPU if there is one; ModelError if it cannot be had."""
    import open_clip
    import torch

    # OpenAI's weights were trained with QuickGELU, which the plain names (ViT-L-14) do not have.
    pretrained = source.pretrained and open_clip.get_pretrained_cfg(source.name, source.pretrained)
    quick = bool(pretrained and pretrained.get("quick_gelu"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        with warnings.catch_warnings():
            # open_clip only warns of the other mismatch: an architecture with QuickGELU, weights without.
            warnings.filterwarnings("error", message="QuickGELU mismatch")
            model, _, preprocess = open_clip.create_model_and_transforms(
                source.name, pretrained=source.pretrained, device=device, force_quick_gelu=quick
            )
        tokenizer = open_clip.get_tokenizer(source.name)
    except Exception as error:  # whatever the libraries raise on damaged files, on a mismatch or without a network
        hint = "; name the architecture without -quickgelu" if "QuickGELU" in str(error) else ""
        raise ModelError(f"the CLIP model {source.model} does not load: {one_line(error)}{hint}") from error
    return Clip(model.eval(), preprocess, tokenizer)
