"""The files of an ImageReward: its settings, its weights and the vocabulary of its texts. Reads no weights."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from datagen.errors import ModelError
from datagen.weights import checkpoint, files, identity, parts

SETTINGS = "med_config.json"
VOCABULARY = "bert-base-uncased"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Vision(_Part):
    """The image tower; as published, ViT-L/16 for 224 pixels."""

    image_size: PositiveInt = 224
    patch_size: PositiveInt = 16
    hidden_size: PositiveInt = 1024
    intermediate_size: PositiveInt = 4096
    num_hidden_layers: PositiveInt = 24
    num_attention_heads: PositiveInt = 16
    layer_norm_eps: PositiveFloat = 1e-6


class Config(_Part):
    """What med_config.json says: the text encoder, by default as published.

    The published file says nothing of `vision`, `head` (widths between the five layers), `mean`, `std` and `longest`
    (tokens of a text); one of another size has them beside the others.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # BERT's settings for training, which change no score

    hidden_size: PositiveInt = 768
    intermediate_size: PositiveInt = 3072
    num_hidden_layers: PositiveInt = 12
    num_attention_heads: PositiveInt = 12
    vocab_size: PositiveInt = 30524
    max_position_embeddings: PositiveInt = 512
    layer_norm_eps: PositiveFloat = 1e-12
    hidden_act: Literal["gelu"] = "gelu"
    add_cross_attention: Literal[True] = True
    vision: Vision = Vision()
    head: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (1024, 128, 64, 16)
    mean: float = Field(default=0.16717362830052426, allow_inf_nan=False)
    std: float = Field(default=1.0333394966054072, gt=0, allow_inf_nan=False)
    longest: int = Field(default=35, ge=3)

    @classmethod
    def read(cls, path: Path) -> Config:
        """The settings of a file. Raises ModelError for those that no such network has."""
        try:
            return cls.model_validate(files.read_json(path))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ModelError(
                f"{path} has {where} {first['input']!r}: {first['msg'].replace('Input', 'it')}"
            ) from error


@dataclasses.dataclass(frozen=True)
class Source:
    """The files of one ImageReward: `sha256` is the hash that a pickle must have."""

    weights: Path
    vocabulary: Path
    config: Config
    sha256: str = ""

    @functools.cached_property
    def identity(self) -> str:
        """What tells its weights, settings and words apart: 16 hex digits. Reads them once; ModelError."""
        words = next(self.vocabulary / name for name in parts.VOCABULARIES if (self.vocabulary / name).is_file())
        facts = [checkpoint.digest(self.weights, self.sha256), self.config.model_dump_json()]
        facts.append(hashlib.sha256(words.read_bytes()).hexdigest())
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[: identity.LENGTH]


def find(weights: Path, vocabulary: Path | None = None, sha256: str = "") -> Source:
    """What belongs to a file of weights, from beside it. Raises ModelError for what is not there, or not readable.

    `vocabulary` is the folder of bert-base-uncased's tokenizer, by default that of the weights or one of that name in
    it. Without a med_config.json the settings are the published ones.
    """
    checkpoint.check(weights, sha256)
    places = [vocabulary] if vocabulary else [weights.parent, weights.parent / VOCABULARY]
    held = [place for place in places if any((place / name).is_file() for name in parts.VOCABULARIES)]
    if not held:
        raise ModelError(f"{places[0]} has no vocab.txt: put that of {VOCABULARY} there, or give its folder")
    settings = weights.parent / SETTINGS
    return Source(weights, held[0], Config.read(settings) if settings.is_file() else Config(), sha256)
