"""Which family a model is of, told before it is loaded: what is published for one is not right for another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from training.models.embedded import is_embedded

Family = Literal["embedded", "sd15", "sdxl"]
NAMES: dict[Family, str] = {"embedded": "the embedded model", "sd15": "Stable Diffusion 1.5", "sdxl": "SDXL"}


def family_of(model: str, revision: str = "") -> Family:
    """The family of a model; one whose folder is not on this machine yet is taken for what its name says."""
    if is_embedded(model):
        return "embedded"
    index = _index(model, revision)
    try:
        name = str(json.loads(index.read_text(encoding="utf-8"))["_class_name"]) if index else model
    except (OSError, ValueError, KeyError, TypeError):  # said better where the model is loaded
        name = model
    return "sdxl" if "xl" in name.lower() else "sd15"


def _index(model: str, revision: str) -> Path | None:
    """The model_index.json of a folder, or of a hub id's that was downloaded before."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder / "model_index.json"
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(model, "model_index.json", revision=revision or None)
    except ValueError:  # no hub id
        return None
    return Path(found) if isinstance(found, str) else None
