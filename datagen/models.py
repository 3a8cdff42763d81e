"""Where a model is, whether it is complete, and what it needs: the embedded one, a folder, or the Hugging Face cache.

Only `find` downloads; `missing`, `tokenizer` and `needs` look at what is here. None of them reads weights into memory.
What models need stands in prompts/models.toml.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from datagen import world
from datagen.errors import ModelError, nearest, one_line
from datagen.recipe import PROMPTS, Scheduler

NOT_CACHED = "not in the Hugging Face cache"
TABLE = "prompts/models.toml"
_WITH_WEIGHTS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
_VOCABULARIES = ("vocab.json", "tokenizer.json")  # either makes a tokenizer
_EDGE = 1 << 20  # bytes hashed at each end of a file of weights


@dataclasses.dataclass(frozen=True)
class Source:
    """A complete diffusers folder; `name` and `revision` identify it without the paths of this machine."""

    folder: Path
    pipeline: str  # the class in model_index.json
    name: str
    revision: str


@dataclasses.dataclass(frozen=True)
class Missing:
    """Why a model cannot be loaded as things are; `downloadable` if loading it would fetch what is missing."""

    reason: str
    downloadable: bool = False


class Needs(BaseModel):
    """What a model needs and was made for: one entry of prompts/models.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    pipeline: str = ""  # diffusers class; a model that is not in the table needs what one of equal class and side does
    side: int = Field(ge=8)  # pixels, of the square images that it was trained on
    gpu_gib: float = Field(ge=0)  # for half-precision sampling of one image with room for the judges; 0: a CPU will do
    license: str = Field(min_length=1)  # of the images it makes
    scheduler: Scheduler = "model"  # that it is usually sampled with
    vae: str = ""  # hub id of a VAE that works in half precision, where the model's own does not
    steps: int = Field(default=30, ge=1)  # that `seconds` were measured at
    seconds: dict[str, float] = {}  # GPU → seconds for an image of side × side
    source: str = ""  # of `seconds`
    entry: str = Field(default="", max_length=0)  # its name in the table; filled in by `read_table`, never given


def find(model: str, revision: str = "", pipelines: Collection[str] = ()) -> Source:
    """Where a model is; downloads a hub id that is not in the local cache yet.

    `model` is "embedded", a diffusers folder, or a hub id. Raises ModelError, naming what is missing, if it cannot be
    obtained whole or is not one of `pipelines` (diffusers classes; () accepts any).
    """
    folder = _local(model)
    if folder is not None:
        return _source(folder, model if model == "embedded" else folder.resolve().name, pipelines)
    folder = _download(model, revision, pipelines)
    return dataclasses.replace(_source(folder, model, pipelines), revision=folder.name)


def missing(model: str, revision: str = "", pipelines: Collection[str] = ()) -> Missing | None:
    """Why `find` would raise or download, None if the whole model is here. Downloads nothing."""
    try:
        local = _local(model)
        folder = local or _cached(model, revision, "model_index.json")
        if folder is None:
            return Missing(NOT_CACHED, downloadable=True)
        _, parts = _read_index(folder, pipelines)
        absent = _without_weights(folder, parts)
        if absent and local is None:
            return Missing(f"incomplete in the Hugging Face cache: no {', '.join(absent)}", downloadable=True)
        if absent:
            raise _no_weights(folder, absent)
    except ModelError as error:
        return Missing(str(error))
    return None


def tokenizer(model: str, revision: str = "", part: str = "tokenizer") -> Path | None:
    """The folder of one of a model's tokenizers, None if its vocabulary is not on this machine. Downloads nothing."""
    try:
        folder = _local(model)
    except ModelError:
        return None
    for name in _VOCABULARIES:
        if folder is None:
            found = _cached(model, revision, f"{part}/{name}")
        else:
            found = folder / part if (folder / part / name).is_file() else None
        if found is not None:
            return found
    return None


def needs(model: str, revision: str = "") -> Needs | None:
    """What a model needs by the table, or what one like it does (`entry` says which); None if that is not known."""
    entries = table()
    name = model if model in entries else _alike(model, revision)
    return None if name is None else entries[name]


@functools.lru_cache(maxsize=1)
def table() -> dict[str, Needs]:
    """Model → what it needs, from prompts/models.toml. ModelError if the file cannot be read."""
    return read_table(PROMPTS / "models.toml")


def read_table(path: Path) -> dict[str, Needs]:
    """The [models."NAME"] tables of a file like prompts/models.toml. ModelError, one line, if it cannot be read."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"the table of models {path} cannot be read: {one_line(error)}") from error
    entries = content.get("models")
    if not isinstance(entries, dict) or set(content) != {"models"}:
        raise ModelError(f'the table of models {path} needs [models."NAME"] tables and nothing else')
    found = {}
    for name, values in entries.items():
        try:
            found[name] = Needs.model_validate(values, strict=True).model_copy(update={"entry": name})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            known = f"; {nearest(key, Needs.model_fields)}" if first["type"] == "extra_forbidden" else ""
            raise ModelError(f'{path}, [models."{name}"] {key}: {first["msg"]}{known}') from error
    return found


def _alike(model: str, revision: str = "") -> str | None:
    """The entry of the table with the pipeline class and image side of a model that is on this machine."""
    try:
        folder = _local(model) or _cached(model, revision, "model_index.json")
        if folder is None:
            return None
        pipeline, _ = _read_index(folder)
        network = next(part for part in ("unet", "transformer") if (folder / part).is_dir())
        latents = _json(folder / network / "config.json")["sample_size"]
        side = latents * 2 ** (len(_json(folder / "vae" / "config.json")["block_out_channels"]) - 1)
    except (ModelError, OSError, KeyError, TypeError, StopIteration):  # no diffusers folder, or not in a known layout
        return None
    return next((name for name, entry in table().items() if (entry.pipeline, entry.side) == (pipeline, side)), None)


def _local(model: str) -> Path | None:
    """The folder that a name stands for, None for a hub id; ModelError for what is neither."""
    if model == "embedded":
        return world.PIPELINE
    path = Path(os.path.expanduser(model))
    if path.is_dir():
        return path
    if path.exists():
        raise ModelError(f"{model} is one file; give a diffusers folder, the one that has model_index.json")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model) or model.startswith("."):
        raise ModelError(
            f"there is no folder {model}; give a diffusers folder, a hub id such as owner/name, or embedded"
        )
    return None


def _cached(model: str, revision: str, file: str) -> Path | None:
    """The folder of a hub id's file in the local cache, None if the file is not in it."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(model, file, revision=revision or None)
    except HFValidationError:  # a name that no hub has
        return None
    return Path(found).parent if isinstance(found, str) else None


def _source(folder: Path, name: str, pipelines: Collection[str]) -> Source:
    """The folder checked: a pipeline that is accepted, and safetensors for each part that has weights."""
    pipeline, parts = _read_index(folder, pipelines)
    if absent := _without_weights(folder, parts):
        raise _no_weights(folder, absent)
    return Source(folder, pipeline, name, _digest(folder, parts))


def _read_index(folder: Path, pipelines: Collection[str] = ()) -> tuple[str, list[str]]:
    """The pipeline class of a diffusers folder and its parts that have weights."""
    path = folder / "model_index.json"
    if not path.is_file():
        raise ModelError(
            f"{folder} is not a diffusers folder: it has no model_index.json; save one with save_pretrained(folder)"
        )
    index = _json(path)
    pipeline = str(index.get("_class_name"))
    if pipelines and pipeline not in pipelines:
        raise ModelError(f"{folder} holds a {pipeline}; known: {', '.join(pipelines)}")
    return pipeline, [part for part in _WITH_WEIGHTS if (index.get(part) or [None])[0] is not None]


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {one_line(error)}; save or download the model again") from error
    return values if isinstance(values, dict) else {}


def _without_weights(folder: Path, parts: list[str]) -> list[str]:
    """The parts whose safetensors are not all there; those of a variant (model.fp16.safetensors) do not count."""
    absent = []
    for part in parts:
        present = {path.name for path in (folder / part).glob("*.safetensors") if path.is_file()}
        expected = {name for path in (folder / part).glob("*.safetensors.index.json") for name in _shards(path)}
        if not expected <= present or all("." in Path(name).stem for name in present):
            absent.append(part)
    return absent


def _shards(index: Path) -> set[str]:
    """The files that an index of sharded weights names; none for that of a variant."""
    weights = {} if "." in index.name.removesuffix(".safetensors.index.json") else _json(index).get("weight_map")
    return set(weights.values()) if isinstance(weights, dict) else set()


def _no_weights(folder: Path, absent: list[str]) -> ModelError:
    return ModelError(
        f"{folder} has no weights for {', '.join(absent)}: expected {absent[0]}/*.safetensors, without a variant such "
        "as fp16 (pickles are not read); download the model again, or save it with save_pretrained(folder)"
    )


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


def _download(model: str, revision: str, pipelines: Collection[str]) -> Path:
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
            _source(Path(folder), model, pipelines)
            return Path(folder)
        except Exception as error:  # the hub's client has no common base for what it raises
            problem = one_line(error)
    raise ModelError(
        f"{model} is neither a folder here nor in the local cache, and downloading it failed: {problem}; "
        "download it where there is a network, give its folder, or use the profile embedded"
    )
