"""Images and scores → pairs: two images of one prompt with the probability that their order is right.

Only pairs that pass the recipe's [labels] become rows; the others are counted by reason.
"""

from __future__ import annotations

import collections
import json
import math
from collections.abc import Iterator

from datagen.judges import Judge, panel
from datagen.labels import aggregate
from datagen.records import Image, Pair, Picture, Principle, Prompt, Score, Written, content_id
from datagen.stages import Context, Shard, Stage

# judge → axis → score of one image
Scored = dict[str, dict[str, float | None]]


def run(context: Context, shard: Shard) -> Written[Pair]:
    """The pairs of the shard's prompts that pass, in order, and how many were dropped for which reason."""
    outcomes = list(_outcomes(context, shard))
    dropped = collections.Counter(outcome for outcome in outcomes if isinstance(outcome, str))
    return Written([outcome for outcome in outcomes if isinstance(outcome, Pair)], dict(dropped))


def _outcomes(context: Context, shard: Shard) -> Iterator[Pair | str]:
    """For each two images that could be a pair: the pair, or the reason why it is none."""
    principles = {principle.principle_id: principle for principle in shard.rows(Principle)}
    scored: dict[tuple[str, str], Scored] = collections.defaultdict(lambda: collections.defaultdict(dict))
    for score in shard.rows(Score):
        scored[score.prompt_id, score.image_id][score.judge][score.axis] = score.value
    images: dict[str, list[Image]] = collections.defaultdict(list)
    for image in shard.rows(Image):
        images[image.prompt_id].append(image)
    for prompt in shard.rows(Prompt):
        of_prompt = {image.image_id: scored[prompt.prompt_id, image.image_id] for image in images[prompt.prompt_id]}
        for chosen, rejected in _matched(context, images[prompt.prompt_id], of_prompt):
            yield _decide(context, _of(prompt, principles), prompt, chosen, rejected, of_prompt)


def _of(prompt: Prompt, principles: dict[str, Principle]) -> list[Principle]:
    """The principles of a prompt, the one that takes precedence first."""
    return [principles[name] for name in (prompt.principle_id, *prompt.other_principle_ids)]


def _matched(
    context: Context, images: list[Image], scored: dict[str, Scored]
) -> list[tuple[Image | None, Image | None]]:
    """Which two images stand against each other, preferred one first; None for one that failed."""
    if context.recipe.pairing == "rank":
        return [_best_and_worst(context, images, scored)]
    sides: dict[str, dict[int, Image | None]] = {"chosen": {}, "rejected": {}}
    for image in images:
        sides[image.side][image.index] = image if image.error is None else None
    indices = sorted(sides["chosen"] | sides["rejected"])
    return [(sides["chosen"].get(index), sides["rejected"].get(index)) for index in indices]


def _best_and_worst(
    context: Context, images: list[Image], scored: dict[str, Scored]
) -> tuple[Image | None, Image | None]:
    """The candidates that lean most and least towards the principle; of equals the first is best, the last worst."""
    made = [image for image in images if image.error is None]
    if len(made) < 2:
        return None, None

    def lean(image: Image) -> float | None:
        leans = {name: aggregate.lean(values) for name, values in scored[image.image_id].items()}
        spoken = [_judge(context, name).scale * value for name, value in leans.items() if value is not None]
        return math.fsum(spoken) if spoken else None

    leans = [(value, -image.index, image) for image in made if (value := lean(image)) is not None]
    if len(leans) < 2:  # an image that no judge could read is neither best nor worst
        return made[0], made[-1]
    leans.sort(key=lambda entry: entry[:2])
    return leans[-1][2], leans[0][2]


def _decide(
    context: Context,
    principles: list[Principle],
    prompt: Prompt,
    chosen: Image | None,
    rejected: Image | None,
    scored: dict[str, Scored],
) -> Pair | str:
    """The pair, or the reason why there is none."""
    if chosen is None or rejected is None or chosen.image is None or rejected.image is None:
        return "no image"
    if chosen.image_id == rejected.image_id:
        return "identical images"
    for_chosen, for_rejected = scored[chosen.image_id], scored[rejected.image_id]
    margins = [
        (_judge(context, name).scale, aggregate.margin(for_chosen[name], for_rejected[name]))
        for name in sorted(for_chosen.keys() & for_rejected.keys())
    ]
    label = aggregate.label(margins)
    limits = context.recipe.labels
    if label is None:
        return "no judge"
    if label.probability < limits.min_probability:
        return "low probability"
    # Each image must show what its own wording asked for; the candidates of `rank` have the context prompt alone.
    axes = ("match", "match") if context.recipe.pairing == "rank" else ("aligned", "violating")
    shares = _shares(context, for_chosen, axes[0]) + _shares(context, for_rejected, axes[1])
    if min(shares, default=1.0) < limits.min_match:
        return "low match"
    return Pair(
        pair_id=content_id(prompt.prompt_id, chosen.image_id, rejected.image_id),
        prompt=prompt.prompt,
        principle="; ".join(principle.statement for principle in principles),
        category=prompt.category,
        kind=principles[0].kind,
        chosen=Picture(chosen.image, f"{chosen.image_id}.png"),
        rejected=Picture(rejected.image, f"{rejected.image_id}.png"),
        chosen_prompt=chosen.text,
        rejected_prompt=rejected.text,
        probability=label.probability,
        margin=label.margin,
        scores=json.dumps(
            {
                n: {"chosen": for_chosen[n], "rejected": for_rejected[n]}
                for n in for_chosen.keys() & for_rejected.keys()
            },
            sort_keys=True,
        ),
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
    )


def _shares(context: Context, scored: Scored, axis: str) -> list[float]:
    """How far an image shows what a text states, by the judges for which a score is a share of it."""
    absolute = [values.get(axis) for name, values in scored.items() if _judge(context, name).absolute]
    return [value for value in absolute if value is not None]


def _judge(context: Context, name: str) -> Judge:
    """The judge of a score, to ask what its scores mean; that loads no model."""
    return next(judge for judge in panel.load(context.profile.judges) if judge.name == name)


STAGE = Stage("pairs", Pair, run)
