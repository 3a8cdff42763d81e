"""What FID and the Inception Score are computed from: the Inception network, CLIP's image tower, or a function.

`choose` gives an `Extractor`, whose name stands in the figures. Inception's weights are checked against the hash in
their published name before they are read.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from datagen.weights import files
from training.errors import TrainingError
from training.evaluation.clip import Clip, unit

WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"  # the hash is the start of the file's SHA-256
SOURCE = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{WEIGHTS}"

Features = tuple[np.ndarray, np.ndarray | None]  # (N, F) for FID, (N, K) class logits for IS or None


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A network that pictures are compared by, and what figures call it."""

    name: str
    extract: Callable[[Sequence[Image.Image]], Features]


def choose(wanted: str, device: str, clip: Clip | None, prompts: Sequence[str]) -> Extractor | None:
    """'auto' (Inception where its weights lie in torch's hub folder, else CLIP), 'inception', 'clip' or 'none'."""
    if wanted not in ("auto", "inception", "clip", "none"):
        raise TrainingError(f"--features {wanted!r}: give inception, clip, auto, none, or package.module:function")
    if wanted == "none" or (wanted == "auto" and clip is None and not weights().is_file()):
        return None
    if wanted == "inception" or (wanted == "auto" and weights().is_file()):
        return inception(fetch(), device)
    if clip is None:
        raise TrainingError("--features clip needs a model: name one with --clip, such as ViT-L-14/openai")
    if wanted == "auto":
        print(
            f"FID and IS use CLIP ({clip.name}); --features inception downloads the network of the published figures",
            file=sys.stderr,
        )
    return from_clip(clip, prompts)


def from_clip(clip: Clip, prompts: Sequence[str]) -> Extractor:
    """CLIP's image embeddings (as in arXiv 2203.06026), and as class logits its zero-shot choice among the prompts."""
    texts = clip.texts(list(dict.fromkeys(prompts)))

    def extract(pictures: Sequence[Image.Image]) -> Features:
        embeddings = clip.images(pictures)
        return embeddings, clip.scale * unit(embeddings) @ texts.T

    return Extractor(f"clip-{clip.name}", extract)


def from_function(path: str, function: Callable[[Sequence[Image.Image]], Any]) -> Extractor:
    """A function from pictures to features (N, F), or to features and class logits (N, K)."""
    shapes: set[tuple[int | None, ...]] = set()  # of the rows so far

    def extract(pictures: Sequence[Image.Image]) -> Features:
        made = function(pictures)
        parts = made if isinstance(made, tuple) else (made, None)
        try:
            arrays = [None if part is None else np.asarray(part, dtype=np.float64) for part in parts]
        except (TypeError, ValueError) as error:
            raise TrainingError(f"--features {path!r} gave something else than numbers ({error})") from error
        if len(arrays) != 2 or any(a is not None and (a.ndim != 2 or len(a) != len(pictures)) for a in arrays):
            raise TrainingError(f"--features {path!r} must give one row of numbers a picture, or (features, logits)")
        if arrays[0] is None or not all(np.isfinite(a).all() for a in arrays if a is not None):
            raise TrainingError(f"--features {path!r} gave features that are not finite numbers")
        shapes.add(tuple(None if a is None else a.shape[1] for a in arrays))
        if len(shapes) > 1:
            raise TrainingError(f"--features {path!r} gave rows of different lengths for different pictures")
        return arrays[0], arrays[1]

    return Extractor(path.rpartition(":")[2], extract)


def weights() -> Path:
    """Where torch's hub keeps the Inception weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS


def fetch() -> Path:
    """The Inception weights (91 MB), downloaded if need be. Raises TrainingError with what to do if they cannot be."""
    path = weights()
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(SOURCE, str(path), hash_prefix=_prefix(), progress=sys.stderr.isatty())
        except (OSError, RuntimeError) as error:
            raise TrainingError(
                f"Inception's weights cannot be downloaded ({error}); put {SOURCE} at {path}, or use --features clip"
            ) from error
    return path


def inception(path: Path, device: str) -> Extractor:
    """The network of the published FID and IS: 2048 features after pooling, 1008 logits without bias."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    files.check_pinned(path, _prefix())  # the library reads it without a guard
    network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], str(path)).to(device)

    @torch.inference_mode()
    def extract(pictures: Sequence[Image.Image]) -> Features:
        # One at a time where sizes differ: the network brings every picture to 299×299 itself, in its own way.
        same = len({picture.size for picture in pictures}) == 1
        parts = [pictures] if same else [[picture] for picture in pictures]
        made = [network(torch.stack([_pixels(p) for p in part]).to(device)) for part in parts]
        features, logits = (torch.cat(rows).double().cpu().numpy() for rows in zip(*made, strict=True))
        return features, logits

    return Extractor("inception", extract)


def _pixels(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)


def _prefix() -> str:
    return WEIGHTS.removesuffix(".pth").rpartition("-")[2]
