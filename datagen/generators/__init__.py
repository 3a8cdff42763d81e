"""Generators: what turns a text and a seed into a picture. The folder is the registry: one file per generator.

A model "NAME:REST" is the model REST of generators/NAME.py, or of a module elsewhere where NAME is dotted; any other
is Stable Diffusion's, or another of diffusers' pipelines if its model_index.json says so. What a file defines stands
in `protocol.GeneratorFile`. A request that fails for its content gives a `ContentError` in its place; an image never
depends on the batch that it was made in.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import re
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from datagen import models
from datagen.errors import DatagenError, MachineryError, ModelError, one_line
from datagen.generators.protocol import Bill, ContentError, Generator, GeneratorFile, ModelChoice, NoPicture, Request
from datagen.llm import LlmOptions
from datagen.models import Missing, Needs
from datagen.recipe import OPTIONS, Profile
from datagen.records import next_seed
from datagen.registry import Registry
from datagen.weights import kinds, pipelines

if TYPE_CHECKING:
    from PIL import Image

GENERATORS = Registry(__name__, "generator", ModelError, not_entries=("assembly", "kept", "protocol", "replay"))
DEFAULT = "stable_diffusion"
PLAIN = "any_pipeline"  # whatever else diffusers draws with
PROBED = (2, 5)  # steps of the batches that a probe draws
SEEDS = 3  # that are tried for a picture that shows something
_FUNCTIONS = ("load", "missing", "needs")
_NAMED = re.compile(r"([A-Za-z_][\w.]*):")


def load(choice: ModelChoice) -> Generator:
    """The generator of a profile, loaded once per process; ModelError if this machine cannot serve it."""
    return _loaded(choice.model, choice.revision, choice.scheduler, **_wanted(choice))


@functools.cache  # of several models that take turns, shard after shard, each is loaded once
def _loaded(model: str, revision: str, scheduler: str, **wanted: Any) -> Generator:
    file, rest = _serving(model, revision, download=True)
    _refuse_unknown(file, model, wanted)
    return file.load(rest, revision, scheduler, **wanted)


def check(profile: Profile) -> None:
    """Hold what a profile sets against its model, which is here, before anything is made. ModelError."""
    file, rest = _serving(profile.model, profile.revision)
    wanted = _wanted(profile)
    _refuse_unknown(file, profile.model, wanted)
    if look := getattr(file, "check", None):
        look(_tried(profile), rest, profile.revision, profile.scheduler, **wanted)


def _wanted(choice: ModelChoice) -> dict[str, Any]:
    """What a profile sets of the options, by their names."""
    defaults = {name: Profile.model_fields[name].default for name in OPTIONS}
    held = {name: getattr(choice, name, default) for name, default in defaults.items()}
    return {name: value for name, value in held.items() if value != defaults[name]}


def _refuse_unknown(file: GeneratorFile, model: str, wanted: dict[str, Any]) -> None:
    if other := wanted.keys() - inspect.signature(file.load).parameters.keys():
        raise ModelError(f"the generator of {model!r} knows no {' and no '.join(sorted(other))}: leave it out")


def in_order(generator: Generator, requests: Sequence[Request]) -> list[Image.Image | ContentError]:
    """The picture or ContentError of each request, in the order of the requests."""
    made = dict(generator.generate(requests))
    return [made[place] for place in range(len(requests))]


def draw(
    generator: Generator, requests: Sequence[Request], llm: LlmOptions | None = None
) -> Iterator[tuple[int, Request, Image.Image | ContentError]]:
    """The place of each request, what was drawn in its stead, and its picture or ContentError, as they are done.

    Where a picture shows nothing another seed is tried, SEEDS in all; what is drawn then has that seed. `llm` says on
    whose account a server draws.
    """
    with _connected(generator, llm):
        yield from _drawn(generator, requests)


def _connected(generator: Generator, llm: LlmOptions | None) -> contextlib.AbstractContextManager[None]:
    server: Any = getattr(generator, "server", None)
    if server is None or llm is None:
        return contextlib.nullcontext()
    return cast(contextlib.AbstractContextManager[None], server.connected(llm))


def _drawn(
    generator: Generator, requests: Sequence[Request]
) -> Iterator[tuple[int, Request, Image.Image | ContentError]]:
    asked = list(enumerate(requests))
    for last in (*[False] * (SEEDS - 1), True):
        again = []
        for nth, result in generator.generate([request for _, request in asked]):
            place, request = asked[nth]
            if not isinstance(result, NoPicture):
                yield place, request, result
            elif last:
                yield place, requests[place], ContentError(f"{result}; nor did {SEEDS - 1} other seeds give a picture")
            else:
                again.append((place, dataclasses.replace(request, seed=next_seed(request.seed))))
        asked = sorted(again, key=lambda entry: entry[0])
        if not asked:
            return


def rehearse(profile: Profile, llm: LlmOptions | None = None) -> None:
    """Draw a picture as a profile has it and throw it away: what would go wrong with every one goes wrong with this.

    ModelError if the model cannot be loaded or asked for such a picture; MachineryError for whatever else keeps it
    from drawing one that shows something.
    """
    generator = load(profile)
    request = _tried(profile)
    try:
        ((_, _, picture),) = draw(generator, [request], llm)
    except DatagenError:
        raise
    except Exception as error:  # no memory left, or whatever a generator of another package raises
        picture = ContentError(f"{type(error).__name__}: {one_line(error)}")
    if isinstance(picture, ContentError):
        raise MachineryError(f"the model {profile.model!r} draws no picture: {picture}")


def _tried(profile: Profile) -> Request:
    """A picture as a profile has it, of something harmless."""
    steps, guidance, size = profile.steps, profile.guidance, (profile.width, profile.height)
    return Request("a chair", "", 0, steps, guidance, *size, principle="cracks considered inappropriate")


def probe(profile: Profile) -> float:
    """Seconds that an image of a profile's model takes in this process: batches of a few steps, carried on to all.

    Raises ModelError as a run would.
    """
    generator = load(profile)
    request = _tried(profile)
    count = generator.means(request).batch_size

    def spent(steps: int) -> float:
        requests = [dataclasses.replace(request, seed=seed, steps=steps) for seed in range(count)]
        started = time.perf_counter()
        in_order(generator, requests)
        return time.perf_counter() - started

    few, more = (min(steps, profile.steps) for steps in PROBED)
    spent(few)  # what only the first batch waits for
    short, long = spent(few), spent(more)
    step = max(0.0, long - short) / max(1, more - few)
    return (short + step * (profile.steps - few)) / count


def missing(model: str, revision: str = "") -> Missing | None:
    """Why a model cannot be loaded from this machine as it is, None if it can."""
    try:
        file, rest = _serving(model, revision)
    except ModelError as error:
        return Missing(str(error))
    return file.missing(rest, revision)


def needs(model: str, revision: str = "") -> Needs | None:
    """What a model needs, None if that is not known; ModelError for a generator that does not exist."""
    file, rest = _serving(model, revision)
    return file.needs(rest, revision)


def bill(model: str, width: int, height: int) -> Bill | None:
    """What a server takes for a picture of that size; None of a model that is drawn with here."""
    file, rest = _serving(model)
    found = getattr(file, "bill", None)
    return None if found is None else cast(Bill, found(rest, width, height))


def is_own(model: str) -> bool:
    """Whether a name before its colon says who draws the model: then what that draws is not known here."""
    return _NAMED.match(model) is not None


def _by_layout(model: str, revision: str, download: bool) -> str:
    """The file that draws with a model which names none: by its pipeline, as far as that is known."""
    pipeline = models.pipeline(model, revision, download=download)
    return PLAIN if pipeline and pipeline not in pipelines.FAMILIES and not kinds.pipeline(pipeline) else DEFAULT


def _serving(model: str, revision: str = "", *, download: bool = False) -> tuple[GeneratorFile, str]:
    """The file that serves a model, and what that file calls it."""
    match = _NAMED.match(model)
    name, rest = (match[1], model[match.end() :]) if match else (_by_layout(model, revision, download), model)
    module = GENERATORS.module(name)
    for function in _FUNCTIONS:
        if not callable(getattr(module, function, None)):
            raise ModelError(f"the generator {name} defines no {function}(): a generator has {', '.join(_FUNCTIONS)}")
    return cast(GeneratorFile, module), rest
