"""The settings of a training run: one frozen dataclass and its command line.

Whatever a user gives wrongly becomes a TrainingError: one line saying what was given, what is accepted, what to do.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

from datagen import world
from training import presets
from training.errors import TrainingError
from training.losses import LOSSES, Errors, Need

EMBEDDED = "embedded"
CONFIGS = Path(__file__).parent / "configs"
SCHEDULES = ("constant", "cosine")
PARTS = ("unet", "value-encoder")
CONTROLS = ("random-labels", "swapped-labels")
ENCODER_ONLY = ("keep", "encoder_rank", "at_once")
UNET_ONLY = ("lora_rank", "anchor")
# What does not decide the weights, or only their rounding: a run may be resumed with other values of these.
FREE = ("out", "device", "micro_batch", "checkpointing", "checkpoint_every", "keep_checkpoints", "grid_every")
UNSET: dict[str, Any] = {"revision": None, "schedule": "constant", "lora_rank": 0, "keep": 0.0, "anchor": 0.0}
UNSET |= {"resolution": 0, "encoder_rank": 0, "at_once": 1, "control": "", "clip": ""}


@dataclasses.dataclass(frozen=True)
class Config:
    """One training run. `part` is what is trained; `options` are the loss's own numbers.

    `keep`, `encoder_rank`, `at_once` are the value encoder's (methods/livo.py), `lora_rank` and `anchor` the U-Net's.
    0 means: `micro_batch` the whole batch, `ema` none, `grid_every` never, `resolution` the model's own, `limit` all.
    """

    data: str
    method: str
    part: str
    model: str
    out: str
    revision: str | None
    lora_rank: int
    encoder_rank: int
    at_once: int
    steps: int
    batch: int
    micro_batch: int
    lr: float
    warmup: int
    schedule: str
    weight_decay: float
    ema: float
    keep: float
    anchor: float
    control: str
    seed: int
    resolution: int
    limit: int
    clip: str
    precision: str
    checkpointing: bool
    device: str
    hard_labels: bool
    checkpoint_every: int
    keep_checkpoints: int
    grid_every: int
    options: dict[str, float | str]

    def result(self) -> dict[str, Any]:
        """The settings that decide the result: a run is resumed only with the same ones."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in FREE}


def resolve_model(model: str) -> str:
    """The folder of the embedded model, or what was given."""
    return str(world.PIPELINE) if model == EMBEDDED else model


class Parser(argparse.ArgumentParser):
    """argparse with this project's way of saying what is wrong."""

    def error(self, message: str) -> NoReturn:
        raise TrainingError(f"{message} (see --help)")


def number(kind: Callable[[str], Any], least: float, words: str) -> Callable[[str], Any]:
    """An argparse type: a finite number of at least `least`, described by `words`."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text!r} is not {words}")
        return value

    return parse


count = number(int, 1, "a whole number of at least 1")
natural = number(int, 0, "a whole number of at least 0")
amount = number(float, 0.0, "a number of at least 0")


def share(text: str) -> float:
    """An argparse type: a number from 0 up to, but not including, 1."""
    value: float = amount(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to below 1")
    return value


def parser() -> Parser:
    """The command line of run.py; the options of all losses are offered, each with the losses that read it."""
    p = Parser(
        prog="training/run.py",
        description="Train on preference pairs: DIR then holds what diffusers loads, metrics.jsonl and training.json.",
    )
    p.add_argument("--config", metavar="NAME|FILE", help="settings from a TOML file; flags win over it")
    p.add_argument("--data", required=True, help="a dataset folder, a Parquet file, LiVO's folders, or a hub id")
    p.add_argument("--method", required=True, choices=list(LOSSES))
    p.add_argument("--part", choices=PARTS, help="what is trained; livo: the value encoder, others: the U-Net")
    p.add_argument("--model", default=EMBEDDED, help="'embedded' (default), a diffusers folder, or a hub id")
    p.add_argument("--revision", help="revision of a hub id")
    p.add_argument("--out", required=True, metavar="DIR")
    p.add_argument("--lora-rank", type=natural, help="train LoRA adapters of this rank; 0: the whole U-Net")
    p.add_argument("--encoder-rank", type=natural, help="LoRA rank of the value encoder; 0: a full copy")
    p.add_argument("--at-once", type=count, help="value encoder: up to so many principles at once (with --keep)")
    p.add_argument("--steps", type=count, help="optimizer steps")
    p.add_argument("--batch", type=count, help="pairs (or lists) a step, over all processes")
    p.add_argument("--micro-batch", type=natural, default=0, help="pairs at a time in one process; 0: all at once")
    p.add_argument("--lr", type=amount, help="learning rate of AdamW after the warm-up")
    p.add_argument("--warmup", type=natural, default=10, help="steps of linear warm-up")
    p.add_argument("--schedule", choices=SCHEDULES, help="the learning rate after it: held, or down a cosine to zero")
    p.add_argument("--weight-decay", type=amount, default=0.01)
    p.add_argument("--ema", type=share, default=0.0, help="decay of an average of the weights, which is saved instead")
    p.add_argument(
        "--keep", type=amount, help="value encoder: weight of the penalty that keeps other principles' tokens idle"
    )
    p.add_argument(
        "--anchor",
        type=share,
        help="share of the pairs that hold the unconditional branch in place: no caption, the rejected image is "
        "denoised; without it guidance cancels part of what full fine-tuning learns; not for livo",
    )
    p.add_argument("--control", choices=CONTROLS, help="train on labels that say nothing, or the opposite")
    p.add_argument("--seed", type=natural, default=0)
    p.add_argument("--resolution", type=count, help="side of the training images; default: the model's own")
    p.add_argument("--limit", type=natural, default=0, help="use at most this many pairs")
    p.add_argument("--clip", help="clip_align: an open_clip folder or hub id; the embedded model has its own")
    p.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], default="auto")
    boolean = argparse.BooleanOptionalAction
    p.add_argument("--checkpointing", action=boolean, default=False, help="less memory, a third more time")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, …")
    soft = ", ".join(name for name, loss in LOSSES.items() if loss.soft)
    p.add_argument("--hard-labels", action=boolean, default=False, help=f"take every label as certain ({soft})")
    p.add_argument("--checkpoint-every", type=count, default=500, help="steps between checkpoints")
    p.add_argument("--keep-checkpoints", type=count, default=2, help="the last so many are kept until the run is done")
    p.add_argument("--grid-every", type=natural, default=0, help="steps between grids of sample images; 0: none")
    for name, readers in loss_options().items():
        words = LOSSES[readers[0]].choices(name)
        kind: dict[str, Any] = {"choices": words} if words else {"type": amount}
        p.add_argument(_flag(name), help=f"loss option of {', '.join(readers)}", **kind)
    return p


def loss_options() -> dict[str, list[str]]:
    """Option name → the losses that have it."""
    options: dict[str, list[str]] = {}
    for method, loss in LOSSES.items():
        for name in loss.options:
            options.setdefault(name, []).append(method)
    return options


def parse(arguments: Sequence[str] | None = None) -> Config:
    """The command line, and the config it may name, as a complete Config. Raises TrainingError."""
    line = list(sys.argv[1:] if arguments is None else arguments)
    first = Parser(add_help=False, allow_abbrev=False)
    first.add_argument("--config")
    named = first.parse_known_args(line)[0].config
    full = parser()
    typed = full.parse_args([*(_read_config(named, full) if named else []), *line])
    given = {name: value for name, value in vars(typed).items() if value is not None and name != "config"}
    method = given["method"]
    part = given.setdefault("part", "value-encoder" if method == "livo" else "unet")
    known = LOSSES[method].options
    _check_method(given, known)
    settings = {**UNSET, **presets.defaults(given["model"] == EMBEDDED, method, part), **given}
    if settings["at_once"] > 1 and not settings["keep"]:
        raise TrainingError("--at-once is learned by the penalty that --keep weighs, which is 0 here: give --keep 10")
    options = {name: settings.get(name, default) for name, default in known.items()}
    _check_options(method, options)
    fields = {field.name for field in dataclasses.fields(Config)} - {"options"}
    return Config(**{name: settings[name] for name in fields}, options=options)


def _read_config(name: str, full: Parser) -> list[str]:
    """The settings of a TOML file, or of a named config, as they would be typed. Raises TrainingError."""
    path = Path(name) if name.endswith(".toml") else CONFIGS / f"{name}.toml"
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        named = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.toml")))
        raise TrainingError(f"no config {name!r}: give a .toml file, or one of {named}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path} is not TOML: {error}") from error
    known = sorted({action.dest for action in full._actions} - {"help", "config"})
    line: list[str] = []
    for key, value in settings.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise TrainingError(f"{path} has an unknown setting {key!r}; {hint}")
        if isinstance(value, bool):
            line.append(_flag(key) if value else _flag(f"no_{key}"))
        elif isinstance(value, (int, float, str)):
            line += [_flag(key), str(value)]
        else:
            raise TrainingError(f"{path}: {key} must be a number, a text, true or false, not {value!r}")
    return line


def _check_method(given: Mapping[str, Any], known: Mapping[str, float | str]) -> None:
    """Refuse what does not fit the method or the part that is trained. Raises TrainingError."""
    method, part = given["method"], given["part"]
    loss = LOSSES[method]
    for name, readers in loss_options().items():
        if name in given and name not in known:
            raise TrainingError(f"{_flag(name)} is an option of {', '.join(readers)}; {method} has {_listed(known)}")
    for names, owner in ((ENCODER_ONLY, "value-encoder"), (UNET_ONLY, "unet")):
        if part != owner and (wrong := [_flag(name) for name in names if given.get(name)]):
            raise TrainingError(f"{wrong[0]} is for --part {owner}; {method} trains the {part} here")
    if method == "livo" and part != "value-encoder":
        raise TrainingError("livo's reference is the model without its token: it trains --part value-encoder only")
    if "clip" in given and Need.SIMILARITIES not in loss.needs:
        raise TrainingError(f"--clip is an option of clip_align; {method} reads no similarities")
    if given.get("anchor") and Need.LISTS in loss.needs:
        raise TrainingError(f"--anchor holds pairs in place; {method} learns from lists")
    if given["hard_labels"] and Need.PROBABILITY in loss.needs:
        raise TrainingError(f"--hard-labels leaves {method} without its probabilities: use dpo")
    if given["hard_labels"] and not loss.soft:
        raise TrainingError(f"--hard-labels changes nothing for {method}: it takes every label as certain")


def _check_options(method: str, options: Mapping[str, float | str]) -> None:
    """Have the loss look at its options, on a batch of no pairs. Raises TrainingError for values it refuses."""
    none = torch.zeros(0)
    if LOSSES[method].needs & {Need.SINGLE_IMAGES, Need.LISTS, Need.SIMILARITIES}:
        return  # these refuse no value
    try:
        LOSSES[method].function(Errors(none, none, none, none, none, none), **options)
    except ValueError as error:
        raise TrainingError(f"{method}: {error}") from error


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def _listed(options: Mapping[str, float | str]) -> str:
    return ", ".join(map(_flag, options)) or "no options"
