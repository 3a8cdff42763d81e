"""CLIP models through open_clip, for evaluation and for losses that look through one: fp32, frozen, evaluation mode.

A model is called "embedded", or by an open_clip folder, ARCHITECTURE/PRETRAINED, or hf-hub:OWNER/NAME. Whatever
cannot be loaded is a ModelError.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from datagen import world
from datagen.weights import clip


@dataclasses.dataclass(frozen=True)
class Loaded:
    """An open_clip model with its own preprocessing and tokenizer; `name` stands in the figures that it makes."""

    name: str
    model: Any
    preprocess: Any
    tokenizer: Any


def find(model: str) -> clip.Source:
    """Where the model of a name lies. Raises ModelError; loads nothing."""
    return clip.find(model, world.CLIP)


def load(model: str, device: str | torch.device) -> Loaded:
    """The model of a name. Raises ModelError."""
    source = find(model)
    name = source.name if source.pretrained else source.model.rpartition("/")[2]
    return Loaded(name, *clip.load(source, device))
