"""Which two images of a prompt meet, and whether they become a pair."""

from __future__ import annotations

import math

from datagen.labels import aggregate, axes
from datagen.labels.judged import Judged
from datagen.recipe import Recipe
from datagen.records import Image, content_id

# two images, the preferred one first, None for one that failed; or why there is no pair
Match = tuple[Image | None, Image | None] | str


def matches(recipe: Recipe, judged: Judged) -> list[Match]:
    """All two images that could be a pair, by the recipe's pairing."""
    return {"contrast": _by_index, "rank": _best_and_worst, "pool": _dealt}[recipe.pairing](recipe, judged)


def decide(recipe: Recipe, judged: Judged, chosen: Image | None, rejected: Image | None) -> aggregate.Label | str:
    """The label of two images, or the reason why they are no pair."""
    if chosen is None or rejected is None or chosen.image is None or rejected.image is None:
        return "no image"
    if chosen.image_id == rejected.image_id:
        return "identical images"
    label = judged.label(chosen, rejected)
    if label is None:
        return "no judge"
    if reason := _disputed(judged, chosen, rejected):
        return reason
    if label.probability < recipe.labels.min_probability:
        return "low probability"
    if any(_shows_another(judged, image) for image in (chosen, rejected)):
        return "shows another prompt"
    # Each image must show what its own wording asked for; the candidates of `rank` have the context prompt alone.
    own = (axes.MATCH, axes.MATCH) if recipe.pairing == "rank" else (axes.ALIGNED, axes.VIOLATING)
    shares = judged.shares(chosen, own[0]) + judged.shares(rejected, own[1])
    return "low match" if min(shares, default=1.0) < recipe.labels.min_match else label


def settled(recipe: Recipe, judged: Judged) -> bool:
    """Whether what the judges have said so far decides all pairs of a prompt, so that no dearer one need be asked."""
    certain = recipe.labels.settled
    for match in matches(recipe, judged):
        if isinstance(match, str) or match[0] is None or match[1] is None:
            continue
        label = judged.label(match[0], match[1])
        if label is None or 1 - certain < label.probability < certain or _disputed(judged, match[0], match[1]):
            return False
    return True


def _disputed(judged: Judged, chosen: Image, rejected: Image) -> str | None:
    """Whether what the prompt's writer worded and the principle itself say the contrary of each other."""
    wording = judged.label(chosen, rejected, aggregate.wording)
    principle = judged.label(chosen, rejected, aggregate.principle)
    if wording is None or principle is None or wording.margin * principle.margin >= 0:
        return None
    return "against its principle" if principle.margin < 0 else "against its wordings"


def _shows_another(judged: Judged, image: Image) -> bool:
    """Whether the judges find that an image shows the context prompts of others rather than its own."""
    spoken = [value for value in judged.leans(image, aggregate.match) if value is not None]
    return bool(spoken) and math.fsum(spoken) < 0


def _by_index(recipe: Recipe, judged: Judged) -> list[Match]:
    """`contrast`: the images of the two wordings that have the same index."""
    sides: dict[str, dict[int, Image | None]] = {"chosen": {}, "rejected": {}}
    for image in judged.images:
        sides[image.side][image.index] = image if image.error is None else None
    indices = sorted(sides["chosen"] | sides["rejected"])
    return [(sides["chosen"].get(index), sides["rejected"].get(index)) for index in indices]


def _best_and_worst(recipe: Recipe, judged: Judged) -> list[Match]:
    """`rank`: the candidates that lean most and least towards the principle; of equals the first and the last."""
    made = [image for image in judged.images if image.error is None]
    if len(made) < 2:
        return [(None, None)]

    leans = [
        (math.fsum(spoken), -image.index, image)
        for image in made
        if (spoken := [value for value in judged.leans(image, aggregate.lean) if value is not None])
    ]
    if len(leans) < 2:  # an image that no judge could read is neither best nor worst
        return [(made[0], made[-1])]
    leans.sort(key=lambda entry: entry[:2])
    return [(leans[-1][2], leans[0][2])]


def _dealt(recipe: Recipe, judged: Judged) -> list[Match]:
    """`pool`: the usable aligned and violating images of one scene, each in a pair and as evenly as it goes.

    Pair k is of the k-th aligned image and the k-th violating one in the order of a hash of (recipe seed, image id);
    the smaller set begins again at its end. An image that is not usable is a match of its own, with the reason.
    """
    usable: dict[str, list[Image]] = {"chosen": [], "rejected": []}
    lost: list[Match] = []
    for image in judged.images:
        reason = _unusable(recipe, judged, image)
        if reason is None:
            usable[image.side].append(image)
        else:
            lost.append(reason)
    aligned, violating = usable["chosen"], usable["rejected"]
    violating.sort(key=lambda image: content_id("pool", recipe.seed, image.image_id))
    if not aligned or not violating:
        return [*lost, *("no partner" for _ in (*aligned, *violating))]
    pairs = range(max(len(aligned), len(violating)))
    return [*lost, *((aligned[k % len(aligned)], violating[k % len(violating)]) for k in pairs)]


def _unusable(recipe: Recipe, judged: Judged, image: Image) -> str | None:
    """Why an image is in no pair of its pool, whatever its partner; None if nothing is wrong with it."""
    if image.error is not None:
        return "no image"
    if all(value is None for value in judged.leans(image, aggregate.lean)):
        return "no judge"
    axis = axes.ALIGNED if image.side == "chosen" else axes.VIOLATING
    return "low match" if min(judged.shares(image, axis), default=1.0) < recipe.labels.min_match else None
