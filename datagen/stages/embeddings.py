"""Images → embeddings: what each backbone of the judges makes of each image, so that it can be judged without it.

An image that failed, or that cannot be decoded, has a row with the error.
"""

from __future__ import annotations

import itertools

from datagen.judges import panel
from datagen.records import Embedding, Image, Vector, Written
from datagen.stages import LIBRARIES, Context, Shard, Stage, one_a_model


def run(context: Context, shard: Shard) -> Written[Embedding]:
    """Rows for each image and backbone, in this order; none where no judge reads embeddings."""
    readers = [judge for judge in panel.load(context.profile.judges) if panel.backbones([judge])]
    names = list(panel.backbones(readers))
    images = shard.rows(Image) if names else []
    questions = (panel.Question(image.image, (), panel.failed(image.image, image.error)) for image in images)
    answers = itertools.chain.from_iterable(panel.stream(readers, panel.chunks(questions)))
    rows: list[Embedding] = []
    for image, answer in zip(images, answers, strict=True):
        for name in names:
            vector = answer.embeddings.get(name)
            found = Vector([] if vector is None else vector.tolist())
            rows.append(Embedding(image.image_id, image.prompt_id, name, found, answer.error))
    return Written(rows)


STAGE = Stage("embeddings", Embedding, run, libraries=LIBRARIES, gpus=one_a_model)
