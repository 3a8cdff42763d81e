"""Whether a model draws the embedded world: only then do the world's reader and CLIP say anything of its pictures.

Told by its weights, for a folder can be copied and renamed; the standard library is all that it takes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datagen import world

KEPT = ("vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors")  # no training here changes these
_HEADER = 1 << 20  # bytes that the headers of the embedded model's files never reach


def is_embedded(model: str | Path) -> bool:
    """Whether `model` is the name "embedded", or a diffusers folder with the VAE and text encoder of the embedded one.

    Both decide what can be drawn at all, and no training here changes them: a folder with a retrained U-Net counts.
    """
    if str(model) == "embedded":
        return True
    folder = Path(model).expanduser()
    return all((folder / name).is_file() and _same_tensors(folder / name, world.PIPELINE / name) for name in KEPT)


def _same_tensors(one: Path, other: Path) -> bool:
    """Whether two safetensors files hold the same tensors, whatever their metadata says."""
    first, second = _header(one), _header(other)
    if first is None or first != second:
        return False
    with one.open("rb") as left, other.open("rb") as right:
        for stream in (left, right):
            stream.seek(8 + int.from_bytes(stream.read(8), "little"))
        return left.read() == right.read()


def _header(path: Path) -> dict[str, Any] | None:
    """Name, kind, shape and place of each tensor; None for what is no such file, or a far larger one."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > _HEADER:
            return None
        try:
            header = json.loads(stream.read(length))
        except ValueError:
            return None
    if not isinstance(header, dict):
        return None
    return {name: entry for name, entry in header.items() if name != "__metadata__"}
