"""Where a model is, whether it is complete, and what it needs: the embedded one, a folder, or the Hugging Face cache.

Only `find` and `find_vae` download; `missing`, `tokenizer` and `needs` look at what is here. None of them loads
weights; the revision of a local folder is a digest of all that decides what is computed. What models need stands in
prompts/models.toml.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import tomllib
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from datagen import world
from datagen.errors import ModelError, nearest, one_line
from datagen.recipe import PROMPTS, Scheduler
from datagen.weights import files, hub, identity, licences, parts, pipelines, single_file

NOT_CACHED = "not in the Hugging Face cache"
TABLE = "prompts/models.toml"
_CLASSES = {False: "StableDiffusionPipeline", True: "StableDiffusionXLPipeline"}  # by whether it is an XL


Read = Callable[[Path], object]  # ModelError for a folder that is not whole


@dataclasses.dataclass(frozen=True)
class Source:
    """A folder or file with weights; `name` and `revision` identify it without the paths of this machine."""

    folder: Path
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
    grain: int = Field(default=8, ge=1)  # pixels, of which sides should be multiples
    gpu_gib: float = Field(ge=0)  # for half-precision sampling of one image with room for the judges; 0: a CPU will do
    license: str = Field(min_length=1)  # of the images it makes
    scheduler: Scheduler = "model"  # that it is usually sampled with
    vae: str = ""  # hub id of a VAE that works in half precision, where the model's own does not
    steps: int = Field(default=30, ge=1)  # that `seconds` were measured at
    seconds: dict[str, float] = {}  # GPU → seconds for an image of side × side
    source: str = ""  # of `seconds`
    entry: str = Field(default="", max_length=0)  # its name in the table; filled in by `read_table`, never given


def find(model: str, revision: str = "", read: Read | None = None) -> Source:
    """Where a model is; downloads a hub id that is not in the local cache yet.

    `model` is "embedded", a diffusers folder, a whole model in one file, or a hub id; `read` looks whether one is
    whole that is no Stable Diffusion. Raises ModelError, naming what is missing or does not fit together, if it cannot
    be obtained whole.
    """
    folder = _local(model)
    if folder is None:
        folder = hub.folder(model, revision, read or pipelines.read)
        (read or _refuse_partial)(folder)
        return Source(folder, model, folder.name)
    (read or _refuse_partial)(folder)
    return Source(folder, "embedded" if model == "embedded" else _named(folder), identity.pipeline(folder))


def here(model: str, revision: str = "") -> Path | None:
    """The folder or file of a model that is on this machine, None of a hub id that is not in its cache. ModelError."""
    return _local(model) or _cached(model, revision, "model_index.json")


def find_vae(vae: str, *, download: bool = True) -> Source:
    """Where a VAE by itself is: its folder or file, a model's folder, or a hub id. ModelError if nowhere."""
    folder = _local(vae)
    if folder is None:
        folder = _download_vae(vae, download)
        return Source(folder, vae, folder.name)
    name, inner = _named(folder), folder / "vae"
    if folder.is_file():
        single_file.vae_config(folder, {})
        return Source(folder, name, identity.file(folder))
    folder = inner if inner.is_dir() else folder
    files.find(folder)
    return Source(folder, name, identity.folder(folder))


def missing(model: str, revision: str = "", read: Read | None = None) -> Missing | None:
    """Why `find` would raise or download, None if the whole model is here. Downloads nothing."""
    try:
        local = _local(model)
        folder = here(model, revision)
        if folder is None:
            return Missing(NOT_CACHED, downloadable=True)
        absent = [] if local else _without_weights(folder)
        if absent:
            return Missing(f"incomplete in the Hugging Face cache: no {', '.join(absent)}", downloadable=True)
        (read or _refuse_partial)(folder)
    except ModelError as error:
        return Missing(str(error))
    return None


def tokenizer(model: str, revision: str = "", part: str = "tokenizer") -> Path | None:
    """The folder of one of a model's tokenizers, None if its vocabulary is not on this machine. Downloads nothing."""
    try:
        folder = _local(model)
    except ModelError:
        return None
    for name in parts.VOCABULARIES:
        if folder is None:
            found = _cached(model, revision, f"{part}/{name}")
        else:
            found = folder / part if (folder / part / name).is_file() else None
        if found is not None:
            return found
    return None


def pipeline(model: str, revision: str = "", *, download: bool = False) -> str:
    """diffusers' class of a model that is here, or that the table knows; "" if neither.

    Of a hub id that is neither, its model_index.json alone is fetched if it may.
    """
    try:
        folder = here(model, revision)
        if folder is None and download and model not in table() and (index := hub.index(model, revision)):
            folder = index.parent
        if folder is not None and (folder / "model_index.json").is_file():
            return str(files.read_json(folder / "model_index.json").get("_class_name"))
    except ModelError:  # said by whoever looks into it
        return ""
    return table()[model].pipeline if model in table() else ""


def needs(model: str, revision: str = "") -> Needs | None:
    """What a model needs by the table, or what one like it does (`entry` says which); None if that is not known."""
    entries = table()
    name = model if model in entries else _alike(model, revision)
    return None if name is None else entries[name]


def licence_notes(model: str, folder: Path) -> tuple[str, ...]:
    """What the licence of a model forbids, by the table or by the card in its folder; nothing if neither says so."""
    known = table()[model].license if model in table() else licences.of_card(folder)
    return licences.note(known)


@functools.lru_cache(maxsize=1)
def table() -> dict[str, Needs]:
    """Model → what it needs, from prompts/models.toml. ModelError if the file cannot be read."""
    return read_table(PROMPTS / "models.toml")


def read_table(path: Path) -> dict[str, Needs]:
    """The [models."NAME"] tables of a file like prompts/models.toml. ModelError, one line, if it cannot be read."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
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
        folder = here(model, revision)
        if folder is None:
            return None
        if (kind := pipeline(model, revision)) and kind not in pipelines.FAMILIES:
            return next((name for name, entry in table().items() if entry.pipeline == kind), None)
        found = pipelines.read(folder)
        side = found.configs["unet"]["sample_size"] * 2 ** (len(found.configs["vae"]["block_out_channels"]) - 1)
    except (ModelError, OSError, KeyError, TypeError):  # no diffusers folder, or not in a known layout
        return None
    like = _CLASSES[found.is_xl], side
    return next((name for name, entry in table().items() if (entry.pipeline, entry.side) == like), None)


def _local(model: str) -> Path | None:
    """What a name stands for on this machine, None for a hub id; ModelError for what is neither."""
    if model == "embedded":
        return world.PIPELINE
    path = Path(os.path.expanduser(model))
    if path.exists():
        return path
    if not hub.ID.fullmatch(model) or model.startswith("."):
        spelled = "" if str(path) == model else f" ({path})"
        raise ModelError(
            f"there is no folder {model}{spelled}; give a diffusers folder, a whole model as one .safetensors file, a "
            "hub id such as owner/name, or embedded"
        )
    return None


def _named(place: Path) -> str:
    """What a folder or file is called, without the path of this machine."""
    return place.resolve().stem if place.is_file() else place.resolve().name


def _cached(model: str, revision: str, file: str) -> Path | None:
    """The folder of a hub id's file in the local cache, None if the file is not in it."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(model, file, revision=revision or None)
    except HFValidationError:  # a name that no hub has
        return None
    return Path(found).parent if isinstance(found, str) else None


def _refuse_partial(folder: Path) -> None:
    """Raise ModelError for a pipeline folder whose parts are not all there or do not fit together."""
    found = pipelines.read(folder)
    if found.single:
        return
    for name in found.tokenizers:
        if not any((folder / name / vocabulary).is_file() for vocabulary in parts.VOCABULARIES):
            raise ModelError(
                f"the model at {folder} has no {name} with {' or '.join(parts.VOCABULARIES)}: {files.AGAIN}"
            )
    files.read_json(folder / "scheduler" / "scheduler_config.json")


def _without_weights(folder: Path) -> list[str]:
    """The parts of a snapshot whose weights were never downloaded."""
    index = files.read_json(folder / "model_index.json")
    wanted = [name for name in pipelines.NETWORKS if index.get(name) not in (None, [None, None])]
    return [name for name in wanted if not any(path.is_file() for path in (folder / name).glob("*.safetensors"))]


def _download_vae(name: str, download: bool) -> Path:
    """The snapshot of a VAE's hub id: from the cache if it is whole there, else over the network if it may."""
    from huggingface_hub import snapshot_download

    problem = ""
    for local in (True, False) if download else (True,):
        if not local and (problem := hub.unreachable()):
            break
        try:
            # The same weights often lie beside these once more in other programs' layouts.
            wanted = ["config.json", "diffusion_pytorch_model*"]
            folder = Path(snapshot_download(name, allow_patterns=wanted, local_files_only=local))
            files.find(folder)
            return folder
        except Exception as error:  # the hub's client has no common base for what it raises
            problem = one_line(error)
    raise ModelError(
        f"the VAE {name} is neither a folder here nor whole in the local cache, and cannot be downloaded: {problem}; "
        "download it where there is a network, or give its folder"
    )
