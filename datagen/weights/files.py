"""Files of weights before they are read: which ones a folder has, whether each is whole, and what it holds.

A safetensors file begins with the names, types and shapes of its tensors; nothing here reads the tensors themselves.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from datagen.errors import ModelError, one_line

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5")
AGAIN = "download it again, or save it with save_pretrained(folder)"
CONVERT = (
    "a pickle can run code and is not read; where you trust it, StableDiffusionPipeline (or "
    "StableDiffusionXLPipeline).from_single_file(FILE).save_pretrained(FOLDER) makes a folder of safetensors"
)
# What diffusers and transformers call their files: model.fp16.safetensors, model.safetensors.index.fp16.json, …
_NAME = re.compile(
    r"(?P<stem>diffusion_pytorch_model|model)(\.(?P<variant>[\w-]+?))?\.safetensors"
    r"(?P<index>\.index(\.(?P<of>[\w-]+))?\.json)?"
)
_FLOATS = {"F64", "F32", "F16", "BF16"}
# What is counted and never trained (of a model, of its averaged weights), and the scale of a LoRA in kohya's names.
_COUNTERS = re.compile(r"(^|\.)(position_ids|num_batches_tracked|num_updates|global_step|alpha)$")
_LONGEST_HEADER = 100_000_000  # bytes; safetensors' own limit


@dataclasses.dataclass(frozen=True)
class Entry:
    """One tensor of a file: its type as safetensors names it, its shape, and its bytes from `start` to `end`."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def ndim(self) -> int:
        return len(self.shape)


@dataclasses.dataclass(frozen=True)
class Files:
    """The files of one network; `variant` is what stands in their names (fp16), "" for those without."""

    paths: tuple[Path, ...]
    variant: str = ""

    def entries(self) -> dict[str, Entry]:
        """Every tensor by its name. Raises ModelError for a file that is not whole, and for quantised weights."""
        found = {}
        for path in self.paths:
            held = header(path)
            if odd := [name for name, e in held.items() if e.dtype not in _FLOATS and not _COUNTERS.search(name)]:
                raise ModelError(
                    f"{path} holds {held[odd[0]].dtype} numbers ({named(odd)}): quantised weights are not read; give "
                    "them in float32, float16 or bfloat16"
                )
            found.update(held)
        return found


def find(folder: Path) -> Files:
    """The safetensors of a folder: those without a variant, else those of the only one.

    Raises ModelError where there are none or more than one choice, where a shard is missing, and for pickles alone.
    """
    choices: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if match := _NAME.fullmatch(path.name):
            choices.setdefault(match["variant"] or match["of"] or "", []).append(path)
    if not choices:
        raise _none(folder)
    if "" not in choices and len(choices) > 1:
        raise ModelError(f"{folder} has weights in {', '.join(choices)} and none without a variant: keep one of them")
    variant = "" if "" in choices else next(iter(choices))
    if len(choices[variant]) > 1:
        raise ModelError(
            f"{folder} has both {' and '.join(path.name for path in choices[variant])}, which may be different "
            "weights: keep one of them"
        )
    (path,) = choices[variant]
    return Files(_shards(path) if path.suffix == ".json" else (path,), variant)


def header(path: Path) -> dict[str, Entry]:
    """The tensors of a safetensors file by name. Raises ModelError, one line, if it is not whole."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(64)
            if start.startswith(b"version https://git-lfs"):
                raise ModelError(f"{path} is a pointer of Git LFS, not the weights: run `git lfs pull` in its folder")
            length = struct.unpack("<Q", start[:8])[0] if len(start) >= 8 else 0
            if not 2 <= length <= min(_LONGEST_HEADER, size - 8):
                state = "is empty" if not size else "is cut short or no safetensors file"
                raise ModelError(f"{path} {state}: {AGAIN}")
            stream.seek(8)
            content = json.loads(stream.read(length))
        entries = {name: _entry(values, 8 + length) for name, values in content.items() if name != "__metadata__"}
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is no safetensors file ({one_line(error)}): {AGAIN}") from error
    if not entries:
        raise ModelError(f"{path} holds no tensors: {AGAIN}")
    if (end := max(entry.end for entry in entries.values())) != size:
        raise ModelError(f"{path} is cut short or damaged ({size} bytes, {end} are needed): {AGAIN}")
    return entries


def metadata(path: Path) -> dict[str, Any]:
    """What a safetensors file says of itself besides its tensors. Raises ModelError as `header` does."""
    header(path)
    with path.open("rb") as stream:
        found = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0])).get("__metadata__")
    return found if isinstance(found, dict) else {}


def check_pinned(path: Path, digest: str) -> None:
    """Raise ModelError unless a pickle is the file whose SHA-256 begins with `digest`, and holds weights alone."""
    import pickle

    import torch

    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if not found.startswith(digest):
        raise ModelError(f"{path} is damaged or another file (its hash is not {digest}…): delete it")
    try:
        torch.load(path, weights_only=True, map_location="meta")
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ModelError(f"{path} holds something else than weights: delete it") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ModelError, one line, for whatever else the file holds."""
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{path} is not JSON ({one_line(error)}): {AGAIN}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} is not an object of JSON: {AGAIN}")
    return values


def read_index(folder: Path) -> dict[str, Any]:
    """The model_index.json of a diffusers folder. Raises ModelError."""
    if not folder.is_dir():
        raise ModelError(
            f"{folder} is {'one file' if folder.exists() else 'not here'}; give a diffusers folder, the one that has "
            "model_index.json"
        )
    if not (folder / "model_index.json").is_file():
        raise ModelError(f"{folder} is not a diffusers folder, it has no model_index.json: {AGAIN}")
    return read_json(folder / "model_index.json")


def named(names: Iterable[str], most: int = 3) -> str:
    """The first few names, and that there are more."""
    ordered = sorted(names)
    return ", ".join(ordered[:most]) + (", …" if len(ordered) > most else "")


def _entry(values: Any, offset: int) -> Entry:
    start, end = values["data_offsets"]
    return Entry(str(values["dtype"]), tuple(int(n) for n in values["shape"]), offset + int(start), offset + int(end))


def _shards(index: Path) -> tuple[Path, ...]:
    """The files that an index names. Raises ModelError if one is missing."""
    places = read_json(index).get("weight_map")
    names = sorted({str(name) for name in places.values()}) if isinstance(places, dict) else []
    if not names or any(Path(name).name != name for name in names):
        raise ModelError(f"{index} does not say which files hold the weights: {AGAIN}")
    if absent := [name for name in names if not (index.parent / name).is_file()]:
        raise ModelError(f"{index.parent} lacks {named(absent)}, {len(absent)} of {len(names)} files: {AGAIN}")
    return tuple(index.parent / name for name in names)


def _none(folder: Path) -> ModelError:
    """What to do about a folder without safetensors that have the usual names."""
    if not folder.is_dir():
        return ModelError(f"the model has no folder {folder}: {AGAIN}")
    others = sorted(path.name for path in folder.iterdir() if path.suffix in (*PICKLES, ".safetensors"))
    if any(name.endswith(".safetensors") for name in others):
        return ModelError(
            f"{folder} has {named(others)}; weights are expected in model.safetensors (transformers) or "
            "diffusion_pytorch_model.safetensors (diffusers)"
        )
    if others:
        return ModelError(
            f"{folder} has its weights in {named(others)} only: a pickle can run code and is not read; load it where "
            "you trust it and save it with save_pretrained(folder, safe_serialization=True)"
        )
    return ModelError(f"{folder} has no weights: {AGAIN}")
