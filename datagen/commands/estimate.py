"""What a recipe takes before anything is spent: LLM calls, tokens and dollars, GPU hours and disk.

It counts the writer's own requests, rehearsed, from nothing: replies that are in the cache already cost nothing. It
asks no server and needs no key.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import math
from typing import TYPE_CHECKING

from datagen import generators, judges
from datagen.commands import doctor, hints
from datagen.errors import ModelError
from datagen.judges import panel
from datagen.labels import axes
from datagen.llm import environment
from datagen.llm.accounts import prices
from datagen.llm.messages import Request
from datagen.llm.typed.schemas import schema_of
from datagen.models import TABLE, Needs
from datagen.recipe import Profile, Recipe
from datagen.writers import negative

if TYPE_CHECKING:
    from rich.console import Console

# Characters a token, measured with SmolLM2's 49,152-word BPE over the templates of all recipes filled in (4.1),
# rehearsed replies (4.2) and JSON schemas (3.5). OpenAI's rule of thumb for English is 4.
TEXT_CHARS, SCHEMA_CHARS = 4.15, 3.5
MESSAGE_TOKENS, REQUEST_TOKENS = 4, 3  # role and separators of a chat template
JUDGE_TEXT = 70  # tokens of a judge's question
DEAR_TEXTS = len(axes.DEAR)  # that each image is scored against
IMAGES = "images"
PROBE = (150, 50)  # tokens of finding out, once, whether a server keeps to a schema

DEVICE = "A100"  # assumed where the GPU is not one that the models' seconds are known for

# Of photographs of 1024 px, by kind of file; a small file has about 1.5 kB besides its pixels.
PIXEL_BYTES, FILE_BYTES = {"webp": 1.09, "png": 1.49, "jpeg": 0.41}, 1500
CALL_BYTES = 2000  # in cache and ledger


@dataclasses.dataclass(frozen=True)
class Usage:
    """LLM calls and their tokens; `cost` in dollars, None if the model has no price."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0


@dataclasses.dataclass(frozen=True)
class Estimate(Usage):
    """What a whole run takes; `stages` are the parts of the LLM's share.

    `most` dollars is what the calls cost if each reply uses all of `llm.max_tokens`, as a model that thinks may: what
    it thinks is output, and within that bound on most servers. A `fallback` model is not counted: it would take
    `by_fallback` dollars more if it had to write everything, None if it has no price. `gpu_hours` are those of one
    `device`: 0 if no GPU is needed, None if the seconds of a model are not known.
    """

    model: str = ""
    most: float | None = 0.0
    fallback: str = ""
    by_fallback: float | None = 0.0
    images: int = 0
    gpu_hours: float | None = 0.0
    device: str = ""
    disk_bytes: int = 0
    stages: dict[str, Usage] = dataclasses.field(default_factory=dict)


def estimate(recipe: Recipe, profile_name: str, *, batch: bool = False, device: str = DEVICE) -> Estimate:
    """What a run of a recipe takes; `batch`: at the Batch API's prices. UserError as the run itself would raise."""
    from datagen.writers.rehearsal import plan_calls

    profile = recipe.profile(profile_name)
    price, model = _price(recipe)
    tokens: dict[str, list[tuple[int, int]]] = collections.defaultdict(list)
    most = 0.0
    for call in plan_calls(recipe, profile):
        asked = _asked(call.request)
        tokens[call.request.stage].append((asked, round(len(call.reply) / TEXT_CHARS)))
        most += price.cost(asked, call.request.max_tokens, batch) if price else 0.0
    if tokens and not batch:
        tokens["probe"] = [PROBE]
        most += price.cost(*PROBE) if price else 0.0
    stages = {}
    for stage, counts in tokens.items():
        used = tuple(map(sum, zip(*counts, strict=True)))
        cost = None if price is None else price.cost(used[0], used[1], batch)
        stages[stage] = Usage(len(counts), used[0], used[1], cost)
    fallback, by_fallback = _fallback(list(stages.values()))

    each = recipe.images_each()
    controls = negative.planned(recipe)
    images = recipe.prompts.count * sum(each.values()) + 2 * controls
    pairs = recipe.prompts.count * _pairs_each(recipe, each)
    judged = _judges(profile, images + _copies(recipe, images), pairs + controls, batch)
    drawn = _drawn(recipe, profile, controls)
    stages |= judged | drawn
    most += sum(part.cost or 0.0 for part in (*judged.values(), *drawn.values()))
    seconds = _seconds(profile, device)
    calls = sum(part.calls for part in stages.values())
    unpriced = any(part.cost is None for part in stages.values())
    file = round(profile.width * profile.height * PIXEL_BYTES[recipe.images.format]) + FILE_BYTES
    return Estimate(
        calls,
        sum(part.input_tokens for part in stages.values()),
        sum(part.output_tokens for part in stages.values()),
        None if unpriced else sum(part.cost or 0.0 for part in stages.values()),
        model if calls else "",
        None if unpriced else most,
        fallback,
        by_fallback,
        images,
        None if seconds is None else images * seconds / 3600,
        "" if seconds == 0 else device,
        # A pair's two images lie in the tables of images and of pairs, and in the finished dataset.
        # What a server drew is kept besides.
        (images + 4 * pairs + sum(part.calls for part in drawn.values())) * file + calls * CALL_BYTES,
        stages,
    )


def _drawn(recipe: Recipe, profile: Profile, controls: int) -> dict[str, Usage]:
    """What the models take that a server draws with, by name: a call a picture, each at its dearest."""
    models = [model for model, _ in doctor.models_of(profile)]
    found: dict[str, Usage] = {}
    for place, model in enumerate(models):
        each = sum(len(range(place, count, len(models))) for count in recipe.images_each().values())
        if bill := generators.bill(model, profile.width, profile.height):
            calls = recipe.prompts.count * each + 2 * controls * (place == 0)  # other models draw no wordings
            cost = None if bill.dollars is None else calls * bill.dollars
            found[f"{IMAGES} {model}"] = Usage(calls, calls * JUDGE_TEXT, 0, cost)
    return found


def _pairs_each(recipe: Recipe, each: dict[str, int]) -> int:
    """At most how many pairs come of one prompt."""
    return {"rank": 1, "list": max(each.values()) // 2}.get(recipe.pairing, max(each.values()))


def _judges(profile: Profile, images: int, pairs: int, batch: bool) -> dict[str, Usage]:
    """What the judges that ask a server take, by name: each image by its texts, each two images in both orders.

    One whose weights are not here asks no server; that they are missing is for the run to say.
    """
    found: dict[str, Usage] = {}
    for choice in profile.judges:
        with contextlib.suppress(ModelError):
            found |= _judge(judges.load(choice.name, choice.options), profile, images, pairs, batch)
    return found


def _judge(judge: judges.Judge, profile: Profile, images: int, pairs: int, batch: bool) -> dict[str, Usage]:
    """What one judge takes; {} of one that asks no server."""
    for server in panel.servers([judge]):
        texts = DEAR_TEXTS if judge.facts.reads_text else 1
        looks = images * (texts * hasattr(judge, "score") + hasattr(judge, "answer"))
        met = 2 * pairs if hasattr(judge, "compare") else 0
        calls = looks * server.calls + met
        tokens = server.image_tokens(profile.width, profile.height)
        given = calls * JUDGE_TEXT + tokens * (looks * server.calls + 2 * met)
        base_url, model = server.model()
        price = prices.Prices.load(base_url=base_url).of(model)
        said = calls * server.answer_tokens
        cost = None if price is None else price.cost(given, said, batch)
        return {f"judge {judge.name}": Usage(calls, given, said, cost)}
    return {}


def show(recipe: Recipe, profile_name: str, console: Console, *, batch: bool = False, probe: bool = False) -> None:
    """Print an estimate, and what it rests on; with `probe`, how long this machine draws."""
    from rich.table import Table

    took = estimate(recipe, profile_name, batch=batch, device=_device(recipe.profile(profile_name)))
    if took.calls:
        table = Table("stage", "calls", "tokens in", "tokens out", "cost")
        for name, part in [*took.stages.items(), ("together", took)]:
            cost = "?" if part.cost is None else f"${part.cost:,.4f}"
            table.add_row(name, f"{part.calls:,}", f"{part.input_tokens:,}", f"{part.output_tokens:,}", cost)
        console.print(table)
        console.print(_about(took, batch), highlight=False, markup=False, soft_wrap=True)
        if took.fallback:
            console.print(_about_fallback(took, batch), highlight=False, markup=False, soft_wrap=True)
    else:
        console.print("no LLM calls, no cost", highlight=False)
    on = _gpu_time(recipe.profile(profile_name), took)
    line = f"{took.images:,} images, {on}; {_size(took.disk_bytes)} of disk"
    console.print(line, highlight=False, markup=False, soft_wrap=True)
    if probe:
        said = _probed(recipe.profile(profile_name), took.images)
        console.print(said, highlight=False, markup=False, soft_wrap=True)
    for line in _controls(recipe):
        console.print(f"controls: {line}", highlight=False, markup=False, soft_wrap=True)
    for hint in hints.hints(recipe.profile(profile_name)):
        console.print(f"hint: {hint}", highlight=False, markup=False, soft_wrap=True)


def _copies(recipe: Recipe, images: int) -> int:
    """How many degraded copies judges are shown."""
    return round(recipe.labels.copies * images) if recipe.ranked else 0


def _controls(recipe: Recipe) -> list[str]:
    """What the negative controls take, drawn ones and questions."""
    found, count, share = [], negative.planned(recipe), recipe.labels.controls
    if count:
        found.append(f"{count} pairs ({2 * count} of the images), drawn and judged but in no dataset")
    elif share and recipe.ranked:
        found.append(f"none is drawn: with pairing = {recipe.pairing!r} all images of a prompt are of one wording")
    elif share:
        least = math.ceil(negative.LEAST / share)
        found.append(f"none is drawn: labels.controls = {share:g} tells nothing of fewer than {least} prompts")
    if questions := len(recipe.labels.questions):
        texts = f"{questions} question{'s' * (questions > 1)}, {2 * questions} more texts an image"
        found.append(f"{texts}; no picture is drawn for them and no server asked")
    if copies := _copies(recipe, recipe.prompts.count * sum(recipe.images_each().values())):
        found.append(f"{copies:,} degraded copies are shown to all judges, and drawn by nobody")
    elif recipe.labels.copies:
        why = f"with pairing = {recipe.pairing!r} wordings say which image should be better"
        found.append(f"no copy is degraded: {why}")
    return found


def _probed(profile: Profile, images: int) -> str:
    """How long the images take one process of this machine, by drawing a few. ModelError as a run would."""
    seconds = []
    for model, revision in doctor.models_of(profile):
        if generators.is_own(model):
            return f"not probed: who draws {model} may want to be paid for it"
        seconds.append(generators.probe(profile.model_copy(update={"model": model, "revision": revision})))
    each = sum(seconds) / len(seconds)
    return f"probe: {each:.3g} s an image in one process here, {_time(images * each)} for all of them"


def _time(seconds: float) -> str:
    """Seconds in the unit that a person would say them in."""
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _about(took: Estimate, batch: bool) -> str:
    """Where the prices come from, and what is not in them."""
    if any(part.cost is None for name, part in took.stages.items() if name.startswith(IMAGES)):
        return f"a model that a server draws with has no price: {prices.HOW_TO_PRICE_PICTURES}"
    if took.cost is None:
        name = f"{took.model!r} has no price" if took.model else "no model is named (DATAGEN_LLM_MODEL)"
        return f"{name}: {prices.HOW_TO_PRICE}"
    mode = " through the Batch API" if batch else ""
    thinking = f"; a model that thinks is billed for its thoughts, up to ${took.most:,.4f}" if took.most else ""
    return (
        f"{took.model}{mode}, from nothing: replies in the cache cost nothing; corrections of unreadable replies come "
        f"on top{thinking}"
    )


def _about_fallback(took: Estimate, batch: bool) -> str:
    """What the model costs that is asked for what the first does not answer."""
    name = f"the fallback model {took.fallback}"
    if batch:
        return f"{name} is not asked through the Batch API: leave out --batch, or DATAGEN_LLM_FALLBACK_MODEL"
    if took.by_fallback is None:
        return f"{name} is not counted and has no price: {prices.HOW_TO_PRICE}"
    return f"{name} is not counted: up to ${took.by_fallback:,.4f} more, if it had to write everything"


def _fallback(written: list[Usage]) -> tuple[str, float | None]:
    """The fallback model, "" where none is named or nothing is written, and what all that is written costs by it."""
    base_url, model = environment.fallback_named()
    if not model or not written:
        return "", 0.0
    price = prices.Prices.load(base_url=base_url).of(model)
    if price is None:
        return model, None
    return model, sum(price.cost(part.input_tokens, part.output_tokens) for part in written)


def _price(recipe: Recipe) -> tuple[prices.Price | None, str]:
    """The price of the model that the run would ask, and its name."""
    base_url, model = environment.named(recipe.llm.model)
    return prices.Prices.load(base_url=base_url).of(model), model


def _asked(request: Request) -> int:
    """The tokens of a request: its texts, its schema, and what a chat template puts around them."""
    text = sum(len(message.text) for message in request.messages) / TEXT_CHARS
    schema = 0.0 if request.reply is None else len(json.dumps(schema_of(request.reply))) / SCHEMA_CHARS
    return round(text + schema) + REQUEST_TOKENS + MESSAGE_TOKENS * len(request.messages)


def _gpu_time(profile: Profile, took: Estimate) -> str:
    """The GPU hours in words, with the model whose figures stand for those of one like it."""
    known = _needs(profile)
    if took.gpu_hours is None:
        unknown = [model for model, needs in known.items() if needs is None or took.device not in needs.seconds]
        return f"GPU hours not known: {TABLE} has no seconds of {', '.join(unknown)} on one {took.device}"
    like = sorted({needs.entry for model, needs in known.items() if needs and not model.endswith(needs.entry)})
    hours = f"{took.gpu_hours:,.2f} GPU hours on one {took.device}" if took.gpu_hours else "no GPU needed"
    return f"{hours} (as {', '.join(like)})" if like else hours


def _seconds(profile: Profile, device: str) -> float | None:
    """GPU seconds an image, the average of a profile's models; 0 without a GPU, None if those of one are not known."""
    total, known = 0.0, list(_needs(profile).values())
    for needs in known:
        if needs is None or (needs.gpu_gib and device not in needs.seconds):
            return None
        if needs.gpu_gib:
            share = profile.steps / needs.steps * profile.width * profile.height / needs.side**2
            total += share * needs.seconds[device]
    return total / len(doctor.models_of(profile))


def _needs(profile: Profile) -> dict[str, Needs | None]:
    """Of the models that are drawn with here."""
    here = [of for of in doctor.models_of(profile) if generators.bill(of[0], profile.width, profile.height) is None]
    return {model: generators.needs(model, revision) for model, revision in here}


def _device(profile: Profile) -> str:
    """The GPU of this machine, if the seconds of the profile's models are known on it."""
    names = {name for needs in _needs(profile).values() if needs for name in needs.seconds}
    found = doctor.gpu() if names else None  # looking imports torch
    return next((name for name in sorted(names) if found and name in found[0]), DEVICE)


def _size(count: int) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
