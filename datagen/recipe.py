"""A recipe: a TOML file that says what a run makes, read into frozen typed values.

Unknown keys are refused with the nearest known name. Whatever can change a row is part of the digest: the recipe, the
chosen profile, and the text of the files that the profile's writer reads.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from datagen.errors import RecipeError, nearest, one_line

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


def _prompts_folder() -> Path:
    """`prompts/` next to the package in a checkout, `datagen/_prompts/` in an installed wheel."""
    packaged = Path(__file__).parent / "_prompts"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "prompts"


PROMPTS = _prompts_folder()

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


BEFORE: Format = "png"  # of runs that were begun before there was a choice


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


RELABELLED = "relabelled"  # in recipe.json: what of [labels] was changed after the run
# What decides what judges are asked; the others only what is made of it.
ASKED = ("settled", "questions", "controls", "copies")
RELABELS = tuple(name for name in Labels.model_fields if name not in ASKED)
RULES = (
    "min_low",
    "rule",
    "most_each_prompt",
    "most_each_principle",
    "known",
    "balanced",
    "questions",
    "controls",
    "copies",
)  # not in every recipe's digest


# What of a profile a generator is given where it is set; those after the first two are not in every recipe's digest.
OPTIONS = (
    "precision", "vae", "prediction", "adapters", "offload", "vae_tiling",
    "long_prompts", "guidance_rescale", "compile",
)  # fmt: skip
# What belongs to a profile's `model` alone, as its `other_models` have it.
OF_OTHERS: dict[str, Any] = {"revision": "", "vae": "", "prediction": "model", "adapters": ()}


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


def names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in (PROMPTS / "recipes").glob("*.toml"))


def load(name_or_path: str, overrides: list[str]) -> Recipe:
    """Read a recipe by name or by path of a .toml file and apply `key.path=value` overrides.

    Values are TOML (`prompts.count=8`, `profiles.sd15.judges=["clip"]`); what is not TOML is taken as a string.
    Raises RecipeError with one line: the key, what was given, what is accepted.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = PROMPTS / "recipes" / f"{name_or_path}.toml"
        if name_or_path not in names():
            raise RecipeError(
                f"no recipe is called {name_or_path!r}; {nearest(name_or_path, names())}; or give a .toml"
            )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not a TOML file: {error}") from error
    for override in overrides:
        _apply(values, override)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"recipe {path.stem}: {_explain(error)}") from error


def resolved(recipe: Recipe, profile_name: str) -> dict[str, Any]:
    """Everything that decides the rows of a run, JSON-able: the recipe with the one profile and the files it names."""
    profile = recipe.profile(profile_name)
    values = recipe.model_dump(mode="json", exclude={"profiles"})
    served = profile.model_dump(mode="json")
    # What is not used is left out, so that what was begun before there was any of it is resumed.
    if not profile.tiers:
        del served["tiers"], values["labels"]["settled"]
    for name in OPTIONS[2:]:
        if getattr(profile, name) == Profile.model_fields[name].default:
            del served[name]
    usual = Labels().model_dump(mode="json")
    for name in RULES:
        if values["labels"][name] == usual[name]:
            del values["labels"][name]
    if not values["llm"]["parameters"]:
        del values["llm"]["parameters"]
    if recipe.images.format == BEFORE:
        del values["images"]["format"]
    if not recipe.images.metadata:
        del values["images"]["metadata"]
    return {
        **values,
        "profile": {"name": profile_name, **served},
        "files": {
            name: _digest(path)
            for name, path in _files(recipe, profile)
            if path.is_file()  # one that is missing is the principles or the prompts stage's error
        },
    }


def as_begun(recipe: Recipe, settings: Mapping[str, Any] | None) -> Recipe:
    """A recipe that does not say what files images are kept in, with those that its run was begun with.

    `settings` are the run's recipe.json; None of one that is not begun.
    """
    begun = (settings or {}).get("recipe", {}).get("images")
    if not isinstance(begun, dict) or "format" in begun or "format" in recipe.images.model_fields_set:
        return recipe
    return recipe.model_copy(update={"images": recipe.images.model_copy(update={"format": BEFORE})})


def relabelled(recipe: Recipe, settings: Mapping[str, Any] | None) -> Recipe:
    """A recipe with the [labels] that its run was given after it, from its recipe.json."""
    changes = (settings or {}).get(RELABELLED)
    if not changes:
        return recipe
    return recipe.model_copy(update={"labels": Labels.model_validate(recipe.labels.model_dump() | changes)})


def label_rules(recipe: Recipe) -> dict[str, Any]:
    """All that labels depend on besides the verdicts, JSON-able: [labels], and the content of the file it names."""
    rules = recipe.labels.model_dump(mode="json", exclude={"questions", "controls", "copies"})
    known = Path(recipe.labels.known)
    return {**rules, "known": _digest(known) if recipe.labels.known and known.is_file() else recipe.labels.known}


def label_changes(recipe: Recipe, overrides: list[str]) -> dict[str, Any]:
    """What `--set labels.KEY=VALUE` changes in [labels], checked; RecipeError for another key or a wrong value."""
    changes = {}
    for override in overrides:
        key, value = assignment(override, "labels.min_probability=0.95")
        section, _, name = key.partition(".")
        if section != "labels" or name in ASKED:
            raise RecipeError(
                f"--set {override!r}: a judged run can be given labels.{', labels.'.join(RELABELS)}; "
                "for anything else start another run"
            )
        changes[name] = value
    try:
        Recipe.model_validate(recipe.model_dump() | {"labels": recipe.labels.model_dump() | changes})
    except ValidationError as error:
        raise RecipeError(_explain(error)) from error
    return changes


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def of_run(settings: dict[str, Any]) -> tuple[Recipe, str]:
    """The recipe of a run and the name of its profile, from its recipe.json; inverse of `resolved`.

    With the [labels] that it was given since it was started.

    Raises RecipeError if the settings are not those of a recipe.
    """
    try:
        values = dict(settings["recipe"])
        values["images"] = {"format": BEFORE, **values["images"]}
        profile = dict(values.pop("profile"))
        values.pop("files", None)
        name = profile.pop("name")
        return relabelled(Recipe.model_validate({**values, "profiles": {name: profile}}), settings), name
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = _explain(error) if isinstance(error, ValidationError) else one_line(error)
        by = settings.get("version", "another version")
        raise RecipeError(
            f"recipe.json does not hold a recipe of this version ({reason}): datagen {by} wrote it"
        ) from error


def _files(recipe: Recipe, profile: Profile) -> Iterator[tuple[str, Path]]:
    """The files that the rows of a profile depend on, and how they are called in the digest."""
    writer = recipe.writer(profile)
    folders = {"principles": profile.taxonomy} | ({"grammars": profile.grammar} if writer == "offline" else {})
    for folder, name in folders.items():
        yield f"{folder}/{name}.toml", PROMPTS / folder / f"{name}.toml"
    if asks_llm(recipe, profile):
        for path in sorted((PROMPTS / "templates").glob("*.md")):
            yield f"templates/{path.name}", path
    if recipe.prompts.source and writer != "offline":
        yield "source", Path(recipe.prompts.source)


def asks_llm(recipe: Recipe, profile: Profile) -> bool:
    """Whether a run of this profile asks an LLM."""
    return recipe.writer(profile) in ("llm", "modifier")


def digest(recipe: Recipe, profile_name: str) -> str:
    """16 hex digits of `resolved`; runs of equal digest make equal rows."""
    text = json.dumps(resolved(recipe, profile_name), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one `a.b=c` in nested tables, in place."""
    key, value = assignment(override, "prompts.count=8")
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if parent == "judges" and isinstance(inner, list):  # the short form of a table without options
            inner = values[parent] = {str(name): {} for name in inner}
        if not isinstance(inner, dict):
            raise RecipeError(f"--set {override!r}: {parent} is a value, not a table")
        values = inner
    values[last] = value


def assignment(override: str, example: str) -> tuple[str, object]:
    """Key and value of `key=value`; the value is TOML, or else a string. RecipeError if it is not of that form."""
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key or key.endswith("."):
        raise RecipeError(f"--set {override!r}: give key=value, for example --set {example}")
    try:
        return key, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key, text


def _explain(error: ValidationError) -> str:
    """The first problem in one line: the key, what was given, what is accepted."""
    first = error.errors(include_url=False)[0]
    key, given = ".".join(str(part) for part in first["loc"] if part != "[key]"), repr(first["input"])
    given = given if len(given) <= 60 else f"{given[:57]}..."
    match first["type"]:
        case "extra_forbidden" if first["loc"][-1] == "clip_model":
            return f"{key} is now {key.removesuffix('clip_model')}judges.clip.model"
        case "extra_forbidden":
            return f"unknown key {key!r}: {nearest(str(first['loc'][-1]), _keys(first['loc'][:-1]))}"
        case "missing":
            return f"{key} is missing"
        case "value_error":
            return ": ".join(part for part in (key, first["msg"].removeprefix("Value error, ")) if part)
        case _:
            return f"{key} is {given}: {first['msg'].replace('Input', 'it').replace('tuple', 'list')}"


def _keys(table: tuple[int | str, ...]) -> list[str]:
    """The keys that a table of a recipe may have."""
    sections: dict[str, type[BaseModel]] = {
        "prompts": Prompts,
        "images": Images,
        "labels": Labels,
        "llm": Llm,
        "profiles": Profile,
    }
    section = sections[str(table[0])] if table else Recipe
    return list(section.model_fields)
