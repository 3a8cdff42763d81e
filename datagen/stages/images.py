"""Prompts → images: what each prompt asks for, made by the profile's generator, or candidates by several in turn.

Every row can be made again alone, from its own fields. A refused prompt keeps its rows, but not its text.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from datagen import generators, recipe, safety
from datagen.generators import kept
from datagen.generators.protocol import ContentError, Generator, Request
from datagen.images import ahead, encode
from datagen.recipe import OF_OTHERS, Profile
from datagen.records import Image, Principle, Prompt, Written, content_id, seed_for
from datagen.stages import LIBRARIES, Context, Shard, Stage, one_a_model

if TYPE_CHECKING:
    from PIL import Image as Pillow


Want = tuple[Prompt, str, int]  # prompt, side, index
WAITING = 32  # pictures whose files are being made: no more are held in memory, and a batch of them is encoded at once
CUT = "wording longer than the model reads"
NEGATIVE_CUT = "negative prompt longer than the model reads"
RESEEDED = "drawn with another seed, as its own gave a picture that shows nothing"
NEGATIVE_IDLE = "negative prompt without effect, as guidance is not above 1"
SERVED = "endpoint:"  # what models begin with that a server draws with


def run(context: Context, shard: Shard) -> Written[Image]:
    """One row an image that the shard's prompts ask for, prompt by prompt, sides and indices in order."""
    wanted = [(prompt, side, index) for prompt in shard.rows(Prompt) for side, index in _sides(context)]
    models = _models(context.profile)
    statements = {principle.principle_id: principle.statement for principle in shard.rows(Principle)}
    rows: dict[tuple[str, str, int], Image] = {}
    for place, model in sorted(enumerate(models), key=_paid):  # one after the other: each may fill the memory
        asked = [(want, _request(context, *want, statements)) for want in wanted if want[2] % len(models) == place]
        rows |= _make(context, model, asked)
    return Written([rows[prompt.prompt_id, side, index] for prompt, side, index in wanted])


def check(context: Context) -> None:
    """Draw a test picture with each of the profile's models, as its images are to be drawn."""
    for _, model in sorted(enumerate(_models(context.profile)), key=_paid):
        generators.rehearse(model, context.llm)


def remarks(row: Image) -> list[str]:
    """What was asked of an image and did not count, why there is none, and what is to be known of its generator."""
    found = [note for note in (*row.notes.split("; "), (row.error or "")[:200]) if note]
    if row.unread:
        found.append(CUT)
    if row.negative_unread:
        found.append(NEGATIVE_CUT if row.guidance > 1 else NEGATIVE_IDLE)
    return found


def _models(profile: Profile) -> list[Profile]:
    """The profile once for each of its generators; revision, VAE, prediction and adapters belong to the first."""
    others = [profile.model_copy(update={"model": model, **OF_OTHERS}) for model in profile.other_models]
    return [profile, *others]


def _paid(placed: tuple[int, Profile]) -> bool:
    """Whether a server draws: it comes last, so that a model which does not work here costs nothing."""
    return placed[1].model.startswith(SERVED)


def _make(context: Context, model: Profile, requests: list[tuple[Want, Request]]) -> dict[tuple[str, str, int], Image]:
    """The rows that one generator makes, by prompt id, side and index."""
    generator = generators.load(model)
    asked: list[tuple[Want, Request]] = []
    rows: list[Image] = []
    for want, request in requests:
        reason = _refusal(want[0])
        if reason is None:
            asked.append((want, request))
        else:
            rows.append(_failed(_row(generator, want, request), ContentError(reason)))
    # Files are made by threads while the generator draws on.
    finish = functools.partial(_finished, context.recipe.images)
    rows += ahead.prefetch(finish, _drawn(context, generator, asked), WAITING)
    return {(row.prompt_id, row.side, row.index): row for row in rows}


def _drawn(
    context: Context, generator: Generator, asked: Sequence[tuple[Want, Request]]
) -> Iterator[tuple[Image, Pillow.Image | ContentError]]:
    """A row without its image, and that, of each request as it is done."""
    for place, drawn, result in generators.draw(generator, [request for _, request in asked], context.llm):
        want, request = asked[place]
        row = _row(generator, want, drawn)
        if drawn.seed != request.seed:
            row = dataclasses.replace(row, notes="; ".join(filter(None, (row.notes, RESEEDED))))
        yield row, result


def _finished(how: recipe.Images, drawn: tuple[Image, Pillow.Image | ContentError]) -> Image:
    """The row with its image in a file, or with the reason why there is none."""
    row, result = drawn
    if isinstance(result, ContentError):
        return _failed(row, result)
    row = dataclasses.replace(row, width=result.width, height=result.height)
    data = kept.file_of(row, result, how.format, metadata=how.metadata)
    software = "; ".join(filter(None, (row.software, encode.software(how.format))))
    return dataclasses.replace(row, image=data, image_id=hashlib.sha256(data).hexdigest()[:16], software=software)


def _failed(row: Image, error: ContentError) -> Image:
    """The row of an image that there is none of; without its text where that was refused."""
    if str(error).startswith("refused"):
        row = dataclasses.replace(row, text="", negative="")
    return dataclasses.replace(row, error=str(error))


def gpus(profile: Profile) -> int:
    """The GPUs of a worker: none where a server draws."""
    return 0 if profile.model.startswith(SERVED) else one_a_model(profile)


def one_machine(profile: Profile) -> bool:
    """Whether a server draws some of the images, which is paid for."""
    return any(model.startswith(SERVED) for model in (profile.model, *profile.other_models))


def _sides(context: Context) -> list[tuple[str, int]]:
    """(side, index) of the images of one prompt."""
    return [(side, index) for side, count in context.recipe.images_each().items() for index in range(count)]


def _request(context: Context, prompt: Prompt, side: str, index: int, statements: Mapping[str, str]) -> Request:
    """What the generator is asked for; equal noise for both sides if the recipe says so.

    A value encoder steers towards the prompt's first principle what is to keep it, and so not the rejected side.
    """
    text, negative = {
        "chosen": (prompt.chosen_prompt, prompt.chosen_negative),
        "rejected": (prompt.rejected_prompt, prompt.rejected_negative),
        "candidate": (prompt.prompt, ""),
    }[side]
    shared = context.recipe.same_seed or side == "candidate"
    draw = index if shared else 2 * index + (side == "rejected")
    profile = context.profile
    return Request(
        text=text,
        negative=negative,
        seed=seed_for(context.recipe.seed, prompt.prompt_id, draw),
        steps=profile.steps,
        guidance=profile.guidance,
        width=profile.width,
        height=profile.height,
        principle="" if side == "rejected" else statements.get(prompt.principle_id, ""),
    )


def _refusal(prompt: Prompt) -> str | None:
    """Why nothing is generated for a prompt, or None."""
    if prompt.error is not None:
        return f"the prompt failed: {prompt.error}"
    texts = (prompt.prompt, prompt.chosen_prompt, prompt.rejected_prompt)
    return safety.refusal_of_row(texts, (prompt.chosen_negative, prompt.rejected_negative))


def _row(generator: Generator, want: Want, request: Request) -> Image:
    """All of a row but its image; to be asked for as soon as that is drawn."""
    prompt, side, index = want
    return Image(
        image_id=content_id("failed", prompt.prompt_id, side, index),
        prompt_id=prompt.prompt_id,
        side=side,
        index=index,
        text=request.text,
        negative=request.negative,
        seed=request.seed,
        generator=generator.name,
        generator_revision=generator.revision,
        steps=request.steps,
        guidance=request.guidance,
        width=request.width,
        height=request.height,
        image=None,
        **dataclasses.asdict(generator.means(request)),
    )


STAGE = Stage(
    "images",
    Image,
    run,
    version=2,
    check=check,
    remarks=remarks,
    libraries=LIBRARIES,
    gpus=gpus,
    one_machine=one_machine,
)
