"""The weights that a training starts from instead of the model's own: found, known by a digest, held against it.

LoRA starts from a LoRA file in any format that diffusers reads, a whole U-Net from another one, a value encoder from
what training wrote. Raises TrainingError, or ModelError of the door for weights, of one line.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datagen.errors import ModelError
from datagen.weights import adapters, files, hub, identity, value_pipeline
from datagen.weights.value_pipeline import FOLDERS
from training.errors import TrainingError
from training.models import diffusion
from training.models.diffusion import StableDiffusion
from training.settings.defaults import Kind
from training.settings.training import Settings
from training.trainables import lora, value_encoder

HELD: dict[Kind, str] = {"lora": "LoRA", "unet": "a whole U-Net", "value-encoder": "a value encoder"}
ADVICE: dict[tuple[Kind, Kind], str] = {  # what is held, what is trained
    ("lora", "unet"): "give --lora-rank, or the folder of a U-Net",
    ("unet", "lora"): "give a LoRA file, or make the U-Net's model the --model (training/export.py saves one)",
}


@dataclasses.dataclass(frozen=True)
class Source:
    """Where the start lies: what was given, what it is, and the file or folder that is read."""

    path: Path
    kind: Kind
    place: Path

    @functools.cached_property
    def identity(self) -> str:
        """The digest of the weights and of what decides their use. Raises ModelError for files that are not whole."""
        if self.kind == "lora":
            return identity.adapter(self.place)
        if self.kind == "unet":
            return identity.network(self.place)
        held = [self.place / name for name in FOLDERS if (self.place / name).is_dir()]
        return "+".join(identity.folder(folder) for folder in held or [self.place])


@dataclasses.dataclass(frozen=True)
class Start:
    """A start that fits the model: LoRA's factors, or value encoders to train; a U-Net is in the model already.

    `notes` are what a user should know of it, one line each.
    """

    source: Source
    factors: lora.Factors | None = None
    encoders: Sequence[Any] = ()
    notes: tuple[str, ...] = ()


def find(settings: Settings) -> Source | None:
    """What --init-from names; None without it. Reads no weights."""
    if not settings.run.init_from:
        return None
    path, method = Path(settings.run.init_from), settings.run.method
    trained: Kind = "value-encoder" if settings.run.part == "value-encoder" else "unet"
    trained = "lora" if settings.unet.lora_rank else trained
    if not path.exists():
        given = settings.run.init_from
        how = f", by `hf download {given} --local-dir FOLDER`" if hub.ID.fullmatch(given) else ""
        raise TrainingError(
            f"there is no --init-from {path}: give a file or folder of weights; those of a hub are fetched first{how}"
        )
    held = _of_folder(path) if path.is_dir() else _of_file(path)
    if not held:
        raise TrainingError(_nothing(path))
    if trained not in held:
        kind = next(iter(held))
        advice = ADVICE.get((kind, trained), f"give {HELD[trained]} to start from")
        raise TrainingError(f"--init-from {path} holds {HELD[kind]}; {method} trains {HELD[trained]} here: {advice}")
    return Source(path, trained, held[trained])


def _of_folder(path: Path) -> dict[Kind, Path]:
    """What a folder holds, and where in it."""
    held: dict[Kind, Path] = {}
    if (path / FOLDERS[0]).is_dir() or (path / "adapter_config.json").is_file():
        held["value-encoder"] = path
    if (path / "unet").is_dir():
        held["unet"] = path / "unet"
    elif (path / "config.json").is_file():
        config = files.read_json(path / "config.json")
        held["unet" if "_class_name" in config else "value-encoder"] = path
    single = [path / adapters.LORA] if (path / adapters.LORA).is_file() else sorted(path.glob("*.safetensors"))
    if not held and len(single) == 1:
        held = _of_file(single[0])
    return held


def _of_file(path: Path) -> dict[Kind, Path]:
    """LoRA is all that is read from one file."""
    if path.suffix in files.PICKLES:
        raise ModelError(f"{path} is a pickle, which can run code and is not read: save it as safetensors")
    names = files.header(path)
    if not any("lora" in name or "lokr" in name or "hada" in name for name in names):
        whole = any(name.startswith("model.diffusion_model.") for name in names)
        makes = "StableDiffusionPipeline (or StableDiffusionXLPipeline).from_single_file(FILE).save_pretrained(FOLDER)"
        hint = f"; it is a whole model in one file, of which {makes} makes one" if whole else ""
        raise TrainingError(
            f"--init-from {path} holds no LoRA: whole weights are read from a folder with their config.json, "
            f"as save_pretrained writes it{hint}"
        )
    return {"lora": path}


def _nothing(path: Path) -> str:
    """What is wrong with a folder without weights."""
    if (path / "checkpoints").is_dir():
        return f"--init-from {path} holds a run without a result yet: finish it with its own command first"
    several = len(list(path.glob("*.safetensors"))) if path.is_dir() else 0
    if several:
        return f"--init-from {path} holds {several} files of weights: name one of them"
    return (
        f"--init-from {path} holds no weights: give what training/run.py wrote into --out, a LoRA file, or the folder "
        "of a U-Net"
    )


def read(source: Source, settings: Settings, model: StableDiffusion, model_weights: str) -> Start:
    """The start, once it fits; a whole U-Net takes the place of the model's own.

    `model_weights` is the digest of the model, which a start that was trained on another one is held against.
    """
    notes = _other_base(source, settings.run.model, model_weights)
    if source.kind == "unet":
        _check_prediction(source, model)
        model.unet = adapters.load_unet(model, source.place).requires_grad_(False)
        whole = (source.path / "model_index.json").is_file()
        notes += (f"of {source.path} only the U-Net is read; the rest is that of {settings.run.model}",) * whole
        return Start(source, notes=notes)
    if source.kind == "lora":
        factors, more = adapters.read_lora(diffusion.pipeline(model), source.place)
        lora.check(model.unet, factors, source.path, rank=settings.unet.lora_rank, targets=settings.unet.lora_targets)
        return Start(source, factors=factors, notes=notes + more)
    try:
        encoders = value_pipeline.load(source.place, model.text_encoders)
    except value_pipeline.DoesNotFit as error:
        raise TrainingError(f"--init-from: {error}") from error
    rank = settings.value_encoder.encoder_rank
    encoders = value_encoder.make(model.text_encoders, rank=rank, start=encoders, path=source.path)
    return Start(source, encoders=encoders, notes=notes)


def _check_prediction(source: Source, model: StableDiffusion) -> None:
    """Raise TrainingError for the U-Net of a pipeline that predicts something else than the model's."""
    path = source.path / "scheduler" / "scheduler_config.json"
    if not path.is_file():
        return
    theirs = files.read_json(path).get("prediction_type", "epsilon")
    ours = model.noise_scheduler.config.prediction_type
    if theirs != ours:
        raise TrainingError(
            f"the U-Net of --init-from {source.path} predicts {theirs!r}, that of {model.source} {ours!r}: give one "
            "that was trained on this model"
        )


def _other_base(source: Source, model: str, model_weights: str) -> tuple[str, ...]:
    """A line on a start that was trained on other weights than the model's, where training.json says so."""
    folder = source.path if source.path.is_dir() else source.path.parent
    try:
        run = json.loads((folder / "training.json").read_text(encoding="utf-8-sig"))
        other, known = str(run["run"]["model"]), str(run["model_weights"])
    except (OSError, ValueError, KeyError, TypeError):  # anybody's folder
        return ()
    if known == model_weights:
        return ()
    return (f"{source.path} was trained on {other!r}, whose weights were others than those of {model!r}",)
