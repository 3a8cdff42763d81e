"""A network whose weights are published as one file of tensors: safetensors, or a pickle that is known by its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datagen.errors import ModelError, one_line
from datagen.weights import files, fit, identity, parts

REMEDY = "give the weights that were published for this network"


def digest(path: Path, sha256: str = "") -> str:
    """What a file's weights are known by: 16 hex digits, of its tensors or of a pickle as a whole. Raises ModelError.

    `sha256` is the hash that a pickle must have, its first 16 digits at least; safetensors need none.
    """
    if path.suffix == ".safetensors":
        return identity.file(path)
    _check_hash(path, sha256)
    return sha256[: identity.LENGTH].lower()


def read(path: Path, sha256: str = "") -> dict[str, Any]:
    """Every tensor by its name, on the CPU. Raises ModelError, one line.

    A pickle is read if its SHA-256 is the one that is given, and then as tensors alone: nothing in it is run.
    """
    import torch

    if path.suffix == ".safetensors":
        files.Files((path,)).entries()
        return parts.tensors(path)
    _check_hash(path, sha256)
    try:
        held = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch's reader checks little, and raises whatever it stumbles over
        raise ModelError(f"{path} holds something else than weights ({one_line(error)}): it is not read") from error
    tensors = {str(name): value for name, value in held.items()} if isinstance(held, dict) else {}
    if odd := [name for name, value in tensors.items() if not isinstance(value, torch.Tensor)]:
        raise ModelError(f"{path} holds something else than tensors ({files.named(odd)}): give a state dict")
    if not tensors:
        raise ModelError(f"{path} holds no tensors: give a state dict")
    return tensors


def fill(what: str, model: Any, tensors: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Give a torch module its weights. Raises ModelError unless they fill it.

    `what` is the network and its place, `names` what the file calls each tensor of the module. The module may be on
    torch's meta device: it takes the tensors themselves, in the precision that it has.
    """
    ours = model.state_dict()
    wanted = {names[name]: tuple(value.shape) for name, value in ours.items()}
    held = {name: tuple(value.shape) for name, value in tensors.items()}
    fit.check(what, fit.compare(wanted, held), type(model).__name__, remedy=REMEDY)
    model.load_state_dict({name: tensors[names[name]].to(value.dtype) for name, value in ours.items()}, assign=True)
    fit.refuse_broken(what, model)


def check_known(path: Path, sha256: str) -> None:
    """Raise ModelError for a pickle without a hash, at least its first 16 digits; does not read it."""
    if path.suffix != ".safetensors" and len(sha256) < identity.LENGTH:
        raise ModelError(
            f"{path} is a pickle, which can run code and is read only if its SHA-256 is known: give the hash that its "
            "publisher names (sha256), or save it as safetensors where you trust it"
        )


def _check_hash(path: Path, sha256: str) -> None:
    """Raise ModelError unless the file has this hash."""
    check_known(path, sha256)
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if not found.startswith(sha256.lower()):
        raise ModelError(f"{path} is damaged or another file: its SHA-256 is {found}, not {sha256}")
