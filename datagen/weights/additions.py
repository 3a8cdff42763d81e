"""What a profile puts into a model: LoRA files and folders, and U-Nets that training wrote; each at a scale of choice.

All of it is added to the weights, so that drawing takes no longer than without.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from datagen.errors import ModelError
from datagen.weights import adapters, files, hub, identity

PEFT = "adapter_model.safetensors"  # as peft calls it


@dataclasses.dataclass(frozen=True)
class Addition:
    """What is put in: a LoRA file at a scale, or the folder of a U-Net; `said` is what a row says of it."""

    place: Path
    name: str
    scale: float = 1.0

    @property
    def is_unet(self) -> bool:
        return self.place.is_dir()

    @property
    def said(self) -> str:
        digest = identity.network(self.place) if self.is_unet else identity.adapter(self.place)
        return f"{self.name}@{digest}" + ("" if self.scale == 1 else f" × {self.scale:g}")


def find(given: str) -> Addition:
    """What `given` names, PATH or PATH@SCALE; ModelError, one line, for what is not there or is none."""
    place, scale = _parsed(given)
    if not place.exists():
        fetch = f"; that of a hub is fetched first, by `hf download {given} --local-dir FOLDER`"
        raise ModelError(
            f"there is no adapter {place}: give a LoRA file, or the folder that training wrote, or PATH@SCALE"
            f"{fetch if hub.ID.fullmatch(given) else ''}"
        )
    name = place.resolve().stem if place.is_file() else place.resolve().name
    if place.is_dir() and (place / "unet").is_dir() and not (place / "model_index.json").is_file():
        if scale != 1:
            raise ModelError(f"{place} holds a whole U-Net, which has no scale: leave @{scale:g} out")
        files.find(place / "unet").entries()
        return Addition(place / "unet", name)
    file = _lora(place)
    files.header(file)
    return Addition(file, name, scale)


def add(pipe: Any, found: Addition) -> tuple[str, ...]:
    """Put it into a pipeline; gives notes. Raises ModelError, one line, for what was made for another model."""
    if found.is_unet:
        pipe.unet = adapters.load_unet(pipe, found.place)
        return ()
    notes = adapters.fuse_lora(pipe, found.place, found.scale)
    return tuple(note.replace(str(found.place), found.name) for note in notes)


def _parsed(given: str) -> tuple[Path, float]:
    """Path and scale; a path that is there may hold an @ itself."""
    whole = Path(given).expanduser()
    start, mark, end = given.rpartition("@")
    if whole.exists() or not mark:
        return whole, 1.0
    try:
        scale = float(end)
    except ValueError:
        return whole, 1.0
    if not math.isfinite(scale):
        raise ModelError(f"the scale of the adapter {given} is no number: give one as PATH@0.8")
    return Path(start).expanduser(), scale


def _lora(place: Path) -> Path:
    """The one LoRA file of a place."""
    if place.is_file():
        if place.suffix in files.PICKLES:
            raise ModelError(f"{place} is a pickle, which can run code and is not read: save it as safetensors")
        return place
    for name in (adapters.LORA, PEFT):
        if (place / name).is_file():
            return place / name
    if (place / "value_encoder").is_dir():
        raise ModelError(
            f"{place} holds a value encoder, which steers each prompt by its principle: draw with it by "
            "training/sample.py; here LoRA and whole U-Nets are put in"
        )
    if (place / "model_index.json").is_file():
        raise ModelError(f"{place} is a whole model: name it as model")
    found = sorted(place.glob("*.safetensors"))
    if len(found) == 1:
        return found[0]
    if (place / "checkpoints").is_dir():
        raise ModelError(f"{place} holds a training without a result yet: finish it first")
    names = files.named(path.name for path in found)
    raise ModelError(f"{place} holds {f'{names}: name one of them' if found else 'no adapter: give a LoRA file'}")
