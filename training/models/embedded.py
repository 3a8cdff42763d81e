"""What `embedded` stands for where a model is named: the embedded world's own."""

from __future__ import annotations

from datagen import world
from datagen.world.identity import is_embedded as is_embedded  # re-exported: one place says what the name means

EMBEDDED = "embedded"


def resolve_model(model: str) -> str:
    """The folder of the embedded pipeline, or what was given."""
    return str(world.PIPELINE) if model == EMBEDDED else model
