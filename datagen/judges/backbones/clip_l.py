"""OpenAI's CLIP ViT-L/14, whose one embedding of a picture many judges read, told from other models."""

from __future__ import annotations

import re

from pydantic import Field

from datagen.errors import ModelError
from datagen.judges.backbones import open_clip, rows
from datagen.weights import clip, files

MODEL, WIDTH = "ViT-L-14/openai", 768


class Options(rows.Options):
    """`weights` is the published file or its folder, "" where `datagen doctor` looks.

    `model` is OpenAI's CLIP ViT-L/14, by its name or an open_clip folder that holds it.
    """

    weights: str = ""
    model: str = Field(default=MODEL, min_length=1)


def find(model: str, precision: rows.Precision = "float32") -> open_clip.OpenClip:
    """The model of a name or a folder; ModelError for the name of another, and for one without QuickGELU."""
    found = open_clip.find(model, precision)
    source = found.source
    if source.pretrained and not re.fullmatch(r"ViT-L-14(-quickgelu)?/openai", source.model):
        raise ModelError(f"the weights read embeddings of OpenAI's ViT-L/14, not of {model}: give {MODEL}")
    if source.folder is not None:
        config = files.read_json(source.folder / clip.FILES[0]).get("model_cfg")
        if isinstance(config, dict) and config.get("embed_dim") == WIDTH and not config.get("quick_gelu"):
            raise ModelError(
                f"the settings in {source.folder} lack quick_gelu, with which OpenAI's ViT-L/14 was trained: set it, "
                f"or give {MODEL}"
            )
    return found
