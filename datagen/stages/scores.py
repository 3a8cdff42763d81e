"""Images → scores: what each judge says of each image against its prompt's three texts.

Each image is decoded once for all judges, and given once to each of them for all three axes. An image that failed, or
that cannot be decoded, keeps its rows with the error.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from datagen import judges
from datagen.images.decode import Unreadable, decode
from datagen.labels.aggregate import AXES
from datagen.records import Image, Prompt, Score, Written
from datagen.stages import Context, Shard, Stage

if TYPE_CHECKING:
    from PIL import Image as Pillow


CHUNK = 64  # images in memory at a time


def run(context: Context, shard: Shard) -> Written[Score]:
    """Rows for each image, judge and axis, in this order."""
    prompts = {prompt.prompt_id: prompt for prompt in shard.rows(Prompt)}
    panel = [judges.load(name, context.profile) for name in context.profile.judges]
    rows: list[Score] = []
    images = shard.rows(Image)
    for start in range(0, len(images), CHUNK):
        rows += _judge(panel, images[start : start + CHUNK], prompts)
    return Written(rows)


def _judge(panel: list[judges.Judge], images: list[Image], prompts: dict[str, Prompt]) -> list[Score]:
    """The rows of a few images."""
    results = [_decode(image) for image in images]
    good = [k for k, result in enumerate(results) if not isinstance(result, str)]
    decoded: list[Pillow.Image] = [result for result in results if not isinstance(result, str)]
    texts = [text for axis in AXES for k in good for text in [_text(prompts[images[k].prompt_id], axis)]]
    values: dict[tuple[int, str, str], float] = {}
    for judge in panel:
        scores = judge.score(decoded * len(AXES), texts)
        places = [(k, axis) for axis in AXES for k in good]
        values.update({(k, judge.name, axis): float(v) for (k, axis), v in zip(places, scores, strict=True)})
    return [
        Score(
            image_id=image.image_id,
            prompt_id=image.prompt_id,
            judge=judge.name,
            judge_version=judge.version,
            axis=axis,
            value=_or_none(values.get((k, judge.name, axis), math.nan)),
            error=result if isinstance(result := results[k], str) else None,
        )
        for k, image in enumerate(images)
        for judge in panel
        for axis in AXES
    ]


def _decode(image: Image) -> Pillow.Image | str:
    """The picture, or why there is none."""
    if image.image is None:
        return f"no image: {image.error}"
    try:
        return decode(image.image)
    except Unreadable as error:
        return str(error)


def _text(prompt: Prompt, axis: str) -> str:
    return {"match": prompt.prompt, "aligned": prompt.chosen_prompt, "violating": prompt.rejected_prompt}[axis]


def _or_none(value: float) -> float | None:
    """NaN is how a judge abstains; in a table it is null."""
    return None if math.isnan(value) else value


STAGE = Stage("scores", Score, run)
