"""Images and labels → pairs: two images of one prompt with the probability that their order is right.

Only what the labels say is a pair becomes a row; the others are counted by reason.
"""

from __future__ import annotations

import collections
import json

from datagen.images.kinds import suffix_of
from datagen.labels import aggregate, judged
from datagen.labels.judged import Judged
from datagen.records import Image, Label, Pair, Picture, Principle, Prompt, Score, Written, content_id
from datagen.stages import Context, Shard, Stage


def run(context: Context, shard: Shard) -> Written[Pair]:
    """The pairs of the shard's prompts, in order, and how many were dropped for which reason."""
    tables = (shard.rows(Prompt), shard.rows(Principle), shard.rows(Image), shard.rows(Score))
    found = judged.by_prompt(*tables, readings={})  # the labels are there: nothing is read of the scores
    labels: dict[str, list[Label]] = collections.defaultdict(list)
    for label in shard.rows(Label):
        labels[label.prompt_id].append(label)
    dropped = collections.Counter(label.reason for label in shard.rows(Label) if label.reason is not None)
    rows = [_pair(context, of, label) for of in found for label in labels[of.prompt.prompt_id] if label.reason is None]
    return Written(rows, dict(dropped))


def _pair(context: Context, of: Judged, label: Label) -> Pair:
    """The row of two images, with all that it takes to draw them again."""
    images = {image.image_id: image for image in reversed(of.images)}
    chosen, rejected = images[label.chosen_id], images[label.rejected_id]
    assert chosen.image and rejected.image and label.probability is not None  # those of failed images were dropped
    prompt, sides = of.prompt, {"chosen": chosen, "rejected": rejected}
    by_side = {side: of.scored[image.image_id] for side, image in sides.items()}
    alike = (chosen.width, chosen.height) == (rejected.width, rejected.height)
    both = by_side["chosen"].keys() & by_side["rejected"].keys()
    scores = {name: {side: scored[name] for side, scored in by_side.items()} for name in both}
    return Pair(
        pair_id=content_id(prompt.prompt_id, chosen.image_id, rejected.image_id),
        prompt=prompt.prompt,
        principle="; ".join(principle.statement for principle in of.principles),
        category=prompt.category,
        kind=of.principles[0].kind,
        chosen=Picture(chosen.image, f"{chosen.image_id}{suffix_of(chosen.image)}"),
        rejected=Picture(rejected.image, f"{rejected.image_id}{suffix_of(rejected.image)}"),
        chosen_prompt=chosen.text,
        rejected_prompt=rejected.text,
        probability=label.probability,
        margin=aggregate.log_odds(label.probability),
        scores=json.dumps(scores, sort_keys=True),
        seed_chosen=chosen.seed,
        seed_rejected=rejected.seed,
        generator=chosen.generator,
        generator_revision=chosen.generator_revision,
        steps=chosen.steps,
        guidance=chosen.guidance,
        scheduler=chosen.scheduler,
        recipe=context.recipe.name,
        license=context.recipe.license_of(context.profile),
        prompt_id=prompt.prompt_id,
        split=prompt.split,
        role=prompt.role,
        rejected_generator=rejected.generator,
        rejected_generator_revision=rejected.generator_revision,
        chosen_negative_prompt=chosen.negative,
        rejected_negative_prompt=rejected.negative,
        width=chosen.width if alike else 0,
        height=chosen.height if alike else 0,
        scheduler_config=chosen.scheduler_config,
        rejected_scheduler=rejected.scheduler,
        rejected_scheduler_config=rejected.scheduler_config,
        adapter=chosen.adapter,
        rejected_adapter=rejected.adapter,
        dtype=chosen.dtype,
        batch_size=chosen.batch_size,
        software=chosen.software,
        pool=prompt.prompt_id if context.recipe.pairing == "pool" else "",
        empty_negative=chosen.empty_negative,
        rejected_empty_negative=rejected.empty_negative,
        vae=chosen.vae,
        rejected_vae=rejected.vae,
        chosen_unread=chosen.unread + chosen.negative_unread,
        rejected_unread=rejected.unread + rejected.negative_unread,
        low=label.low or 0.0,
        high=1.0 if label.high is None else label.high,
        judges_only=0.5 if label.judges_only is None else label.judges_only,
    )


STAGE = Stage("pairs", Pair, run, version=4, reads=(Prompt, Principle, Image, Score, Label), relabels=True)
