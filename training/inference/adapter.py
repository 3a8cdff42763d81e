"""What training wrote, before any of it is loaded: which model it was trained on, and whether it fits another.

Only headers of files are read, but of a single LoRA file, whose format may be anybody's. Raises TrainingError, or
ModelError for a file that is not whole, of one line.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datagen.weights import files
from datagen.weights.adapters import LORA as LORA  # re-exported: what training writes is called by it
from datagen.weights.adapters import load_lora
from datagen.weights.value_pipeline import FOLDERS
from training.errors import TrainingError
from training.models.embedded import EMBEDDED, is_embedded, resolve_model

WRITTEN = ("value_encoder", "unet", LORA)  # what training writes for inference
# The ends of the names of a LoRA's two factors, (rank, in) and (out, rank), in the formats of diffusers and peft.
DOWN, UP = (".lora_A.weight", ".lora.down.weight"), (".lora_B.weight", ".lora.up.weight")
Shapes = Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Base:
    """The model that pictures are drawn with; `note`: what whoever looks at them has to know of it, or ""."""

    model: str
    revision: str = ""
    note: str = ""

    @property
    def is_embedded(self) -> bool:
        """Whether it draws the embedded world."""
        return is_embedded(self.model)


def base_of(written: Sequence[Path], given: str) -> Base:
    """The model `given`; "" takes the one that they were trained on, and without adapters the embedded one.

    Raises TrainingError for an adapter that is not there, and where nothing says what they were trained on, or they
    differ in it.
    """
    for folder in written:
        if folder.is_file():
            continue  # one LoRA file, which the door for weights holds against the model
        if not folder.is_dir():
            raise TrainingError(
                f"there is no --adapter {folder}: give what training/run.py wrote into --out, or a LoRA file"
            )
        if not any((folder / part).exists() for part in WRITTEN):
            raise TrainingError(f"--adapter {folder} holds no unet/, value_encoder/ or {LORA}")
    known = {folder: _trained_on(folder) for folder in written}
    trained = list(dict.fromkeys(base for base in known.values() if base))
    if given:
        others = [base for base in trained if not _same(base.model, given)]
        if others:
            folder = next(folder for folder, base in known.items() if base == others[0])
            return Base(given, note=f"{folder} was trained on {others[0].model!r}; it is used with {given!r}")
        return trained[0] if trained else Base(given)
    if not written:
        return Base(EMBEDDED)
    if len(trained) > 1:
        raise TrainingError(
            f"the adapters were trained on different models ({', '.join(repr(base.model) for base in trained)}): "
            "give --model, or evaluate them one by one"
        )
    if not trained or None in known.values():
        folder = next(folder for folder, base in known.items() if base is None)
        raise TrainingError(f"no training.json of {folder} says which model it was trained on: give --model")
    _check_is_here(trained[0].model, next(iter(known)))
    return trained[0]


def _trained_on(folder: Path) -> Base | None:
    """The model that training.json names, in the folder or beside the LoRA file; None without that file."""
    path = (folder.parent if folder.is_file() else folder) / "training.json"
    if not path.is_file():
        return None
    try:
        run = json.loads(path.read_text(encoding="utf-8-sig"))["run"]
        return Base(str(run["model"]), str(run.get("revision") or ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"{path} does not say what was trained ({type(error).__name__}): give the folder that training/run.py "
            "wrote, or remove this file and give --model"
        ) from error


def _same(one: str, other: str) -> bool:
    """Whether two names are of one model, as far as that can be told without reading it."""
    if one == other or (is_embedded(one) and is_embedded(other)):
        return True
    first, second = Path(one).expanduser(), Path(other).expanduser()
    return first.exists() and second.exists() and first.resolve() == second.resolve()


def _check_is_here(model: str, folder: Path) -> None:
    """Raise TrainingError for a path that training.json names and that is not here; a hub id has one slash."""
    path = Path(resolve_model(model)).expanduser()
    if not path.exists() and (path.is_absolute() or model.startswith((".", "~")) or model.count("/") != 1):
        raise TrainingError(f"{folder} was trained on {model!r}, which is not here: give --model")


def check_fits(pipe: Any, folder: Path, model: str) -> None:
    """Raise TrainingError if the shapes of what training wrote are not those of the pipeline's parts.

    A LoRA file is of anybody's format: it is put in and taken out again. Raises ModelError if it does not go in.
    """
    if folder.is_file():
        load_lora(pipe, folder)
        pipe.unload_lora_weights()
        return
    misfits, total = [], 0
    for path, module in _files(pipe, folder):
        found = _shapes(path)
        total += len(found)
        own = {name: tuple(weight.shape) for name, weight in module.state_dict().items()}
        whole = path.parent.name == "unet"
        misfits += [text for text in (_misfit(key, shape, own, whole) for key, shape in found.items()) if text]
    if misfits:
        known = _trained_on(folder)
        trained = f", which was trained on {known.model!r}," if known else ""
        raise TrainingError(
            f"{folder}{trained} does not fit {model!r}: {len(misfits)} of its {total} tensors have no place there, "
            f"first {misfits[0]}; give the --model that it was trained on"
        )


def _files(pipe: Any, folder: Path) -> Iterator[tuple[Path, Any]]:
    """The files of weights that training wrote, and the part of the pipeline that each belongs to."""
    encoders = [pipe.text_encoder, getattr(pipe, "text_encoder_2", None)]
    encoders = [encoder for encoder in encoders if encoder is not None]
    if (folder / FOLDERS[0]).is_dir():
        held = [name for name in FOLDERS if (folder / name).is_dir()]
        if len(held) != len(encoders):
            raise TrainingError(
                f"{folder} holds {' and '.join(held)}, the model has {len(encoders)} text encoder"
                f"{'s' * (len(encoders) > 1)}: it was trained on a model of another family; give that as --model"
            )
        for name, encoder in zip(held, encoders, strict=True):
            yield from ((path, encoder) for path in sorted((folder / name).glob("*.safetensors")))
    elif (folder / LORA).is_file():
        yield folder / LORA, pipe.unet
    else:
        yield from ((path, pipe.unet) for path in sorted((folder / "unet").glob("*.safetensors")))


def _shapes(path: Path) -> Shapes:
    return {name: entry.shape for name, entry in files.header(path).items()}


def _misfit(key: str, shape: tuple[int, ...], own: Shapes, whole: bool) -> str:
    """What is wrong with a tensor's place among the `own` ones, "" if nothing, or if its name has another format.

    `whole`: it is one of a whole U-Net, whose names are the model's own.
    """
    name = key.removeprefix("unet.").removeprefix("base_model.model.")
    for ends, axis in ((DOWN, 1), (UP, 0)):
        if end := next((end for end in ends if name.endswith(end)), ""):
            place = own.get(f"{name.removesuffix(end)}.weight")
            if place is None:
                return "" if key == name else key
            fits = len(shape) > axis and shape[axis] == place[axis]
            return "" if fits else f"{key}, {_by(shape)} there, for {_by(place)} here"
    place = own.get(name)
    if place is None:
        return key if whole else ""
    return "" if place == shape else f"{key}, {_by(shape)} there, {_by(place)} here"


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a number"
