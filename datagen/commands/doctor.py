"""What this machine can serve: the weights it has, its GPU, the profile that `auto` takes, and the LLM it would ask.

It looks and never loads or downloads: a folder or the Hugging Face cache either holds a model's files or does not. An
LLM server is asked which models it has, which costs nothing; no key is ever in a finding.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from pathlib import Path

from datagen import recipe as recipes
from datagen import world
from datagen.commands import listing
from datagen.errors import EndpointError, ModelError, nearest
from datagen.recipe import Profile, Recipe

NOT_CACHED = "not in the Hugging Face cache"
LIBRARIES = ("torch", "diffusers", "transformers", "open_clip_torch", "datasets", "pyarrow")
# What half-precision sampling of one image needs, with room for the judges.
GPU_GIB = {"sdxl": 12, "sd15": 6}


def missing_weights(model: str, revision: str = "") -> str | None:
    """Why a model cannot be loaded from this machine, None if it can.

    `model` is "embedded", a folder in diffusers' layout, or a hub id.
    """
    folder = Path(world.PIPELINE if model == "embedded" else model).expanduser()
    if not folder.is_dir():
        if model.count("/") != 1 or model.startswith((".", "/", "~")):
            return f"there is no folder {folder}"
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(model, "model_index.json", revision=revision or None)
        if not isinstance(found, str):
            return NOT_CACHED
        folder = Path(found).parent
    if not (folder / "model_index.json").is_file():
        return f"{folder} has no model_index.json"
    if not any(folder.glob("unet/*.safetensors")):
        return f"{folder} has no unet/*.safetensors"
    return None


def gpu() -> tuple[str, float] | None:
    """Name and memory in GiB of the first CUDA GPU. Imports torch."""
    import torch

    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    return properties.name, properties.total_memory / 2**30


def choose(recipe: Recipe, wanted: str) -> tuple[str, str]:
    """The profile to run a recipe with, and why; "auto" takes a real model only if weights and a GPU are here."""
    if wanted != "auto":
        recipe.profile(wanted)
        return wanted, "as asked"
    real = [name for name in GPU_GIB if name in recipe.profiles]
    ready = [name for name in real if _missing(recipe, name) is None]
    if "embedded" not in recipe.profiles:
        name = (ready or real)[0]
        return name, "the recipe has no embedded profile"
    if not ready:  # the cheap question first: asking for a GPU imports torch
        return "embedded", f"no weights of {' or '.join(real) or 'a real model'} on this machine"
    unwritten = {name: why for name in ready if (why := _no_writer(recipe, name))}
    if len(unwritten) == len(ready):
        return "embedded", f"weights of {' and '.join(ready)} are here, but no LLM: {unwritten[ready[0]]}"
    ready = [name for name in ready if name not in unwritten]
    card = gpu()
    if card is None:
        return "embedded", f"weights of {' and '.join(ready)} are here, but no CUDA GPU"
    for name in ready:
        if card[1] >= GPU_GIB[name]:
            return name, f"its weights are here and the GPU ({card[0]}, {card[1]:.0f} GiB) has room"
    return "embedded", f"the GPU ({card[0]}, {card[1]:.0f} GiB) is too small for {' and '.join(ready)}"


def check(profile: Profile) -> None:
    """Refuse, before anything is made, a profile whose judges or model folder are not there; ModelError."""
    known = [name for name, _ in listing.judges()]
    for judge in profile.judges:
        if judge not in known:
            raise ModelError(f"no judge is called {judge!r}; {nearest(judge, known)}")
    # A hub id that is not in the cache is left to the generator: it may download it.
    for model, revision in _models(profile):
        if (why := missing_weights(model, revision)) and why != NOT_CACHED:
            raise ModelError(f"the model {model!r} cannot be loaded: {why}")


def report(folder: Path) -> list[tuple[str, str]]:
    """What `datagen doctor` prints: (what, finding) in order."""
    card = gpu()
    disk = shutil.disk_usage(folder)
    findings = [
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *((library, _version(library)) for library in LIBRARIES),
        ("cpu", f"{os.cpu_count()} cores, {_memory_gib():.0f} GiB memory"),
        ("gpu", f"{card[0]}, {card[1]:.0f} GiB" if card else "none that CUDA can use"),
        ("disk", f"{disk.free / 2**30:.0f} GiB free in {folder}, {_writable(folder)}"),
    ]
    loaded = [recipes.load(name, []) for name in recipes.names()]
    models = {(name, *model) for recipe in loaded for name, p in recipe.profiles.items() for model in _models(p)}
    for name, model, revision in sorted(models, key=lambda entry: (recipes.PROFILES.index(entry[0]), entry)):
        why = missing_weights(model, revision)
        findings.append((f"profile {name}", f"{model}: {'weights are here' if why is None else why}"))
    for recipe in loaded:
        profile, reason = choose(recipe, "auto")
        findings.append((f"auto, {recipe.name}", f"{profile}: {reason}"))
    return [*findings, ("llm", _llm()), ("llm, local", _local_llm())]


def _llm() -> str:
    """The LLM that the environment names, and whether it is there."""
    from datagen.llm.environment import from_environment
    from datagen.llm.providers import provider_of

    try:
        endpoint = from_environment()
    except EndpointError as error:
        return f"none that can be asked: {error}"
    return provider_of(endpoint.base_url).status(endpoint)


def _local_llm() -> str:
    """What a base URL local:FILE would run on."""
    from datagen.llm.local import serve

    if not serve.installed():
        return "llama.cpp is not installed: pip install 'datagen[local-llm]'"
    gguf = serve.packaged()
    return f"xllamacpp {_version('xllamacpp')}, {f'with {gguf} to try it' if gguf else 'give it a GGUF file'}"


def _missing(recipe: Recipe, name: str) -> str | None:
    return next((why for model in _models(recipe.profile(name)) if (why := missing_weights(*model))), None)


def _no_writer(recipe: Recipe, name: str) -> str | None:
    """Why nobody can write the prompts of a profile, None if somebody can; no server is asked."""
    from datagen.llm.environment import from_environment

    if not recipes.asks_llm(recipe, recipe.profile(name)):
        return None
    try:
        from_environment(recipe.llm.model)
    except EndpointError as error:
        return str(error)
    return None


def _models(profile: Profile) -> list[tuple[str, str]]:
    """The generators of a profile with their revisions."""
    return [(profile.model, profile.revision), *((model, "") for model in profile.other_models)]


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "not installed: run make setup"


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _writable(folder: Path) -> str:
    return "writable" if os.access(folder, os.W_OK) else "not writable"
