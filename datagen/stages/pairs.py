"""Images and scores → pairs: two images of one prompt with the probability that their order is right.

Only pairs that pass the recipe's [labels] become rows; the others are counted by reason.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import math
from collections.abc import Callable, Iterator

from datagen.judges import Judge, panel
from datagen.labels import aggregate
from datagen.records import Image, Pair, Picture, Principle, Prompt, Score, Written, content_id
from datagen.stages import Context, Shard, Stage

# judge → axis → score of one image
Scored = dict[str, dict[str, float | None]]
# two images, the preferred one first, None for one that failed; or why there is no pair
Match = tuple[Image | None, Image | None] | str


@dataclasses.dataclass(frozen=True)
class _Judged:
    """A prompt with its principles, the one that takes precedence first, its images, and their scores by id."""

    prompt: Prompt
    principles: list[Principle]
    images: list[Image]
    scored: dict[str, Scored]


def run(context: Context, shard: Shard) -> Written[Pair]:
    """The pairs of the shard's prompts that pass, in order, and how many were dropped for which reason."""
    outcomes = [outcome for judged in _judged(shard) for outcome in _outcomes(context, judged)]
    dropped = collections.Counter(outcome for outcome in outcomes if isinstance(outcome, str))
    return Written([outcome for outcome in outcomes if isinstance(outcome, Pair)], dict(dropped))


def _judged(shard: Shard) -> Iterator[_Judged]:
    """The shard's rows prompt by prompt."""
    principles = {principle.principle_id: principle for principle in shard.rows(Principle)}
    scored: dict[tuple[str, str], Scored] = collections.defaultdict(lambda: collections.defaultdict(dict))
    duels: dict[tuple[str, str, str], dict[tuple[str, str], float | None]] = collections.defaultdict(dict)
    for score in shard.rows(Score):
        if score.opponent:
            duels[score.prompt_id, score.judge, score.axis][score.image_id, score.opponent] = score.value
        else:  # of a judge with several scores, the first is the one that counts
            scored[score.prompt_id, score.image_id][score.judge].setdefault(score.axis, score.value)
    for (prompt_id, judge, axis), met in duels.items():
        for image_id, value in aggregate.standing(met).items():
            scored[prompt_id, image_id][judge][axis] = value
    images: dict[str, list[Image]] = collections.defaultdict(list)
    for image in shard.rows(Image):
        images[image.prompt_id].append(image)
    for prompt in shard.rows(Prompt):
        own = images[prompt.prompt_id]
        first_to_last = [principles[name] for name in (prompt.principle_id, *prompt.other_principle_ids)]
        scores = {image.image_id: scored[prompt.prompt_id, image.image_id] for image in own}
        yield _Judged(prompt, first_to_last, own, scores)


def _outcomes(context: Context, judged: _Judged) -> Iterator[Pair | str]:
    """For each two images that could be a pair: the pair, or the reason why there is none."""
    match = {"contrast": _by_index, "rank": _best_and_worst, "pool": _dealt}[context.recipe.pairing]
    for found in match(context, judged):
        yield found if isinstance(found, str) else _decide(context, judged, *found)


def _by_index(context: Context, judged: _Judged) -> list[Match]:
    """`contrast`: the images of the two wordings that have the same index."""
    sides: dict[str, dict[int, Image | None]] = {"chosen": {}, "rejected": {}}
    for image in judged.images:
        sides[image.side][image.index] = image if image.error is None else None
    indices = sorted(sides["chosen"] | sides["rejected"])
    return [(sides["chosen"].get(index), sides["rejected"].get(index)) for index in indices]


def _best_and_worst(context: Context, judged: _Judged) -> list[Match]:
    """`rank`: the candidates that lean most and least towards the principle; of equals the first and the last."""
    made = [image for image in judged.images if image.error is None]
    if len(made) < 2:
        return [(None, None)]

    leans = [
        (math.fsum(spoken), -image.index, image)
        for image in made
        if (spoken := [value for value in _leans(context, judged, image, aggregate.lean) if value is not None])
    ]
    if len(leans) < 2:  # an image that no judge could read is neither best nor worst
        return [(made[0], made[-1])]
    leans.sort(key=lambda entry: entry[:2])
    return [(leans[-1][2], leans[0][2])]


def _dealt(context: Context, judged: _Judged) -> list[Match]:
    """`pool`: the usable aligned and violating images of one scene, each in a pair and as evenly as it goes.

    Pair k is of the k-th aligned image and the k-th violating one in the order of a hash of (recipe seed, image id);
    the smaller set begins again at its end. An image that is not usable is a match of its own, with the reason.
    """
    usable: dict[str, list[Image]] = {"chosen": [], "rejected": []}
    lost: list[Match] = []
    for image in judged.images:
        reason = _unusable(context, image, judged.scored[image.image_id])
        if reason is None:
            usable[image.side].append(image)
        else:
            lost.append(reason)
    aligned, violating = usable["chosen"], usable["rejected"]
    violating.sort(key=lambda image: content_id("pool", context.recipe.seed, image.image_id))
    if not aligned or not violating:
        return [*lost, *("no partner" for _ in (*aligned, *violating))]
    pairs = range(max(len(aligned), len(violating)))
    return [*lost, *((aligned[k % len(aligned)], violating[k % len(violating)]) for k in pairs)]


def _unusable(context: Context, image: Image, scored: Scored) -> str | None:
    """Why an image is in no pair of its pool, whatever its partner; None if nothing is wrong with it."""
    if image.error is not None:
        return "no image"
    if all(aggregate.lean(_reading(context, name), values) is None for name, values in scored.items()):
        return "no judge"
    axis = "aligned" if image.side == "chosen" else "violating"
    return "low match" if min(_shares(context, scored, axis), default=1.0) < context.recipe.labels.min_match else None


def _decide(context: Context, judged: _Judged, chosen: Image | None, rejected: Image | None) -> Pair | str:
    """The pair, or the reason why there is none."""
    if chosen is None or rejected is None or chosen.image is None or rejected.image is None:
        return "no image"
    if chosen.image_id == rejected.image_id:
        return "identical images"
    both = [chosen, rejected]
    label, wording, principle = (
        aggregate.label(aggregate.difference(*(_leans(context, judged, image, by) for image in both)))
        for by in (aggregate.lean, aggregate.wording, aggregate.principle)
    )
    limits = context.recipe.labels
    if label is None:
        return "no judge"
    if principle is not None and wording is not None and principle.margin * wording.margin < 0:
        return "against its principle" if principle.margin < 0 else "against its wordings"
    if label.probability < limits.min_probability:
        return "low probability"
    if any(_shows_another(context, judged, image) for image in both):
        return "shows another prompt"
    for_chosen, for_rejected = judged.scored[chosen.image_id], judged.scored[rejected.image_id]
    # Each image must show what its own wording asked for; the candidates of `rank` have the context prompt alone.
    axes = ("match", "match") if context.recipe.pairing == "rank" else ("aligned", "violating")
    shares = _shares(context, for_chosen, axes[0]) + _shares(context, for_rejected, axes[1])
    if min(shares, default=1.0) < limits.min_match:
        return "low match"
    return _pair(context, judged, chosen, rejected, label)


def _pair(context: Context, judged: _Judged, chosen: Image, rejected: Image, label: aggregate.Label) -> Pair:
    """The row of two images, with all that it takes to draw them again."""
    assert chosen.image is not None and rejected.image is not None  # those of failed images were dropped
    prompt, sides = judged.prompt, {"chosen": chosen, "rejected": rejected}
    by_side = {side: judged.scored[image.image_id] for side, image in sides.items()}
    both = by_side["chosen"].keys() & by_side["rejected"].keys()
    scores = {name: {side: scored[name] for side, scored in by_side.items()} for name in both}
    return Pair(
        pair_id=content_id(prompt.prompt_id, chosen.image_id, rejected.image_id),
        prompt=prompt.prompt,
        principle="; ".join(principle.statement for principle in judged.principles),
        category=prompt.category,
        kind=judged.principles[0].kind,
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


def _leans(
    context: Context,
    judged: _Judged,
    image: Image,
    by: Callable[[aggregate.Reading, aggregate.Values], float | None],
) -> list[float | None]:
    """What each judge says of an image in log-odds, in the profile's order; None where it abstained."""
    scored = judged.scored[image.image_id]
    return [by(_reading(context, judge.name), scored.get(judge.name, {})) for judge in _panel(context)]


def _shows_another(context: Context, judged: _Judged, image: Image) -> bool:
    """Whether the judges find that an image shows the context prompts of others rather than its own."""
    spoken = [value for value in _leans(context, judged, image, aggregate.match) if value is not None]
    return bool(spoken) and math.fsum(spoken) < 0


def _reading(context: Context, name: str) -> aggregate.Reading:
    judge = _judge(context, name)
    return aggregate.Reading(judge.scale, judge.facts.higher_is_better)


def _shares(context: Context, scored: Scored, axis: str) -> list[float]:
    """How far an image shows what a text states, by the judges for which a score is a share of it."""
    absolute = [values.get(axis) for name, values in scored.items() if _judge(context, name).facts.absolute]
    return [value for value in absolute if value is not None]


def _judge(context: Context, name: str) -> Judge:
    """The judge of a score, to ask what its scores mean; that loads no model."""
    return next(judge for judge in _panel(context) if judge.name == name)


def _panel(context: Context) -> list[Judge]:
    return panel.load(context.profile.judges)


STAGE = Stage("pairs", Pair, run, version=3)
