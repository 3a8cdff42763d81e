"""Images → scores: what each judge says of each image by each axis, and of two images by one.

All images of a prompt are judged by the same texts. Each image is decoded once for all judges, and not at all for
those that read its embeddings. An image that failed, or that cannot be decoded, keeps its rows with the error.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import io
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from datagen.errors import ModelError
from datagen.images import worse
from datagen.images.decode import Unreadable
from datagen.judges import Judge, panel
from datagen.judges.protocol import Backbone
from datagen.judges.vectors import unit
from datagen.labels import axes, judged, pairing, verdicts, wordings
from datagen.labels.axes import Asked
from datagen.recipe import Profile, Recipe
from datagen.records import NEGATIVE, Embedding, Image, Principle, Prompt, Score, Written
from datagen.stages import LIBRARIES, Context, Shard, Stage, one_a_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def run(context: Context, shard: Shard) -> Written[Score]:
    """Rows for each tier of judges: for each image, judge, axis and category in this order, then those of two images.

    An image that a judge need not see, since all pairs that it is in are settled, has one row for that judge.
    """
    principles = {principle.principle_id: principle for principle in shard.rows(Principle)}
    asked = axes.of_shard(shard.rows(Prompt), principles, context.recipe.labels.questions)
    rows: list[Score] = []
    heard: list[Judge] = []
    for tier in _tiers(context.profile):
        left = _left_open(context, shard, rows, heard)
        rows += _tier(tier, Shard({**shard.tables, Image: left}), asked)
        rows += _of_copies(context.recipe, tier, shard, asked)
        seen = {(image.prompt_id, image.image_id) for image in left}
        spared = [image for image in shard.rows(Image) if (image.prompt_id, image.image_id) not in seen]
        rows += [_settled(image, judge) for image in spared for judge in tier]
        heard += tier
    return Written(rows)


def one_machine(profile: Profile) -> bool:
    """Whether a judge asks a server, which is paid for; judges that cannot be had here are passed over."""
    for choice in profile.judges:
        with contextlib.suppress(ModelError):
            if panel.servers(panel.load([choice])):
                return True
    return False


def _tiers(profile: Profile) -> list[list[Judge]]:
    """The judges in the order in which they are asked."""
    if not profile.tiers:
        return [panel.load(profile.judges)]
    chosen = {choice.name: choice for choice in profile.judges}
    panel.load(profile.judges)  # refuses two of one name, whatever their tiers
    return [panel.load(chosen[name] for name in tier) for tier in profile.tiers]


def _left_open(context: Context, shard: Shard, rows: list[Score], heard: list[Judge]) -> list[Image]:
    """The images of the pairs that the judges that were heard do not decide."""
    images = shard.rows(Image)
    if not heard:
        return images
    tables = (shard.rows(Prompt), shard.rows(Principle), images, rows)
    open_ = {
        (of.prompt.prompt_id, image_id)
        for of in judged.by_prompt(*tables, judged.readings(heard))
        for image_id in pairing.left_open(context.recipe, verdicts.of(of))
    }
    # Of what judges are learnt from, all of them speak: negative controls, and images with a degraded copy.
    controls = {prompt.prompt_id for prompt in shard.rows(Prompt) if prompt.role == NEGATIVE}
    return [
        image
        for image in images
        if image.prompt_id in controls
        or worse.drawn(image.image_id, _copied(context.recipe))
        or (image.prompt_id, image.image_id) in open_
    ]


def _settled(image: Image, judge: Judge) -> Score:
    return Score(image.image_id, image.prompt_id, judge.name, judge.version, axes.SETTLED, None)


def _tier(judges: list[Judge], shard: Shard, asked: dict[str, Asked]) -> list[Score]:
    """What some judges say of all images of a shard."""
    known: dict[str, list[Embedding]] = collections.defaultdict(list)
    for embedding in shard.rows(Embedding):
        known[embedding.image_id].append(embedding)
    rows: list[Score] = []
    images = shard.rows(Image)
    questions = (_question(image, asked[image.prompt_id], known[image.image_id]) for image in images)
    for image, answer in zip(
        images, itertools.chain.from_iterable(panel.stream(judges, panel.chunks(questions))), strict=True
    ):
        for judge in judges:
            rows += _scores(image, judge, answer, asked[image.prompt_id])
    return [*rows, *_wordings(judges, shard), *_duels(judges, shard, asked)]


def _copied(recipe: Recipe) -> float:
    """The share of the images of which judges are shown a degraded copy."""
    return recipe.labels.copies if recipe.ranked else 0.0


def _of_copies(recipe: Recipe, judges: list[Judge], shard: Shard, asked: dict[str, Asked]) -> list[Score]:
    """What some judges say of degraded copies of candidates: the same as of an image, under a name of its own."""
    rows: list[Score] = []
    drawn = (image for image in shard.rows(Image) if worse.drawn(image.image_id, _copied(recipe)))
    for some in panel.chunks(drawn):
        copies = []
        for image in some:
            with contextlib.suppress(Unreadable):  # which the image's own rows say
                question = _question(image, asked[image.prompt_id], ())
                copy = worse.copy(image.image or b"", image.image_id)
                copies.append((image, dataclasses.replace(question, source=copy)))
        for (image, _), answer in zip(copies, panel.ask(judges, [question for _, question in copies]), strict=True):
            name = verdicts.copy_id(image.image_id, worse.kind_of(image.image_id))
            for judge in panel.able(judges, "score"):
                rows += _scores(dataclasses.replace(image, image_id=name), judge, answer, asked[image.prompt_id])
    return rows


def remarks(row: Score) -> list[str]:
    """That a judge was spared an image, or how its answer was read."""
    settled = [f"{row.judge} was not asked: settled before"] if row.axis == axes.SETTLED else []
    return settled + ([f"{row.judge}: {row.note}"] if row.note else [])


def check(context: Context) -> None:
    """Have the judges look at a test picture, which loads them."""
    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.linear_gradient("L").convert("RGB").save(file, "PNG")
    judges, data = panel.load(context.profile.judges), file.getvalue()
    with panel.connected(judges, context.llm):
        panel.ask(judges, [panel.Question(data, ("a chair",), questions=("Does this image show a chair?",))])
        panel.compare(judges, [panel.Duel(data, data, "a chair")])


def _question(image: Image, asked: Asked, known: Sequence[Embedding]) -> panel.Question:
    """What the judges are asked of an image."""
    import numpy as np

    return panel.Question(
        image.image,
        asked.texts,
        next((embedding.error for embedding in known if embedding.error), panel.failed(image.image, image.error)),
        (asked.question,),
        axes.of_dear(asked),
        {embedding.backbone: np.asarray(embedding.vector, np.float32) for embedding in known},
    )


def _scores(image: Image, judge: Judge, answer: panel.Answer, asked: Asked) -> Iterator[Score]:
    """The rows of one image and judge."""

    def row(axis: str, value: float, category: str = "") -> Score:
        said = None if math.isnan(value) else value
        who = (image.image_id, image.prompt_id, judge.name, judge.version)
        return Score(*who, axis, said, answer.error_of(judge.name) if said is None else None, category, note=note)

    categories, note = judge.facts.categories or ("",), panel.notes(judge)
    scores = answer.scores.get(judge.name)
    if scores is not None and not judge.facts.reads_text:
        for category, value in zip(categories, scores[0], strict=True):
            yield row(axes.IMAGE, float(value), category)
    elif scores is not None:
        for column, category in enumerate(categories):
            for axis, value in axes.by_axis(scores[:, column].tolist()).items():
                yield row(axis, value, category)
    if judge.name in answer.replies:
        yield row(axes.QUESTION, float(answer.replies[judge.name][0]))


def _directions(backbone: Backbone, texts: Sequence[str]) -> NDArray[np.float64]:
    """(texts, dimensions), of length 1."""
    return unit(backbone.texts(texts))


def _wordings(judges: Sequence[Judge], shard: Shard) -> Iterator[Score]:
    """What the judges that read texts by a backbone say of the wordings that images were drawn from."""
    principles = {principle.principle_id: principle for principle in shard.rows(Principle)}
    # The wordings of negative controls are not their prompts' own, as they should not be.
    own = {prompt.prompt_id for prompt in shard.rows(Prompt) if prompt.role != NEGATIVE}
    drawn = [
        image
        for image in shard.rows(Image)
        if image.side in wordings.SIDES and image.image is not None and image.prompt_id in own
    ]
    for judge in judges if drawn else ():
        if not judge.facts.reads_text:
            continue
        for backbone in panel.backbones([judge]).values():
            embed = functools.partial(_directions, backbone)
            said = wordings.nearness(shard.rows(Prompt), principles, embed)
            for image in drawn:
                value = said.get((image.prompt_id, image.side))
                yield Score(image.image_id, image.prompt_id, judge.name, judge.version, axes.WORDING, value)


def _duels(judges: Sequence[Judge], shard: Shard, asked: dict[str, Asked]) -> list[Score]:
    """What is said of two images of one prompt, each of them shown first once."""
    able = panel.able(judges, "compare")
    met = [two for own in _by_prompt(shard).values() for two in _rivals(own)] if able else []
    rows: list[Score] = []
    for some in panel.chunks(met):
        duels = [panel.Duel(a.image or b"", b.image or b"", asked[a.prompt_id].contest) for a, b in some]
        for (one, other), said in zip(some, panel.compare(able, duels), strict=True):
            for judge in able:
                for first, second, value in zip((one, other), (other, one), said[judge.name], strict=True):
                    rows.append(
                        Score(
                            image_id=first.image_id,
                            prompt_id=first.prompt_id,
                            judge=judge.name,
                            judge_version=judge.version,
                            axis=axes.BEATS,
                            value=None if math.isnan(value.p) else value.p,
                            error=value.failure,
                            opponent=second.image_id,
                            note=panel.notes(judge),
                        )
                    )
    return rows


def _by_prompt(shard: Shard) -> dict[str, list[Image]]:
    """The images that can be looked at, by prompt."""
    found: dict[str, list[Image]] = collections.defaultdict(list)
    for image in shard.rows(Image):
        if image.error is None and image.image is not None:
            found[image.prompt_id].append(image)
    return found


def _rivals(images: list[Image]) -> list[tuple[Image, Image]]:
    """Which images of one prompt meet: those of two sides that have the same index, and each candidate the next."""
    sides: dict[str, list[Image]] = collections.defaultdict(list)
    for image in images:
        sides[image.side].append(image)
    if len(sides) > 1:
        rejected = {image.index: image for image in sides["rejected"]}
        return [(image, rejected[image.index]) for image in sides["chosen"] if image.index in rejected]
    met = list(zip(images, images[1:], strict=False))
    return met + ([(images[-1], images[0])] if len(images) > 2 else [])


STAGE = Stage(
    "scores",
    Score,
    run,
    version=4,
    check=check,
    remarks=remarks,
    libraries=LIBRARIES,
    gpus=one_a_model,
    one_machine=one_machine,
)
