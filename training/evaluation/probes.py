"""The probes of an evaluation, by name or dotted path, and one pass over every picture with all of them.

The results of a user's functions are checked here: one entry a picture, numbers where numbers are expected.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from datagen.world import captions
from datagen.world import reader as world_reader
from training.errors import TrainingError
from training.evaluation import clip, features
from training.evaluation import judges as panelists
from training.evaluation.attributes import ABSENT
from training.evaluation.clip import Clip, unit
from training.evaluation.features import Extractor
from training.evaluation.observations import Observations
from training.evaluation.pictures import Pictures
from training.models.embedded import EMBEDDED
from training.progress import Progress
from training.settings.evaluation import ZERO_SHOT, ProbeOptions

NONE = "none"

Reader = Callable[[Sequence[Image.Image], Sequence[str]], list[Mapping[str, object]]]
Judge = Callable[[Sequence[Image.Image], Sequence[str]], Any]


@dataclasses.dataclass(frozen=True)
class Probes:
    """What measures pictures; None, or empty, where nothing does."""

    reader: Reader | None
    clip: Clip | None
    extractor: Extractor | None
    toxicity: Callable[[Sequence[Image.Image]], Any] | str | None  # a classifier, or an attribute of the reader's
    judges: Mapping[str, Judge]

    @property
    def lower_is_better(self) -> frozenset[str]:
        """The judges whose lower scores are the better ones."""
        return frozenset(name for name, judge in self.judges.items() if getattr(judge, "sign", 1) < 0)

    @property
    def are_none(self) -> bool:
        """Whether nothing measures anything."""
        return not (self.reader or self.clip or self.extractor or callable(self.toxicity) or self.judges)


def load_probes(options: ProbeOptions, prompts: Sequence[str], device: str) -> Probes:
    """The probes that the options name. Raises TrainingError for what cannot be loaded."""
    model = None if options.clip == NONE else clip.load(options.clip, device)
    extractor: Extractor | None
    if is_dotted(options.features):
        extractor = features.from_function(options.features, dotted(options.features, "--features"))
    else:
        extractor = features.choose(options.features, device, model, prompts)
    toxicity: Callable[[Sequence[Image.Image]], Any] | str = options.toxicity
    if is_dotted(options.toxicity):
        toxicity = dotted(options.toxicity, "--toxicity")
    judges: dict[str, Judge] = {}
    panelists.refuse_strangers(options.judge_options, options.judge)
    for name in options.judge or ([] if model is None else [options.clip]):
        if is_dotted(name):
            short = name.rpartition(":")[2]
            judges[name if short in judges else short] = dotted(name, "--judge")
        elif panelists.known(name):
            judges[name] = panelists.load(name, options.judge_options)
        elif name != NONE:
            judge = clip.load(name, device)
            judges[f"clip-{judge.name}"] = judge.score
    reader = _reader(options, model)
    return Probes(reader, model, extractor, None if toxicity == NONE else toxicity, judges)


def _reader(options: ProbeOptions, model: Clip | None) -> Reader | None:
    if options.reader == NONE:
        return None
    if options.reader == ZERO_SHOT:
        if model is None:
            raise TrainingError("--reader clip needs a model: name one with --clip, such as ViT-L-14/openai")
        return zero_shot(model, options.balance, options.groups)
    function = world_reader.read if options.reader == EMBEDDED else dotted(options.reader, "--reader")

    def read(pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[Mapping[str, object]]:
        readings = list(function(pictures))
        if len(readings) != len(pictures):
            raise TrainingError(
                f"--reader gave {len(readings)} readings of {len(pictures)} pictures; one each is needed"
            )
        found = [r if isinstance(r, Mapping) else getattr(r, "attributes", None) for r in readings]
        attributes = [a for a in found if isinstance(a, Mapping)]
        if len(attributes) != len(found):
            raise TrainingError("--reader must give mappings of attributes, or objects whose .attributes are mappings")
        return attributes

    return read


def load_prompt_parser(options: ProbeOptions) -> Callable[[str], Mapping[str, object]]:
    """A function from a prompt to the attributes that it states. Raises TrainingError for what cannot be loaded."""
    if options.parser == NONE:
        return lambda text: {}
    return captions.parse if options.parser == EMBEDDED else dotted(options.parser, "--parser")


def zero_shot(model: Clip, attribute: str, groups: Sequence[str]) -> Reader:
    """CLIP's choice among "<prompt>, <group>", as LiVO reads gender and race (evaluation/eval_bias.py)."""

    def read(pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[Mapping[str, object]]:
        images = unit(model.images(pictures))
        cosines = [
            (images * model.texts([f"{prompt}, {group}" for prompt in prompts])).sum(axis=1) for group in groups
        ]
        return [{attribute: groups[k]} for k in np.argmax(cosines, axis=0)]

    return read


def measure(probes: Probes, pictures: Pictures, observed: Observations, batch: int, label: str) -> Observations:
    """The observations with what the probes measure in the pictures, each decoded once."""
    parts: dict[str, list[Any]] = {}
    done = 0
    with Progress(f"measuring, {label}", len(pictures), "images") as progress:
        for images in pictures.batches(batch):
            captions = [observed.prompts[p] for p in observed.prompt_of[done : done + len(images)]]
            for name, values in _measure(probes, images, captions).items():
                parts.setdefault(name, []).extend(values)
            done += len(images)
            progress.advance(len(images))
    arrays: dict[str, Any] = {name: np.array(values) for name, values in parts.items() if name != "shown"}
    if "toxicity" in arrays and np.isnan(arrays["toxicity"]).all():
        del arrays["toxicity"]  # no reading has the attribute
    scores = {name: arrays.pop(f"score {name}") for name in probes.judges if f"score {name}" in arrays}
    return dataclasses.replace(
        observed, shown=parts.get("shown"), scores=scores, lower_is_better=probes.lower_is_better, **arrays
    )


def unseen(rounds: Sequence[Mapping[str, Observations]], probes: Probes, options: ProbeOptions) -> list[str]:
    """What was asked for and nobody saw: attributes that no reading has, judges that abstained from every picture."""
    every = [one for arms in rounds for one in arms.values()]
    named = {"--rates": options.rates, "--balance": (options.balance,) if options.groups else ()}
    if isinstance(probes.toxicity, str):
        named["--toxicity"] = (probes.toxicity,)
    known = {name for one in every for shown in one.shown or [] for name in shown}
    said = [
        f"{flag} {name}: no reading has such an attribute, so there is no figure of it"
        for flag, names in named.items()
        for name in names
        if probes.reader and name not in known
    ]
    scores = {name: [one.scores[name] for one in every if name in one.scores] for one in every for name in one.scores}
    if callable(probes.toxicity):
        scores["--toxicity"] = [one.toxicity for one in every if one.toxicity is not None]
    for name, arrays in scores.items():
        abstained = int(sum(np.isnan(array).sum() for array in arrays))
        total = sum(map(len, arrays))
        if abstained or not total:
            said.append(f"{name} abstained from {abstained} of {total} pictures, which do not count")
    return said


def _measure(probes: Probes, images: Sequence[Image.Image], captions: Sequence[str]) -> dict[str, Any]:
    """What every probe says of a few pictures, one entry a picture, by the names of `Observations`."""
    results: dict[str, Any] = {}
    if probes.reader:
        results["shown"] = probes.reader(images, captions)
    if probes.clip:
        results["embeddings"] = unit(probes.clip.images(images))
        results["cosines"] = (results["embeddings"] * probes.clip.texts(captions)).sum(axis=1)
    if probes.extractor:
        results["features"], logits = probes.extractor.extract(images)
        if logits is not None:
            results["logits"] = logits
    if callable(probes.toxicity):
        results["toxicity"] = numbers(probes.toxicity(images), len(images), "--toxicity", most=1.0)
    elif probes.toxicity and "shown" in results:
        results["toxicity"] = [_toxic(shown, probes.toxicity) for shown in results["shown"]]
    for name, judge in probes.judges.items():
        results[f"score {name}"] = numbers(judge(images, captions), len(images), f"--judge {name}")
    return results


def _toxic(shown: Mapping[str, object], attribute: str) -> float:
    """A reader's attribute as a score: a number in [0, 1] as it is, else 1 for what is not "none"; NaN without it."""
    value = shown.get(attribute, math.nan)
    if isinstance(value, float) and not value > 1 and not value < 0:
        return value
    return float(value not in (None, ABSENT, False))


def numbers(values: Any, count: int, option: str, most: float | None = None) -> np.ndarray:
    """(count,) float64, NaN for an abstention. Raises TrainingError naming the option for anything else."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"{option} gave something else than numbers ({error})") from error
    if array.shape != (count,):
        raise TrainingError(f"{option} gave numbers of shape {array.shape} for {count} pictures; one each is needed")
    known = array[~np.isnan(array)]
    if not np.isfinite(known).all() or (most is not None and ((known < 0) | (known > most)).any()):
        accepted = "finite numbers" if most is None else f"numbers from 0 to {most:g}"
        raise TrainingError(f"{option} gave {known.min():g} to {known.max():g}; {accepted} are accepted, NaN abstains")
    return array


def is_dotted(text: str | None) -> bool:
    """Whether a name is package.module:function."""
    return bool(text and re.fullmatch(r"[\w.]+:[\w.]+", text))


def dotted(path: str, option: str) -> Callable[..., Any]:
    """The function at `package.module:name`. Raises TrainingError naming the option."""
    module, _, name = path.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise TrainingError(f"{option} {path!r} cannot be loaded ({error}); give package.module:function") from error
    return found
