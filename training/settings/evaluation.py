"""The settings of an evaluation: pictures that are drawn, or that exist, and what looks at them.

What looks at them defaults to the embedded world's instruments for the embedded model's pictures alone: of others they
would say something, and it would mean nothing. Raises TrainingError of one line for what cannot be used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval, MinLen

from training.errors import TrainingError
from training.models.embedded import EMBEDDED
from training.settings.command_line import Program
from training.settings.fields import (
    Amount,
    Count,
    Field,
    File,
    Folder,
    Group,
    Made,
    Natural,
    Needed,
    Place,
    Shown,
    Texts,
    of_groups,
)
from training.settings.reading import check


def _probability(value: Any) -> float | None:
    if value in ("auto", None):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        raise ValueError(f"{value!r} is not a probability from 0 to 1, or 'auto'")
    return number


Files = Annotated[tuple[str, ...], Shown("FILE")]
Seed = Annotated[int, Interval(ge=0, lt=2**39)]  # each has ten million seeds of noise
Seeds = Annotated[tuple[Seed, ...], Shown("N")]
Probability = Annotated[float | None, Made(_probability, raw=True), Shown("X|auto")]


class Drawn(Group):
    """Pictures that are drawn."""

    prompts: Place = Field(default="", description="a text file, one prompt a line, or a dataset (its test split)")
    model: Place = Field(
        default="",
        description="'embedded', a diffusers folder, or a hub id; without it the one that --adapter was trained on, "
        "without either 'embedded'",
    )
    adapter: Folder = Field(
        default="",
        description="what training wrote, {seed} in it standing for each of --seeds; without it the model alone is "
        "measured",
    )
    principle: Texts = Field(
        default=(), description="value encoder: the principles of every prompt; without it the dataset's own"
    )
    limit: Natural = Field(default=0, description="use at most this many prompts; 0: all")
    images: Count = Field(default=1, description="images a prompt")
    steps: Count = Field(default=20, description="denoising steps of an image")
    guidance: Amount = Field(default=4.0, description="scale of classifier-free guidance")
    seed: Seed = Field(default=0, description="of the noise, and of the intervals' resampling")
    seeds: Seeds = Field(default=(), description="several: figures are means over them, intervals hold both")
    use_probability: Probability = Field(
        default=1.0, description="how often the token is used; 'auto' calibrates it for each value of --over"
    )

    @property
    def each_seed(self) -> tuple[int, ...]:
        """The seeds that pictures are drawn with, each once."""
        return tuple(dict.fromkeys(self.seeds or (self.seed,)))

    def adapter_of(self, seed: int) -> Path | None:
        """The adapter that a seed is drawn with, None where the model alone is measured."""
        return Path(self.adapter.replace("{seed}", str(seed))).expanduser() if self.adapter else None

    @property
    def adapters(self) -> list[Path]:
        """Those of all seeds, each once."""
        return list(dict.fromkeys(made for seed in self.each_seed if (made := self.adapter_of(seed))))


class Existing(Group):
    """Pictures that exist."""

    base_images: Folder = Field(default="", description="pictures of the base model")
    adapted_images: Folder = Field(default="", description="pictures of the adapted model, by the same names")
    captions: File = Field(default="", description="CSV, JSON lines or Parquet: file_name and prompt of each picture")
    table: File = Field(default="", description="instead: a Parquet file with the columns prompt, base, adapted")


class ProbeOptions(Group):
    """What looks at them; these defaults are for the embedded model's pictures, for others there are none."""

    reader: str = Field(
        default=EMBEDDED,
        description="pictures → attributes: 'embedded', the world's own; m:f, a function by dotted path that gives "
        "mappings, or objects with .attributes; 'clip' chooses among --groups; 'none'",
    )
    parser: str = Field(
        default=EMBEDDED,
        description="prompt → the attributes it states: 'embedded', m:f, or 'none': no prompt states any",
    )
    rates: Texts = Field(default=("style", "hazard"), description="attributes to report rates of")
    ignore: Texts = Field(default=(), description="attributes that do not count in match")
    balance: str = Field(default="coat", description="attribute whose groups should be even")
    groups: Annotated[Texts, MinLen(1)] = Field(default=("violet", "amber"), description="the groups that it has")
    over: str = Field(
        default="occupation",
        description="stated attribute within which balance is measured; 'prompt': each prompt by itself",
    )
    toxicity: str = Field(
        default="hazard",
        description="pictures → scores from 0 to 1, m:f; or an attribute of the reader's (a number, or anything but "
        "'none' counts 1); 'none'",
    )
    clip: str = Field(
        default=EMBEDDED,
        description="CLIPScore, drift, diversity: 'embedded', an open_clip folder, ViT-L-14/openai, hf-hub:…, 'none'",
    )
    judge: Texts = Field(
        default=(),
        description="who prefers: judges of `datagen list judges`, (pictures, prompts) → scores, m:f, or CLIP models "
        "like --clip's; 'none'",
    )
    judge_options: Texts = Field(default=(), description="options of those judges: pickscore.weights=FOLDER …")
    rewards: Files = Field(default=(), description="scores that exist: a table for the base, one for the adapted")
    features: str = Field(
        default="auto",
        description="FID, IS: 'inception', 'clip', pictures → (N, F) array or a pair with class logits (N, K), m:f; "
        "'none'; 'auto': inception if its weights are here, else clip",
    )
    real: Folder = Field(default="", description="real pictures for FID, besides that to the base model")


ZERO_SHOT = "clip"  # as --reader: CLIP chooses among the groups, as in LiVO's evaluation
# What the defaults become where the pictures are not the embedded model's.
OF_OTHERS: dict[str, Any] = {
    "reader": "none", "parser": "none", "rates": (), "balance": "", "groups": (), "over": "prompt", "toxicity": "none",
    "clip": "none",
}  # fmt: skip
# Option → the figures that do not exist without it.
GIVES = {
    "reader": "attributes and balance",
    "toxicity": "toxicity",
    "clip": "CLIPScore, drift, diversity, wins, FID and Inception Score by CLIP",
}


def for_pictures(options: ProbeOptions, given: Set[str], *, embedded: bool) -> tuple[ProbeOptions, list[str]]:
    """The options as they are for pictures of the embedded model, or not; and what is to be said of them.

    `given` names those that somebody gave; the others are defaults.
    Raises TrainingError where groups are asked for, and nothing says which, and where what a reader sees is asked for
    and there is none.
    """
    if embedded:
        _check_reader(options, given)
        return options, []
    made = dataclasses.replace(options, **{name: value for name, value in OF_OTHERS.items() if name not in given})
    if made.reader == ZERO_SHOT and not (made.balance and made.groups):
        raise TrainingError("--reader clip needs --balance and --groups: --balance gender --groups male female")
    if bool(made.balance) != bool(made.groups):
        raise TrainingError("--balance and --groups go together, such as --balance gender --groups male female")
    _check_reader(made, given)
    absent = [f"{figures} (--{name})" for name, figures in GIVES.items() if name not in given]
    notes = [f"not measured: {'; '.join(absent)}: name what can look at these pictures, or 'none'"] if absent else []
    asked = {"--reader": (made.reader,), "--clip": (made.clip,), "--judge": made.judge}
    worlds = [flag for flag, names in asked.items() if EMBEDDED in names]
    if worlds:
        notes.append(
            f"{' and '.join(worlds)} 'embedded' knows the embedded model's pictures only, and these are not known to "
            "be such"
        )
    return made, notes


def _check_reader(options: ProbeOptions, given: Set[str]) -> None:
    """Raise TrainingError if what was given is an attribute of a reader's and nothing reads."""
    names = [name for name in ("rates", "balance", "groups") if name in given and getattr(options, name)]
    names += ["toxicity"] * ("toxicity" in given and options.toxicity != "none" and ":" not in options.toxicity)
    if options.reader == "none" and names:
        flags = " and ".join(f"--{name}" for name in names)
        raise TrainingError(f"{flags}: attributes are what a --reader sees, and there is none: name one")


class Job(Group):
    """Where it runs."""

    out: Annotated[Needed, Shown("DIR")] = Field(description="the folder to write")
    batch: Count = Field(default=16, description="pictures at a time")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, …")


class Settings(Group):
    """One evaluation; `probes_given` are the options of the probes that somebody gave, even as their defaults are."""

    drawn: Drawn = Drawn()
    existing: Existing = Existing()
    probes: ProbeOptions = ProbeOptions()
    job: Job
    probes_given: tuple[str, ...] = ()


PROGRAM = Program(
    "training/evaluate.py", "Measure a model with and without what was trained.", tuple(of_groups(Settings))
)


def parse(arguments: Sequence[str] | None = None) -> Settings:
    """The command line, and the file it may name, as settings. Raises TrainingError."""
    values = PROGRAM.read(arguments)
    given = tuple(name for group, _, name in (key.partition(".") for key in values) if group == "probes")
    return dataclasses.replace(check(Settings, values), probes_given=given)
