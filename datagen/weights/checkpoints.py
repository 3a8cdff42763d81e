"""Whole networks that are published as one file: safetensors, or a pickle whose hash the user has from its publisher.

A pickle is read by a reader that makes nothing but tensors, and only if its SHA-256 is the one that was given.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from datagen.errors import ModelError, one_line
from datagen.weights import files, parts
from datagen.weights import identity as identities

INSIDE = "state_dict"  # where training scripts put the tensors beside what else they keep


def check(path: Path, sha256: str) -> None:
    """Raise ModelError unless a file is safetensors, whole, or a pickle of this SHA-256 (all 64 digits)."""
    if path.suffix == ".safetensors":
        files.Files((path,)).entries()
        return
    if not sha256:
        raise ModelError(
            f"{path} is a pickle, which can run code: give the SHA-256 that its publisher's page shows as sha256, or "
            "save its tensors as safetensors where you trust it"
        )
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ModelError(f"sha256 is {sha256[:80]!r}: give all of its 64 digits, 0 to 9 and a to f")
    if (found := _digest(path)) != sha256:
        raise ModelError(f"{path} has another SHA-256 ({found}) than was given: fetch it again, or correct sha256")


def state(path: Path) -> dict[str, Any]:
    """The tensors of a file that `check` let pass, by name. Raises ModelError for one that holds something else."""
    import torch

    if path.suffix == ".safetensors":
        return parts.tensors(path)
    try:
        held = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    except Exception as error:  # torch raises many kinds on what is none of its files, or more than tensors
        raise ModelError(f"{path} holds something else than weights ({one_line(error)})") from error
    inside = held.get(INSIDE, held) if isinstance(held, dict) else held
    if not isinstance(inside, dict) or not all(isinstance(value, torch.Tensor) for value in inside.values()):
        raise ModelError(f"{path} holds something else than tensors by their names")
    return {str(name): value for name, value in inside.items()}


def identity(path: Path) -> str:
    """16 hex digits: of the tensors of safetensors, of a pickle's bytes."""
    return identities.file(path) if path.suffix == ".safetensors" else _digest(path)[:16]


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
