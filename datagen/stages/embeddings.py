"""Images → embeddings: what each backbone of the judges makes of each image, so that it can be judged without it.

An image that failed, or that cannot be decoded, has a row with the error.
"""

from __future__ import annotations

from datagen.judges import panel
from datagen.records import Embedding, Image, Vector, Written
from datagen.stages import Context, Shard, Stage


def run(context: Context, shard: Shard) -> Written[Embedding]:
    """Rows for each image and backbone, in this order; none where no judge reads embeddings."""
    readers = [judge for judge in panel.load(context.profile.judges) if panel.backbones([judge])]
    names = list(panel.backbones(readers))
    rows: list[Embedding] = []
    for images in panel.chunks(shard.rows(Image) if names else []):
        questions = [panel.Question(image.image, (), panel.failed(image.image, image.error)) for image in images]
        for image, answer in zip(images, panel.ask(readers, questions), strict=True):
            found = {name: answer.embeddings.get(name) for name in names}
            rows += [
                Embedding(
                    image_id=image.image_id,
                    prompt_id=image.prompt_id,
                    backbone=name,
                    vector=Vector([] if vector is None else vector.tolist()),
                    error=answer.error,
                )
                for name, vector in found.items()
            ]
    return Written(rows)


STAGE = Stage("embeddings", Embedding, run)
