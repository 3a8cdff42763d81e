"""A network whose weights are published as one file of tensors: safetensors, or a pickle that is known by its hash."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datagen.errors import ModelError, one_line
from datagen.weights import files, fit, identity, parts

REMEDY = "give the weights that were published for this network"
INSIDE = "state_dict"  # where training scripts put the tensors beside what else they keep


def check(path: Path, sha256: str) -> None:
    """Raise ModelError for safetensors that are not whole, and for a pickle without the first 16 digits of its hash.

    Reads no weights.
    """
    if path.suffix == ".safetensors":
        files.Files((path,)).entries()
    elif len(sha256) < identity.LENGTH:
        raise ModelError(
            f"{path} is a pickle, which can run code and is read only if its SHA-256 is known: give the hash that its "
            "publisher names (sha256), or save it as safetensors where you trust it"
        )


def digest(path: Path, sha256: str = "") -> str:
    """What a file's weights are known by: 16 hex digits, of its tensors or of a pickle as a whole. Raises ModelError.

    `sha256` is the hash that a pickle must have, its first 16 digits at least; safetensors need none.
    """
    check(path, sha256)
    if path.suffix == ".safetensors":
        return identity.file(path)
    _check_hash(path, sha256)
    return sha256[: identity.LENGTH].lower()


def read(path: Path, sha256: str = "") -> dict[str, Any]:
    """Every tensor by its name, on the CPU. Raises ModelError, one line.

    A pickle is read if its SHA-256 is the one that is given, and then as tensors alone: nothing in it is run. They may
    lie in its `state_dict`, beside what else a training kept.
    """
    check(path, sha256)
    if path.suffix == ".safetensors":
        return parts.tensors(path)
    _check_hash(path, sha256)
    return of_pickle(path)


def of_pickle(path: Path) -> dict[str, Any]:
    """As `read`, of a pickle whose hash has been checked."""
    import torch

    try:
        held = torch.load(path, weights_only=True, map_location="cpu", mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch's reader checks little, and raises whatever it stumbles over
        raise ModelError(f"{path} holds something else than weights ({one_line(error)}): it is not read") from error
    inside = held.get(INSIDE, held) if isinstance(held, dict) else None
    tensors = {str(name): value for name, value in inside.items()} if isinstance(inside, dict) else {}
    if odd := [name for name, value in tensors.items() if not isinstance(value, torch.Tensor)]:
        raise ModelError(f"{path} holds something else than tensors ({files.named(odd)}): give a state dict")
    if not tensors:
        raise ModelError(f"{path} holds no tensors: give a state dict")
    return tensors


def fill(what: str, model: Any, tensors: Mapping[str, Any], names: Mapping[str, str] | None = None) -> None:
    """Give a torch module its weights. Raises ModelError unless they fill it.

    `what` is the network and its place, `names` what the file calls each tensor of the module, None for the same. The
    module may be on torch's meta device: it takes the tensors themselves, in the precision that it has.
    """
    ours = model.state_dict()
    theirs = names or {name: name for name in ours}
    wanted = {theirs[name]: tuple(value.shape) for name, value in ours.items()}
    held = {name: tuple(value.shape) for name, value in tensors.items()}
    fit.check(what, fit.compare(wanted, held), type(model).__name__, remedy=REMEDY)
    model.load_state_dict({name: tensors[theirs[name]].to(value.dtype) for name, value in ours.items()}, assign=True)
    fit.refuse_broken(what, model)


def _check_hash(path: Path, sha256: str) -> None:
    """Raise ModelError unless the file has this hash."""
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if not found.startswith(sha256.lower()):
        raise ModelError(f"{path} is damaged or another file: its SHA-256 is {found}, not {sha256}")
