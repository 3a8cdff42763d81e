"""Prompts → images: what each prompt asks for, made by the profile's generator, or candidates by several in turn.

Every row can be made again alone, from its own fields. A refused prompt keeps its rows, but not its text.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
from typing import TYPE_CHECKING

from datagen import generators, safety
from datagen.generators.protocol import ContentError, Generator, Request
from datagen.recipe import Profile
from datagen.records import Image, Prompt, Written, content_id, seed_for
from datagen.stages import LIBRARIES, Context, Shard, Stage

if TYPE_CHECKING:
    from PIL import Image as Pillow


Want = tuple[Prompt, str, int]  # prompt, side, index
CUT = "wording longer than the model reads"
NEGATIVE_CUT = "negative prompt longer than the model reads"
RESEEDED = "drawn with another seed, as its own gave a picture that shows nothing"
NEGATIVE_IDLE = "negative prompt without effect, as guidance is not above 1"


def run(context: Context, shard: Shard) -> Written[Image]:
    """One row an image that the shard's prompts ask for, prompt by prompt, sides and indices in order."""
    wanted = [(prompt, side, index) for prompt in shard.rows(Prompt) for side, index in _sides(context)]
    models = _models(context.profile)
    rows: dict[tuple[str, str, int], Image] = {}
    for place, model in enumerate(models):  # one after the other: each may fill the memory
        rows |= _make(context, model, [want for want in wanted if want[2] % len(models) == place])
    return Written([rows[prompt.prompt_id, side, index] for prompt, side, index in wanted])


def check(context: Context) -> None:
    """Draw a test picture with each of the profile's models, as its images are to be drawn."""
    for model in _models(context.profile):
        generators.rehearse(model)


def remarks(row: Image) -> list[str]:
    """What was asked of an image and did not count, why there is none, and what is to be known of its generator."""
    found = [note for note in (*row.notes.split("; "), (row.error or "")[:200]) if note]
    if row.unread:
        found.append(CUT)
    if row.negative_unread:
        found.append(NEGATIVE_CUT if row.guidance > 1 else NEGATIVE_IDLE)
    return found


def _models(profile: Profile) -> list[Profile]:
    """The profile once for each of its generators; the revision and the VAE belong to the first."""
    alone = {"revision": "", "vae": ""}
    others = [profile.model_copy(update={"model": model, **alone}) for model in profile.other_models]
    return [profile, *others]


def _make(context: Context, model: Profile, wanted: list[Want]) -> dict[tuple[str, str, int], Image]:
    """The rows that one generator makes, by prompt id, side and index."""
    generator = generators.load(model)
    asked: list[tuple[Want, Request]] = []
    rows: list[tuple[Want, Image]] = []
    for want in wanted:
        request, reason = _request(context, *want), _refusal(want[0])
        if reason is None:
            asked.append((want, request))
        else:
            rows.append((want, _row(generator, want, request, ContentError(reason))))
    for place, drawn, result in generators.draw(generator, [request for _, request in asked]):
        want, request = asked[place]
        row = _row(generator, want, drawn, result)
        if drawn.seed != request.seed:
            row = dataclasses.replace(row, notes="; ".join(filter(None, (row.notes, RESEEDED))))
        rows.append((want, row))
    return {(prompt.prompt_id, side, index): row for (prompt, side, index), row in rows}


def _sides(context: Context) -> list[tuple[str, int]]:
    """(side, index) of the images of one prompt."""
    return [(side, index) for side, count in context.recipe.images_each().items() for index in range(count)]


def _request(context: Context, prompt: Prompt, side: str, index: int) -> Request:
    """What the generator is asked for; equal noise for both sides if the recipe says so."""
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
    )


def _refusal(prompt: Prompt) -> str | None:
    """Why nothing is generated for a prompt, or None."""
    if prompt.error is not None:
        return f"the prompt failed: {prompt.error}"
    texts = (prompt.prompt, prompt.chosen_prompt, prompt.rejected_prompt)
    return safety.refusal_of_row(texts, (prompt.chosen_negative, prompt.rejected_negative))


def _row(generator: Generator, want: Want, request: Request, result: Pillow.Image | ContentError) -> Image:
    prompt, side, index = want
    error = str(result) if isinstance(result, ContentError) else None
    data = None if isinstance(result, ContentError) else _png(result)
    if error is not None and error.startswith("refused"):
        request = dataclasses.replace(request, text="", negative="")
    return Image(
        image_id=content_id("failed", prompt.prompt_id, side, index)
        if data is None
        else hashlib.sha256(data).hexdigest()[:16],
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
        image=data,
        error=error,
        **dataclasses.asdict(generator.means(request)),
    )


def _png(image: Pillow.Image) -> bytes:
    """Lossless and equal for equal pixels; level 1: the default takes four times as long for a twentieth less."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


STAGE = Stage("images", Image, run, version=2, check=check, remarks=remarks, libraries=LIBRARIES)
