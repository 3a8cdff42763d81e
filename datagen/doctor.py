"""What this machine can serve: the weights it has, its GPU, and the profile that `auto` takes.

It looks and never loads or downloads: a folder or the Hugging Face cache either holds a model's files or does not.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from pathlib import Path

from datagen import catalogue, world
from datagen import recipe as recipes
from datagen.errors import ModelError, nearest
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
    card = gpu()
    if card is None:
        return "embedded", f"weights of {' and '.join(ready)} are here, but no CUDA GPU"
    for name in ready:
        if card[1] >= GPU_GIB[name]:
            return name, f"its weights are here and the GPU ({card[0]}, {card[1]:.0f} GiB) has room"
    return "embedded", f"the GPU ({card[0]}, {card[1]:.0f} GiB) is too small for {' and '.join(ready)}"


def check(profile: Profile) -> None:
    """Refuse, before anything is made, a profile whose judges or model folder are not there; ModelError."""
    known = [name for name, _ in catalogue.judges()]
    for judge in profile.judges:
        if judge not in known:
            raise ModelError(f"no judge is called {judge!r}; {nearest(judge, known)}")
    # A hub id that is not in the cache is left to the generator: it may download it.
    if (why := missing_weights(profile.model, profile.revision)) and why != NOT_CACHED:
        raise ModelError(f"the model {profile.model!r} cannot be loaded: {why}")


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
    models = {(name, p.model, p.revision) for recipe in loaded for name, p in recipe.profiles.items()}
    for name, model, revision in sorted(models, key=lambda entry: (recipes.PROFILES.index(entry[0]), entry)):
        why = missing_weights(model, revision)
        findings.append((f"profile {name}", f"{model}: {'weights are here' if why is None else why}"))
    for recipe in loaded:
        profile, reason = choose(recipe, "auto")
        findings.append((f"auto, {recipe.name}", f"{profile}: {reason}"))
    return findings


def _missing(recipe: Recipe, name: str) -> str | None:
    profile = recipe.profile(name)
    return missing_weights(profile.model, profile.revision)


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "not installed: run make setup"


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _writable(folder: Path) -> str:
    return "writable" if os.access(folder, os.W_OK) else "not writable"
