"""From a model's name to a folder that holds all of it: the embedded one, a folder of the user's, or the hub's cache.

`find` reads no weights into memory. What is missing is a `ModelError` that names it and says what to do.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from datagen.errors import ModelError

PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
WITH_WEIGHTS = ("unet", "vae", "text_encoder", "text_encoder_2")
_EDGE = 1 << 20  # bytes hashed at each end of a file of weights


@dataclasses.dataclass(frozen=True)
class Source:
    """A complete diffusers folder; `name` and `revision` identify it without the paths of this machine."""

    folder: Path
    pipeline: str  # one of PIPELINES
    name: str
    revision: str


def find(model: str, revision: str = "") -> Source:
    """Where a model lies; downloads a hub id that is not in the local cache yet."""
    from datagen import world

    if model == "embedded":
        return _source(world.PIPELINE, "embedded")
    if Path(model).is_dir():
        return _source(Path(model), Path(model).resolve().name)
    if Path(model).exists():
        raise ModelError(f"{model} is one file; give a diffusers folder, the one that has model_index.json")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model) or model.startswith("."):
        raise ModelError(
            f"there is no folder {model}; give a diffusers folder, a hub id such as owner/name, or embedded"
        )
    folder = _download(model, revision)
    return dataclasses.replace(_source(folder, model), revision=folder.name)


def one_line(error: BaseException) -> str:
    """The first line of a library's message, not too long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."


def _source(folder: Path, name: str) -> Source:
    """The folder checked: a pipeline that is known, and safetensors for each part that has weights."""
    index = _read_index(folder)
    pipeline = str(index.get("_class_name"))
    if pipeline not in PIPELINES:
        raise ModelError(f"{folder} holds a {pipeline}; known: {', '.join(PIPELINES)}")
    parts = [part for part in WITH_WEIGHTS if (index.get(part) or [None])[0] is not None]
    missing = [part for part in parts if not list((folder / part).glob("*.safetensors"))]
    if missing:
        raise ModelError(
            f"{folder} has no weights for {', '.join(missing)}: expected {missing[0]}/*.safetensors "
            "(pickles are not read); download the model again, or save it with save_pretrained(folder)"
        )
    return Source(folder, pipeline, name, _digest(folder, parts))


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / "model_index.json"
    if not path.is_file():
        raise ModelError(
            f"{folder} is no diffusers folder: it has no model_index.json; save one with save_pretrained(folder)"
        )
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {one_line(error)}; save or download the model again") from error
    return index if isinstance(index, dict) else {}


def _digest(folder: Path, parts: list[str]) -> str:
    """16 hex digits of a local model: its JSON files, and of its weights the sizes and both ends.

    Reading all of SDXL would take longer than loading it; training moves every tensor, so the ends tell models apart.
    """
    sha = hashlib.sha256()
    files = [folder / "model_index.json", *folder.glob("scheduler/*.json")]
    files += [
        path for part in parts for pattern in ("*.json", "*.safetensors") for path in (folder / part).glob(pattern)
    ]
    for path in sorted(files):
        size = path.stat().st_size
        sha.update(f"{path.relative_to(folder).as_posix()} {size}\n".encode())
        with path.open("rb") as file:
            sha.update(file.read(_EDGE))
            file.seek(max(0, size - _EDGE))
            sha.update(file.read(_EDGE))
    return sha.hexdigest()[:16]


def _download(model: str, revision: str) -> Path:
    """The snapshot of a hub id: from the cache if it is whole there, else over the network."""
    import diffusers

    problem = ""
    for local_files_only in (True, False):
        try:
            folder = diffusers.DiffusionPipeline.download(
                model,
                revision=revision or None,
                local_files_only=local_files_only,
                use_safetensors=True,
                safety_checker=None,
                feature_extractor=None,
            )
            _source(Path(folder), model)
            return Path(folder)
        except Exception as error:  # the hub's client has no common base for what it raises
            problem = one_line(error)
    raise ModelError(
        f"{model} is neither a folder here nor in the local cache, and the hub did not give it: {problem}; "
        "download it where there is a network, give its folder, or use the profile embedded"
    )
