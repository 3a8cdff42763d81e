"""CLIP models through open_clip, for evaluation and for losses that look through one: fp32, frozen, evaluation mode.

A model is called "embedded", or by an open_clip folder, ARCHITECTURE/PRETRAINED, or hf-hub:OWNER/NAME. Whatever
cannot be loaded is a TrainingError.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from datagen import world
from training.errors import TrainingError, one_line
from training.models.embedded import EMBEDDED


@dataclasses.dataclass(frozen=True)
class Loaded:
    """An open_clip model with its own preprocessing and tokenizer; `name` stands in the figures that it makes."""

    name: str
    model: Any
    preprocess: Any
    tokenizer: Any


def load(model: str, device: str | torch.device) -> Loaded:
    """The model of a name. Raises TrainingError."""
    import open_clip

    name, tag, label = _resolve(model)
    # OpenAI's weights were trained with QuickGELU, which the plain names (ViT-L-14) do not have.
    quick = bool(tag and (open_clip.get_pretrained_cfg(name, tag) or {}).get("quick_gelu"))
    try:
        with warnings.catch_warnings():
            # open_clip only warns of the other mismatch: an architecture with QuickGELU, weights without.
            warnings.filterwarnings("error", message="QuickGELU mismatch")
            network, _, preprocess = open_clip.create_model_and_transforms(
                name, pretrained=tag, device=device, force_quick_gelu=quick
            )
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # the loaders and the hub client raise many kinds
        raise TrainingError(f"the CLIP model {model!r} does not load: {one_line(error)}") from error
    return Loaded(label, network.requires_grad_(False).eval(), preprocess, tokenizer)


def _resolve(model: str) -> tuple[str, str | None, str]:
    """open_clip's name, its pretrained tag, and what figures call the model."""
    if model == EMBEDDED:
        return f"local-dir:{world.CLIP}", None, EMBEDDED
    if Path(model).expanduser().is_dir():
        return f"local-dir:{Path(model).expanduser()}", None, Path(model).expanduser().resolve().name
    if re.fullmatch(r"hf-hub:[\w.-]+/[\w.-]+", model):
        return model, None, model.rpartition("/")[2]
    import open_clip

    known = {f"{name}/{tag}": (name, tag) for name, tag in open_clip.list_pretrained()}
    if model not in known:
        close = difflib.get_close_matches(model, known, n=3) or ["ViT-L-14/openai"]
        raise TrainingError(
            f"no CLIP model {model!r}: give 'embedded', an open_clip folder, hf-hub:OWNER/NAME, or "
            f"ARCHITECTURE/PRETRAINED such as {', '.join(close)}"
        )
    return (*known[model], known[model][0])
