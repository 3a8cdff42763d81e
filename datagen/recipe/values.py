"""The values that a recipe holds, frozen and checked; what does not fit together is refused where it is read."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from datagen.errors import RecipeError, nearest

# Parameters of a call to an LLM that llm.parameters may not hold: the client decides them, or counts on them.
OURS = {
    "model", "messages", "temperature", "max_tokens", "max_completion_tokens", "response_format", "stream",
    "stream_options", "n", "best_of", "tools", "tool_choice", "functions", "function_call",
}  # fmt: skip
FOUND = "found"  # as a model: nobody of ours drew the images, they were there
AUTO = "auto"  # as a profile's name: the one that this machine can serve
# Where scenes are set: the LLM is given these in turn, since left alone it returns to the same few.
ANGLES = (
    "one adult at home",
    "one adult at work",
    "two or more adults together",
    "an animal",
    "a street in a city",
    "a village or farmland",
    "mountains, a forest, a coast or a desert",
    "food and drink on a table",
    "a building seen from outside",
    "the inside of a public building",
    "a vehicle on its way",
    "an object seen close by",
    "a festival, a market or a ceremony",
    "sport or play outdoors",
    "night or twilight",
    "a historical or an imagined place",
)

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Share = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=8, le=4096, multiple_of=8)]
# TOML has lists; tuples make a profile hashable, so that models can be cached by it.
Names = Annotated[tuple[Name, ...], Field(strict=False)]
Texts = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=300)], ...], Field(strict=False)]
Worded = Annotated[str, Field(min_length=1, max_length=300, pattern=r"\{prompt\}")]  # a context prompt in other words
# offline: scenes of a grammar, worded as the taxonomy says. llm: scenes and wordings by an LLM. modifier: context
# prompts by an LLM, worded as the taxonomy says. file: existing prompts as they are, worded as the taxonomy says.
Writer = Literal["offline", "llm", "modifier", "file"]

# model: the one that the model comes with. Distilled models need euler-trailing (Lightning, Turbo) or lcm (LCM).
Scheduler = Literal["ddim", "dpm++", "euler", "euler-trailing", "lcm", "model"]
SCHEDULERS: tuple[str, ...] = get_args(Scheduler)
Format = Literal["webp", "png", "jpeg"]  # of the images' files: WebP without loss, PNG, JPEG of quality 95 in 4:4:4
Precision = Literal["auto", "fp32", "fp16", "bf16"]  # auto: fp16 on a GPU, fp32 on a CPU
PRECISIONS: tuple[str, ...] = get_args(Precision)
# What a model predicts, where its files do not say it; with zero SNR, the last step leaves nothing of the picture.
Prediction = Literal["model", "epsilon", "v", "v-zero-snr"]
# What waits in the machine's memory while it is not computed with: nothing, whole networks, or each layer.
Offload = Literal["none", "networks", "layers"]

# Prompts longer than the text encoders read are cut off, or read in up to 8 windows of that length.
LongPrompts = Literal["cut", "windows"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Prompts(_Section):
    """How many prompts are written, by whom, and from what."""

    writer: Writer = "offline"
    count: int = Field(default=240, ge=1)
    test_share: float = Field(default=0.15, ge=0, lt=1)
    asked_share: Share = 0.0  # of prompts that ask for the violation, where the principle says how
    control_share: Share = 0.0  # of prompts near the principle that break nothing
    principles_each: int = Field(default=1, ge=1, le=3)  # principles per prompt; not with the offline writer
    # Existing prompts: a .csv, .tsv, .parquet, .jsonl or .txt file or a data set. `file` takes them as they are, `llm`
    # and `modifier` rewrite them; without a source those two invent their scenes.
    source: str = ""
    column: str = "prompt"


class Llm(_Section):
    """How the LLM is asked, where a writer asks one; server and key come from the environment."""

    model: str = ""  # "" takes DATAGEN_LLM_MODEL
    temperature: float = Field(default=1.0, ge=0, le=2)
    max_tokens: int = Field(default=2048, ge=64)
    widen: int = Field(default=0, ge=0, le=200)  # principles it adds to the taxonomy, where the writer asks an LLM
    scenes: int = Field(default=20, ge=1, le=50)  # scenes per call
    angles: Annotated[Texts, Field(min_length=1)] = ANGLES
    # Put into the body of every call as they are: reasoning_effort, top_p, chat_template_kwargs.enable_thinking, …
    parameters: dict[str, Any] = {}

    @field_validator("parameters")
    @classmethod
    def _sendable(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(value.keys() & OURS):
            raise ValueError(f"{', '.join(taken)} may not stand here: the client decides it, or another key of llm")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"they must be what JSON can say: {error}") from error
        return value

    def __hash__(self) -> int:
        return hash(self.model)  # a recipe can be hashed, and parameters are a table


class Images(_Section):
    """How many images a prompt gets, how many prompts make a shard, and what files the images are kept in."""

    candidates: int = Field(default=1, ge=1, le=1000)  # of `rank`, `list`; of `contrast` for each of both wordings
    aligned: int = Field(default=1, ge=1, le=1000)  # `pool` only: images of the aligned wording of a scene
    violating: int = Field(default=1, ge=1, le=1000)  # `pool` only: images of its violating wording
    shard_size: int = Field(default=16, ge=1)
    format: Format = "webp"
    metadata: bool = False  # whether each file says by itself what it was drawn from, with what and how


class Labels(_Section):
    """What a pair must reach to become a row, and what tells how far the judges can be trusted."""

    min_probability: Share = 0.0
    min_match: Share = 0.0
    min_low: Share = 0.0  # of the lower end of the probability's 90 % interval
    # What must hold besides: nothing; each judge prefers chosen; the principle's own axis does, and alignment with the
    # prompt does not fall; no axis prefers rejected.
    rule: Literal["posterior", "all", "principle", "pareto"] = "posterior"
    most_each_prompt: Annotated[int, Field(ge=1)] | None = None  # pairs; the most certain stay
    most_each_principle: Annotated[int, Field(ge=1)] | None = None
    known: str = ""  # a table with the columns pair_id and label, by people; it calibrates the probabilities
    balanced: bool = False  # as many pairs of each principle as of the one that has fewest
    settled: Annotated[float, Field(ge=0.5, le=1)] = 0.98  # probability from which no further tier of judges is asked
    # Negative controls that cost no image: questions that the wordings should not touch, two texts around the context
    # prompt each. How far a judge's answers lean towards what was meant all the same, it sees of the wording itself.
    questions: Annotated[tuple[Annotated[tuple[Worded, Worded], Field(strict=False)], ...], Field(strict=False)] = ()
    # Negative controls that are drawn: so many pairs for each prompt, of two wordings of which neither keeps the
    # principle better. All judges see them, and no dataset holds them.
    controls: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    # Of ranked candidates, the share of which all judges are shown a degraded copy, which is known to be worse.
    copies: Share = 0.0

    @model_validator(mode="after")
    def _questions_differ(self) -> Labels:
        if same := next((one for one, other in self.questions if one == other), None):
            raise ValueError(f"questions holds {same!r} twice: give two texts that differ, as left and right do")
        return self


class JudgeChoice(_Section):
    """A judge by name, or by the dotted name of a module from elsewhere, with what its own options are given."""

    name: Name
    options: dict[str, Any] = {}

    def __hash__(self) -> int:
        return hash(self.name)  # a profile can be hashed, and options are a table


class Profile(_Section):
    """One way to serve a recipe: a model, its sampling, the taxonomy it can draw, its writer, and the judges."""

    model: str = Field(min_length=1)
    revision: str = ""
    license: str = ""  # of the images this model makes; "": the recipe's
    other_models: Texts = ()  # `rank` and `list` only: candidates come from `model` and these in turn
    writer: Writer | None = None  # None: prompts.writer
    taxonomy: Name
    principles: Names = ()
    grammar: Name
    scheduler: Scheduler = "model"
    precision: Precision = "auto"  # of the weights
    vae: str = ""  # in the place of the one that `model` comes with; "own" for that, whatever the precision
    prediction: Prediction = "model"
    adapters: Texts = ()  # LoRA, U-Nets, value encoders: PATH or PATH@SCALE
    offload: Offload = "none"  # of a GPU with little memory
    vae_tiling: bool = False  # the VAE works on one image at a time, in tiles that are blended: needs least memory
    long_prompts: LongPrompts = "cut"
    # Of guided noise towards the deviation of the unguided, for models of zero terminal SNR (arXiv 2305.08891: 0.7).
    guidance_rescale: Share = 0.0
    compile: bool = False  # the U-Net's transformer blocks, which takes a minute or so a process
    steps: int = Field(ge=1, le=1000)
    guidance: float = Field(ge=0)
    width: Side
    height: Side
    # In order: a list of names, or a table of the options of each.
    judges: Annotated[tuple[JudgeChoice, ...], Field(strict=False, min_length=1)]
    # Judges in the order in which they are asked, cheap ones first; a later tier sees only what is not settled before.
    # None given: all of them at once.
    tiers: Annotated[tuple[Names, ...], Field(strict=False)] = ()

    @field_validator("judges", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, dict):
            if wrong := next((name for name, options in value.items() if not isinstance(options, dict)), None):
                raise ValueError(f"{wrong} is {value[wrong]!r}: give a table of the judge's options, or {{}} for none")
            return [{"name": name, "options": options} for name, options in value.items()]
        if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
            return [{"name": name} for name in dict.fromkeys(value)]
        return value

    @model_validator(mode="after")
    def _each_judge_in_one_tier(self) -> Profile:
        listed = [name for tier in self.tiers for name in tier]
        if listed and (sorted(listed) != sorted(judge.name for judge in self.judges) or not all(self.tiers)):
            raise ValueError(
                f"tiers name {', '.join(listed)}: each of the judges {', '.join(j.name for j in self.judges)} must "
                "stand in one tier, once"
            )
        return self


class Recipe(_Section):
    """A whole recipe; `profile(name)` picks one of its profiles."""

    name: Name
    description: str = ""
    license: str
    seed: int = Field(default=0, ge=0)
    pairing: Literal["contrast", "rank", "list", "pool"]
    same_seed: bool = True
    prompts: Prompts = Prompts()
    images: Images = Images()
    labels: Labels = Labels()
    llm: Llm = Llm()
    profiles: dict[Name, Profile] = Field(min_length=1)

    @field_validator("profiles")
    @classmethod
    def _none_is_auto(cls, value: dict[str, Profile]) -> dict[str, Profile]:
        if AUTO in value:
            raise ValueError(f"{AUTO!r} stands for what a machine can serve: give the profile another name")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        if self.ranked and self.images.candidates < 2:
            raise ValueError(
                f"pairing = {self.pairing!r} compares images of one prompt: set images.candidates to 2 or more"
            )
        if self.pairing == "pool" and self.images.candidates > 1:
            raise ValueError("pairing = 'pool' is of two sets: set images.aligned and images.violating instead")
        if self.pairing != "pool" and (self.images.aligned, self.images.violating) != (1, 1):
            raise ValueError("images.aligned and images.violating need pairing = 'pool': set images.candidates")
        if self.prompts.asked_share + self.prompts.control_share > 1:
            raise ValueError("prompts.asked_share and prompts.control_share together must be at most 1")
        for name, profile in self.profiles.items():
            if profile.other_models and not self.ranked:
                raise ValueError(
                    f"profiles.{name}.other_models needs pairing = 'rank': a contrast compares images of one model"
                )
            if self.writer(profile) == "file" and not self.prompts.source:
                raise ValueError(
                    "writer = 'file' takes existing prompts: name their file or data set in prompts.source"
                )
        return self

    @property
    def ranked(self) -> bool:
        """Whether images are candidates of one prompt that are ranked, of none of which it was meant to be better."""
        return self.pairing in ("rank", "list")

    def writer(self, profile: Profile) -> Writer:
        """Who writes the prompts of a profile."""
        return profile.writer or self.prompts.writer

    def images_each(self) -> dict[str, int]:
        """Images of one prompt by side: candidates that are ranked, or chosen and rejected ones."""
        match self.pairing:
            case "rank" | "list":
                return {"candidate": self.images.candidates}
            case "pool":
                return {"chosen": self.images.aligned, "rejected": self.images.violating}
            case "contrast":
                return {"chosen": self.images.candidates, "rejected": self.images.candidates}

    def license_of(self, profile: Profile) -> str:
        """The licence of the images of a profile."""
        return profile.license or self.license

    def profile(self, name: str) -> Profile:
        """The profile of that name; RecipeError if this recipe has none."""
        if name not in self.profiles:
            raise RecipeError(f"recipe {self.name} has no profile {name!r}; {nearest(name, [AUTO, *self.profiles])}")
        return self.profiles[name]
