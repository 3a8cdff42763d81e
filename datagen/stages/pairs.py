"""Images and scores → pairs: two images of one prompt with the probability that their order is right.

Only pairs that pass the recipe's [labels] become rows; the others are counted by reason.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Iterator

from datagen.judges import panel
from datagen.labels import aggregate, judged, pairing
from datagen.labels.judged import Judged
from datagen.records import Image, Pair, Picture, Principle, Prompt, Score, Written, content_id
from datagen.stages import Context, Shard, Stage


def run(context: Context, shard: Shard) -> Written[Pair]:
    """The pairs of the shard's prompts that pass, in order, and how many were dropped for which reason."""
    outcomes = [outcome for prompt in _judged(context, shard) for outcome in _outcomes(context, prompt)]
    dropped = collections.Counter(outcome for outcome in outcomes if isinstance(outcome, str))
    return Written([outcome for outcome in outcomes if isinstance(outcome, Pair)], dict(dropped))


def _judged(context: Context, shard: Shard) -> Iterator[Judged]:
    rows = (shard.rows(Prompt), shard.rows(Principle), shard.rows(Image), shard.rows(Score))
    return judged.by_prompt(*rows, judged.readings(panel.load(context.profile.judges)))


def _outcomes(context: Context, prompt: Judged) -> Iterator[Pair | str]:
    """For each two images that could be a pair: the pair, or the reason why there is none."""
    for match in pairing.matches(context.recipe, prompt):
        if isinstance(match, str):
            yield match
            continue
        label = pairing.decide(context.recipe, prompt, *match)
        yield label if isinstance(label, str) else _pair(context, prompt, *match, label)


def _pair(context: Context, of: Judged, chosen: Image | None, rejected: Image | None, label: aggregate.Label) -> Pair:
    """The row of two images, with all that it takes to draw them again."""
    assert chosen and rejected and chosen.image and rejected.image  # those of failed images were dropped
    prompt, sides = of.prompt, {"chosen": chosen, "rejected": rejected}
    by_side = {side: of.scored[image.image_id] for side, image in sides.items()}
    both = by_side["chosen"].keys() & by_side["rejected"].keys()
    scores = {name: {side: scored[name] for side, scored in by_side.items()} for name in both}
    return Pair(
        pair_id=content_id(prompt.prompt_id, chosen.image_id, rejected.image_id),
        prompt=prompt.prompt,
        principle="; ".join(principle.statement for principle in of.principles),
        category=prompt.category,
        kind=of.principles[0].kind,
        chosen=Picture(chosen.image, f"{chosen.image_id}.png"),
        rejected=Picture(rejected.image, f"{rejected.image_id}.png"),
        chosen_prompt=chosen.text,
        rejected_prompt=rejected.text,
        probability=label.probability,
        margin=label.margin,
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
        width=chosen.width,
        height=chosen.height,
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
    )


STAGE = Stage("pairs", Pair, run, version=3)
