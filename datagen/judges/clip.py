"""CLIP through open_clip: the cosine of picture and text (Radford et al. 2021, arXiv 2103.00020).

Pictures are embedded once for all texts of a call, texts once a process. fp32 throughout; batches of one fixed shape,
so that a score does not depend on its company.
"""

from __future__ import annotations

import functools
import hashlib
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen import judges
from datagen.errors import ModelError

if TYPE_CHECKING:
    from PIL import Image

VERSION = "1"
ABSOLUTE = False
# Log-odds a unit of cosine. A real CLIP was trained to tell texts apart at 1/temperature = 100, so its own posterior
# that each picture belongs to its text and not to the other's is sigmoid(100·m). The embedded one is less sharp.
SCALE = {"embedded": 20.0, "real": 100.0}
BATCH = 32
_REMEMBERED = 20_000  # text embeddings kept a process


def scale(choice: judges.JudgeChoice) -> float:
    """Log-odds a unit of score."""
    return SCALE["embedded" if choice.clip_model == "embedded" else "real"]


class Clip:
    """An open_clip model with its own preprocessing and tokenizer."""

    name = "clip"
    absolute = ABSOLUTE

    def __init__(self, model: Any, preprocess: Any, tokenizer: Any, version: str, scale: float) -> None:
        self.version = version
        self.scale = scale
        self._model = model
        self._preprocess = preprocess
        self._tokenizer = tokenizer
        self._texts: dict[str, Any] = {}

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> judges.Scores:
        """(N,) float64, cosines in -1…1. Texts are cut to the model's context, as CLIP does; it never abstains."""
        import numpy as np

        unique, places = judges.distinct(images)
        if not unique:
            return np.zeros(0)
        pictures = self._embed(self._model.encode_image, [self._preprocess(image) for image in unique])
        self._remember(prompts)
        texts = np.stack([self._texts[prompt] for prompt in prompts])
        cosines: judges.Scores = np.einsum("nd,nd->n", pictures[places], texts)
        return cosines

    def _remember(self, prompts: Iterable[str]) -> None:
        """Embed the texts that were not seen before."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._texts]
        if len(self._texts) + len(new) > _REMEMBERED:
            self._texts.clear()
            new = list(dict.fromkeys(prompts))
        if new:
            embedded = self._embed(self._model.encode_text, list(self._tokenizer(new)))
            self._texts.update(zip(new, embedded, strict=True))

    def _embed(self, encode: Any, inputs: list[Any]) -> Any:
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
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def load(choice: judges.JudgeChoice) -> Clip:
    """The model of `choice.clip_model` on the GPU if there is one; ModelError if it cannot be had."""
    return _load(choice.clip_model, scale(choice))


@functools.lru_cache(maxsize=2)
def _load(clip_model: str, scale: float) -> Clip:
    import open_clip
    import torch

    from datagen import world

    folder = world.CLIP if clip_model == "embedded" else Path(clip_model)
    activation = False
    if clip_model == "embedded" or folder.is_dir():
        name, tag = f"local-dir:{folder}", None
        identity = f"{'embedded' if clip_model == 'embedded' else folder.resolve().name}@{_digest(folder)}"
    else:
        name, tag = _known(clip_model)
        identity = clip_model
        # OpenAI's weights were trained with QuickGELU, which the plain names (ViT-L-14) do not have.
        activation = bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        with warnings.catch_warnings():
            # open_clip only warns of the other mismatch: an architecture with QuickGELU, weights without.
            warnings.filterwarnings("error", message="QuickGELU mismatch")
            model, _, preprocess = open_clip.create_model_and_transforms(
                name, pretrained=tag, device=device, force_quick_gelu=activation
            )
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # whatever the libraries raise on damaged files, on a mismatch or without a network
        hint = "; name the architecture without -quickgelu" if "QuickGELU" in str(error) else ""
        problem = " ".join(str(error).split())[:200]
        raise ModelError(f"the CLIP model {clip_model} does not load: {problem}{hint}") from error
    return Clip(model.eval(), preprocess, tokenizer, f"{VERSION}:{identity}", scale)


def _known(clip_model: str) -> tuple[str, str]:
    """(architecture, tag) of "architecture/tag"; ModelError with the nearest known one."""
    import open_clip

    known = {f"{name}/{tag}": (name, tag) for name, tag in open_clip.list_pretrained()}
    if clip_model not in known:
        import difflib

        close = difflib.get_close_matches(clip_model, known, n=3) or ["ViT-L-14/openai"]
        raise ModelError(
            f"no CLIP model is called {clip_model!r}; give embedded, an open_clip folder, "
            f"or architecture/pretrained such as {', '.join(close)}"
        )
    return known[clip_model]


def _digest(folder: Path) -> str:
    """16 hex digits of a local model; ModelError if its weights are not there."""
    weights = folder / "open_clip_model.safetensors"
    config = folder / "open_clip_config.json"
    for path in (config, weights):
        if not path.is_file():
            raise ModelError(f"{folder} is no open_clip folder: it has no {path.name}")
    return hashlib.sha256(config.read_bytes() + weights.read_bytes()).hexdigest()[:16]
