"""Images → scores: what each judge says of each image against its prompt's three texts.

Each image is decoded once for all judges, and given once to each of them for all three axes. An image that failed, or
that cannot be decoded, keeps its rows with the error.
"""

from __future__ import annotations

import io

from datagen.judges import panel
from datagen.labels.aggregate import AXES
from datagen.records import Image, Prompt, Score, Written
from datagen.stages import Context, Shard, Stage


def run(context: Context, shard: Shard) -> Written[Score]:
    """Rows for each image, judge and axis, in this order."""
    prompts = {prompt.prompt_id: prompt for prompt in shard.rows(Prompt)}
    judges = panel.load(context.profile.judges)
    rows: list[Score] = []
    for images in panel.chunks(shard.rows(Image)):
        answers = panel.ask(judges, [_question(image, prompts[image.prompt_id]) for image in images])
        rows += [
            Score(
                image_id=image.image_id,
                prompt_id=image.prompt_id,
                judge=judge.name,
                judge_version=judge.version,
                axis=axis,
                value=value,
                error=answer.error,
            )
            for image, answer in zip(images, answers, strict=True)
            for judge in judges
            for axis, value in zip(AXES, answer.values[judge.name], strict=True)
        ]
    return Written(rows)


def check(context: Context) -> None:
    """Have the judges look at a test picture, which loads them."""
    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.linear_gradient("L").convert("RGB").save(file, "PNG")
    panel.ask(panel.load(context.profile.judges), [panel.Question(file.getvalue(), ("a chair",))])


def _question(image: Image, prompt: Prompt) -> panel.Question:
    """What the judges are asked of an image, one text an axis."""
    texts = {"match": prompt.prompt, "aligned": prompt.chosen_prompt, "violating": prompt.rejected_prompt}
    error = f"no image: {image.error}" if image.image is None else None
    return panel.Question(image.image, tuple(texts[axis] for axis in AXES), error)


STAGE = Stage("scores", Score, run, check=check)
