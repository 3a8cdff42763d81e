"""What a profile puts into a model: LoRA, U-Nets that training wrote, and LiVO's value encoders.

LoRA is added to the weights at a scale of choice, so that drawing takes no longer than without. A value encoder stays
beside the model and steers each prompt by its principle.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from datagen.errors import ModelError, one_line
from datagen.weights import adapters, files, hub, identity

PEFT = "adapter_model.safetensors"  # as peft calls it
ENCODERS = ("value_encoder", "value_encoder_2")
ONE_EACH = {"unet": "whole U-Net", "values": "value encoder"}  # kinds of which a model has room for one


@dataclasses.dataclass(frozen=True)
class Addition:
    """What is put in: a LoRA file at a scale, the folder of a U-Net, or one that holds a value encoder."""

    kind: Literal["unet", "values", "lora"]
    place: Path
    name: str
    scale: float = 1.0

    @property
    def said(self) -> str:
        """What a row says of it: its name and a digest of its weights, and the scale."""
        if self.kind == "values":
            digest = identity.folders(_encoders(self.place))
        else:
            digest = identity.network(self.place) if self.kind == "unet" else identity.adapter(self.place)
        return f"{self.name}@{digest}" + ("" if self.scale == 1 else f" × {self.scale:g}")


def find_all(given: Sequence[str]) -> list[Addition]:
    """What each names; ModelError, one line, for what is not there or is none, and for two that would be one."""
    found = [find(one) for one in given]
    for kind, called in ONE_EACH.items():
        if len(alike := [addition.name for addition in found if addition.kind == kind]) > 1:
            raise ModelError(f"{' and '.join(alike)} are each a {called}, and a model has one: leave the others out")
    return found


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
    if place.is_dir() and not (place / "model_index.json").is_file():
        kind: Literal["unet", "values"] | None = "unet" if (place / "unet").is_dir() else None
        kind = "values" if _encoders(place) else kind
        if kind and scale != 1:
            raise ModelError(f"{place} holds a {ONE_EACH[kind]}, which has no scale: leave @{scale:g} out")
        if kind == "values":
            for file in [file for folder in _encoders(place) for file in sorted(folder.glob("*.safetensors"))]:
                files.header(file)
            return Addition(kind, place, name)
        if kind:
            files.find(place / "unet").entries()
            return Addition(kind, place / "unet", name)
    file = _lora(place)
    files.header(file)
    return Addition("lora", file, name, scale)


def add_all(pipe: Any, found: Sequence[Addition]) -> tuple[tuple[str, ...], Any]:
    """Put them into a pipeline; gives notes, and the guide of a value encoder, which is None without one.

    A U-Net comes first, so that LoRA is added to it; then the value encoder, which reads by the text encoders as they
    were when it was trained. Raises ModelError, one line, for what was made for another model.
    """
    notes: tuple[str, ...] = ()
    guide = None
    for addition in sorted(found, key=lambda one: ("unet", "values", "lora").index(one.kind)):
        if addition.kind == "unet":
            pipe.unet = adapters.load_unet(pipe, addition.place)
        elif addition.kind == "values":
            guide = _guide(pipe, addition.place)
        else:
            said = adapters.fuse_lora(pipe, addition.place, addition.scale)
            notes += tuple(note.replace(str(addition.place), addition.name) for note in said)
    return notes, guide


def check_all(pipe: Any, found: Sequence[Addition]) -> None:
    """Raise ModelError, one line, for what was made for another model than a pipeline's, which needs no weights.

    Of a value encoder only its width is looked at.
    """
    for addition in found:
        if addition.kind == "unet":
            adapters.check_unet(pipe, addition.place)
        elif addition.kind == "lora":
            adapters.fitting(pipe, addition.place)
        else:
            _check_width(pipe, addition.place)


def _check_width(pipe: Any, place: Path) -> None:
    """There is a value encoder for each text encoder, and it is as wide."""
    encoders = [pipe.text_encoder, pipe.text_encoder_2] if hasattr(pipe, "text_encoder_2") else [pipe.text_encoder]
    ours, folders = [encoder.config.hidden_size for encoder in encoders], _encoders(place)
    # LoRA of one has no width of its own in its settings.
    configs = [folder / "config.json" for folder in folders]
    theirs = [files.read_json(config).get("hidden_size") if config.is_file() else None for config in configs]
    fits = len(ours) == len(theirs) and all(one in (None, own) for one, own in zip(theirs, ours, strict=True))
    if not fits:
        raise ModelError(
            f"{place} holds {_wide(theirs)}, this model has {_wide(ours, 'text')}: give one that was trained on it"
        )


def _wide(widths: Sequence[int | None], kind: str = "value") -> str:
    said = " and ".join(str(width) for width in widths if width is not None)
    return f"{len(widths)} {kind} encoder{'s' * (len(widths) != 1)}{f' ({said} wide)' if said else ''}"


def _guide(pipe: Any, place: Path) -> Any:
    """A value encoder with its hooks on the pipeline's U-Net."""
    from datagen.weights import value_pipeline

    try:
        return value_pipeline.Guide(pipe, place)
    except value_pipeline.DoesNotFit as error:
        raise ModelError(one_line(error)) from error


def _encoders(place: Path) -> list[Path]:
    """The folders of a value encoder: as training writes them, or the one that LiVO's authors published."""
    if found := [place / name for name in ENCODERS if (place / name).is_dir()]:
        return found
    config = place / "config.json"
    kind = files.read_json(config).get("model_type") if config.is_file() else ""
    return [place] if kind == "clip_text_model" else []


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
    if (place / "model_index.json").is_file():
        raise ModelError(f"{place} is a whole model: name it as model")
    found = sorted(place.glob("*.safetensors"))
    if len(found) == 1:
        return found[0]
    if (place / "checkpoints").is_dir():
        raise ModelError(f"{place} holds a training without a result yet: finish it first")
    names = files.named(path.name for path in found)
    raise ModelError(f"{place} holds {f'{names}: name one of them' if found else 'no adapter: give a LoRA file'}")
