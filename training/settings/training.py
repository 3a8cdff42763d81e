"""The settings of a training run: groups, defaults by part, model and loss, and what does not go together.

`parse` gives complete settings; whatever a user gives wrongly becomes a TrainingError of one line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Interval

from training.errors import TrainingError
from training.losses import LOSSES, Need
from training.losses.registry import Part
from training.models.embedded import EMBEDDED
from training.models.family import Family, family_of
from training.settings.command_line import Program
from training.settings.defaults import BY_LOSS, defaults, sources
from training.settings.fields import (
    Amount,
    Count,
    Field,
    Group,
    Made,
    Natural,
    Needed,
    Option,
    Place,
    Positive,
    Seed,
    Share,
    Shown,
    Texts,
    of_group,
    of_groups,
)
from training.settings.reading import Given, Values, as_json, check, nearest


def _known(method: str) -> str:
    if method not in LOSSES:
        raise ValueError(f"no loss is called {method!r}; {nearest(method, LOSSES)}")
    return method


def _named(given: str) -> str:
    name, equals, column = given.partition("=")
    if not equals or not column or name not in COLUMNS:
        raise ValueError(f"{given!r} is not NAME=COLUMN, NAME one of {', '.join(sorted(COLUMNS))}")
    return given


COLUMNS = {
    *(
        "prompt",
        "chosen",
        "rejected",
        "principle",
        "pool",
        "probability",
        "weight",
        "chosen_reward",
        "rejected_reward",
    ),
    *("chosen_prompt", "rejected_prompt", "caption", "jpg_0", "jpg_1", "label_0", "label_1"),
}
Column = Annotated[str, Made(_named)]
Method = Annotated[str, Made(_known), Shown("LOSS")]
SOFT = ", ".join(name for name, loss in LOSSES.items() if loss.soft)


# Beyond these only memory would be asked for.
Batch = Annotated[int, Interval(ge=1, le=2**20)]
Rank = Annotated[int, Interval(ge=0, le=2**12)]
Side = Annotated[int, Interval(ge=0, le=2**14)]


class Run(Group):
    """What is trained, on what, by which loss."""

    data: Needed = Field(description="a dataset folder, a Parquet file, LiVO's folders, or a hub id")
    columns: tuple[Column, ...] = Field(
        default=(), description="what its columns are called: prompt=caption chosen=good rejected=bad"
    )
    skip_bad: bool = Field(default=False, description="leave out pairs that cannot be used, and say how many")
    method: Method = Field(description=f"the loss: {', '.join(LOSSES)}")
    part: Literal["auto", "unet", "value-encoder"] = Field(
        default="auto", description="what is trained; auto: for livo the value encoder, for others the U-Net"
    )
    model: Place = Field(default=EMBEDDED, description="'embedded', a diffusers folder, or a hub id")
    revision: str = Field(default="", description="revision of a hub id")
    init_from: Place = Field(
        default="",
        description="start from these weights: a LoRA file, the folder of a U-Net or of a value encoder, or an --out",
    )
    limit: Natural = Field(default=0, description="use at most this many pairs; 0: all")
    hard_labels: bool = Field(default=False, description=f"take every label as certain ({SOFT})")
    control: Literal["", "random-labels", "swapped-labels"] = Field(
        default="", description="train on labels that say nothing, or the opposite"
    )
    clip: Place = Field(
        default="", description="clip_align: an open_clip folder or hub id; the embedded model has its own"
    )
    resolution: Side = Field(default=0, description="side of the training images; 0: the model's own")
    aspect_ratio_buckets: bool = Field(
        default=False, description="train images at sizes near their shapes, of the resolution's area; a batch has one"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(default="auto", description="of the forward pass")
    frozen_precision: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32",
        description="of weights that are not trained: VAE, text encoders, the U-Net under LoRA or a value encoder, "
        "the reference; --precision auto is then the same",
    )
    seed: Seed = Field(default=0, description="decides initial weights, order, noise and timesteps")


class Job(Group):
    """Where it runs and what it costs there; decides no weights, so a run resumes with other values of these."""

    out: Annotated[Needed, Shown("DIR")] = Field(description="the folder to write")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, …")
    micro_batch: Natural = Field(default=0, description="pairs at a time in one process; 0: all at once")
    checkpointing: bool = Field(default=False, description="less memory, a third more time")
    checkpoint_every: Count = Field(default=500, description="steps between checkpoints")
    keep_checkpoints: Count = Field(default=2, description="the last so many are kept until the run is done, then one")
    wandb: str = Field(default="", description="project of Weights & Biases that gets the metrics, too")
    grid_every: Natural = Field(default=0, description="steps between grids of sample images; 0: none")
    grid_prompts: Texts = Field(default=(), description="their prompts; without them the first of the data")
    grid_principle: Texts = Field(default=(), description="value encoder: the principles of --grid-prompts")
    grid_seeds: Count = Field(default=1, description="images a prompt, from the same noise at every step")


class Optimizer(Group):
    """How the weights move."""

    optimizer: Literal["adamw", "adafactor", "adamw-8bit"] = Field(
        default="adamw",
        description="what it keeps for a weight: adamw 8 bytes, adamw-8bit 2 (needs bitsandbytes), adafactor next to "
        "none, and no momentum",
    )
    steps: Count = Field(description="optimizer steps")
    batch: Batch = Field(description="pairs (or lists) a step, over all processes")
    lr: Positive = Field(description="learning rate after the warm-up, of the same meaning for every optimizer")
    warmup: Natural = Field(default=10, description="steps of linear warm-up")
    schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="the learning rate after it: held, or down a cosine to zero"
    )
    weight_decay: Amount = Field(default=0.01, description="times the learning rate, off each weight in every step")
    ema: Share = Field(default=0.0, description="decay of an average of the weights, which is saved instead; 0: none")


class Noise(Group):
    """Which noise is learnt from, and how much each counts."""

    timestep_min: Natural = Field(default=0, description="the least step of the noise that images are given")
    timestep_max: Natural = Field(default=0, description="steps of the noise are below this; 0: all of the model's")
    noise_offset: Amount = Field(
        default=0.0, description="noise of one value a channel and image that is added, times this; 0: none"
    )
    min_snr: Amount = Field(
        default=0.0,
        description="gamma: each sample's loss is weighed by min(SNR, gamma) / SNR, for v-prediction over SNR + 1 "
        "(arXiv 2303.09556); 0: all count alike",
    )


class UNet(Group):
    """--part unet."""

    lora_rank: Rank = Field(default=0, description="train LoRA adapters of this rank; 0: the whole U-Net")
    lora_alpha: Amount = Field(
        default=0.0, description="LoRA's output is scaled by this over its rank; 0: as the rank, a scale of 1"
    )
    lora_targets: Literal["attention", "transformer"] = Field(
        default="attention", description="layers with LoRA: those of attention, or the feed-forward ones as well"
    )
    uncond_share: Share = Field(
        default=0.0,
        description="share of the pairs that hold the unconditional branch in place: no caption, the rejected image "
        "is denoised; without it guidance cancels part of what full fine-tuning learns",
    )


class ValueEncoder(Group):
    """--part value-encoder."""

    encoder_rank: Rank = Field(default=0, description="LoRA rank of the value encoder; 0: a full copy")
    leak_penalty: Amount = Field(
        default=0.0, description="weight of the penalty that keeps other principles' tokens from acting"
    )
    max_principles: Count = Field(default=1, description="up to so many principles at once (with --leak-penalty)")


class Settings(Group):
    """One training run, complete; `loss` are the options of the loss, by name.

    For people: `family` is what the model was taken for, `defaults_taken` the settings that nobody gave, with their
    values and where those come from.
    """

    run: Run
    job: Job
    optimizer: Optimizer
    noise: Noise = Noise()
    unet: UNet = UNet()
    value_encoder: ValueEncoder = ValueEncoder()
    loss: dict[str, float | str]
    family: Family = "embedded"
    defaults_taken: tuple[str, ...] = ()

    def result(self) -> dict[str, Any]:
        """The settings that decide the result: a run is resumed only with the same ones."""
        return as_json(self, but={"job", "family", "defaults_taken"})


UNKNOWN = "by loss and model"  # their default, as long as nobody has named these


def loss_options() -> dict[str, list[str]]:
    """Option name → the losses that have it."""
    readers: dict[str, list[str]] = {}
    for method, loss in LOSSES.items():
        for name in loss.option_names:
            readers.setdefault(name, []).append(method)
    return readers


def options() -> list[Option]:
    """What the command line offers: the groups' options and those of all losses, with the losses that read each."""
    own: dict[str, Option] = {}
    for loss in LOSSES.values():
        own |= {option.name: option for option in of_group("loss", loss.options, "The loss's own")}
    offered = [
        dataclasses.replace(own[name], help=f"of {', '.join(readers)}", default="", bounds="")
        for name, readers in loss_options().items()
    ]
    groups = [
        dataclasses.replace(option, default=UNKNOWN if option.name in BY_LOSS else option.default)
        for option in of_groups(Settings)
    ]
    return [*groups, *offered]


PROGRAM = Program(
    "training/run.py",
    "Train on preference pairs: DIR then holds what diffusers loads, metrics.jsonl and training.json.",
    tuple(options()),
)


def parse(arguments: Sequence[str] | None = None) -> Settings:
    """The command line, and the file it may name, as complete settings. Raises TrainingError."""
    return complete(PROGRAM.read(arguments))


def complete(given: Values) -> Settings:
    """What was given, with the defaults of its loss, part and model. Raises TrainingError for what does not fit."""
    run = check(Run, given, "run")
    method, loss = run.method, LOSSES[run.method]
    _check_options(given, method)
    part: Part = (loss.part or "unet") if run.part == "auto" else run.part
    rank = given.get("unet.lora_rank", Given(0, "")).value not in (0, "0")
    family = family_of(run.model, run.revision)
    own = defaults(method, "lora" if part == "unet" and rank else part, family)
    filled = {_place(name): Given(value, f"{method}'s default of {name}") for name, (value, _) in own.items()}
    values = {**filled, **given, "run.part": Given(part, "--part")}
    values["run.precision"] = Given(_precision(run, given), "--precision")
    chosen = dict(vars(check(loss.options, values, "loss")))
    others = {key: value for key, value in values.items() if not key.startswith("loss.")}
    settings = check(Settings, others, loss=chosen)
    taken = {name: default for name, default in own.items() if _place(name) not in given}
    settings = dataclasses.replace(settings, family=family, defaults_taken=sources(taken))
    _check_part(settings, given)
    _check_loss(settings, given)
    rate, decay = settings.optimizer.lr, settings.optimizer.weight_decay
    if "optimizer.weight_decay" in given and rate * decay >= 1:
        raise TrainingError(
            f"--lr {rate:g} times --weight-decay {decay:g} is {rate * decay:g}, the share that every step takes off a "
            "weight: it has to be below 1"
        )
    return settings


def _place(name: str) -> str:
    """The key of a setting or loss option."""
    return next((option.key for option in PROGRAM.options if option.name == name), f"loss.{name}")


def _precision(run: Run, given: Values) -> str:
    """Of the forward pass, which reads frozen weights as they are. Raises TrainingError."""
    if run.frozen_precision == "fp32":
        return run.precision
    if run.precision not in ("auto", run.frozen_precision):
        raise TrainingError(
            f"{given['run.frozen_precision'].said} {run.frozen_precision}: the forward pass computes with these "
            f"weights, so --precision is {run.frozen_precision}, too, or left out, and not {run.precision}"
        )
    return run.frozen_precision


def _check_options(given: Values, method: str) -> None:
    """Refuse options of other losses."""
    own, readers = LOSSES[method].option_names, loss_options()
    for key, (_, said) in given.items():
        group, _, name = key.partition(".")
        if group == "loss" and name not in own:
            listed = ", ".join(f"--{name.replace('_', '-')}" for name in own) or "no options"
            raise TrainingError(f"{said} is an option of {', '.join(readers[name])}; {method} has {listed}")


def _check_part(settings: Settings, given: Values) -> None:
    """Refuse settings of the part that is not trained, and a part that the loss cannot train."""
    method, part = settings.run.method, settings.run.part
    of_other, other = ("unet", "unet") if part == "value-encoder" else ("value_encoder", "value-encoder")
    for key, (_, said) in given.items():
        group, _, name = key.partition(".")
        held = getattr(settings, group, None) if group == of_other else None
        if held is not None and getattr(held, name) != getattr(type(held), name):
            raise TrainingError(f"{said} is for --part {other}; {method} trains the {part} here")
    if LOSSES[method].part not in (None, part):
        raise TrainingError(
            f"{method}'s reference is the model without its token: it trains --part {LOSSES[method].part} only"
        )
    for name in ("lora_alpha", "lora_targets"):
        if f"unet.{name}" in given and not settings.unet.lora_rank:
            raise TrainingError(f"{given[f'unet.{name}'].said} is for LoRA: give --lora-rank")
    _check_grids(settings, given)
    encoder = settings.value_encoder
    if encoder.max_principles > 1 and not encoder.leak_penalty:
        raise TrainingError(
            "--max-principles is learned by the penalty that --leak-penalty weighs, which is 0 here: "
            "give --leak-penalty 10"
        )


def _check_grids(settings: Settings, given: Values) -> None:
    """Refuse settings of grids that are not drawn, and a value encoder's grids without a principle."""
    job, steered = settings.job, settings.run.part == "value-encoder"
    for name in ("grid_prompts", "grid_principle", "grid_seeds"):
        if f"job.{name}" in given and not job.grid_every:
            raise TrainingError(f"{given[f'job.{name}'].said} is for grids: give --grid-every")
    if bool(job.grid_principle) and not (steered and job.grid_prompts):
        raise TrainingError("--grid-principle is what a value encoder reads with --grid-prompts")
    if steered and job.grid_prompts and not job.grid_principle:
        raise TrainingError("a value encoder does nothing without a principle: give --grid-principle")
    if any(not prompt.strip() for prompt in (*job.grid_prompts, *job.grid_principle)):
        raise TrainingError("--grid-prompts and --grid-principle take texts, and one is empty")


def _check_loss(settings: Settings, given: Values) -> None:
    """Refuse settings that the loss makes nothing of."""
    method, loss = settings.run.method, LOSSES[settings.run.method]
    if "run.clip" in given and Need.SIMILARITIES not in loss.needs:
        raise TrainingError(f"{given['run.clip'].said} is an option of clip_align; {method} reads no similarities")
    if settings.run.aspect_ratio_buckets and Need.SIMILARITIES in loss.needs:
        raise TrainingError(f"--aspect-ratio-buckets: {method} shows CLIP square pictures only")
    noise = settings.noise
    if noise.timestep_max and noise.timestep_min >= noise.timestep_max:
        raise TrainingError(
            f"--timestep-min {noise.timestep_min} is not below --timestep-max {noise.timestep_max}: no step is left"
        )
    if settings.unet.uncond_share and Need.LISTS in loss.needs:
        raise TrainingError(f"--uncond-share holds pairs in place; {method} learns from lists")
    if settings.run.hard_labels and Need.PROBABILITY in loss.needs:
        raise TrainingError(f"--hard-labels leaves {method} without its probabilities: use dpo")
    if settings.run.hard_labels and not loss.soft:
        raise TrainingError(f"--hard-labels changes nothing for {method}: it takes every label as certain")
