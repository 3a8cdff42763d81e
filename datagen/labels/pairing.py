"""Which two images of a prompt meet, and what is wrong with two that do, whatever the label says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from datagen.labels import aggregate, verdicts
from datagen.recipe import Recipe
from datagen.records import Verdict, content_id

# two images, the preferred one first, None for one that is not there; or why there is no pair
Match = tuple[Verdict | None, Verdict | None] | str
Value = Callable[[Verdict], float | None]  # how far an image keeps its principle; None where no judge spoke
ALL = 8  # candidates up to which each meets every other
RINGS = 8  # else each meets so many that stand behind it in a circle, some near and some far


def by_sum(verdict: Verdict) -> float | None:
    """The log-odds of all judges as they state them, added up: what is known before anything is learnt."""
    return verdicts.total(verdict.lean)


def matches(recipe: Recipe, images: Sequence[Verdict], value: Value = by_sum) -> list[Match]:
    """All two images of a prompt that could be a pair, by the recipe's pairing; `value` ranks candidates."""
    match recipe.pairing:
        case "contrast":
            return _by_index(images)
        case "rank":
            return _best_and_worst(images, value)
        case "list":
            return [(images[one], images[other]) for one, other in meetings(len(images))]
        case "pool":
            return _dealt(recipe, images)


def neighbours(images: Sequence[Verdict]) -> list[tuple[Verdict, Verdict]]:
    """Candidates two by two, each with the next and the last with the first: pairs that no judge had a part in."""
    made = [image for image in images if image.reason is None]
    met = list(zip(made, made[1:], strict=False))
    return met + ([(made[-1], made[0])] if len(made) > 2 else [])


def degraded(images: Sequence[Verdict], copies: Sequence[Verdict]) -> list[tuple[Verdict, Verdict]]:
    """Each image that has a degraded copy, with that."""
    usable = {image.image_id: image for image in images if image.reason is None}
    return [(usable[name], copy) for copy in copies if (name := verdicts.original(copy)) in usable]


def meetings(count: int) -> list[tuple[int, int]]:
    """`list`: which of so many candidates meet, by place; the judges have no part in it, and all hang together.

    Ten thousand do not make fifty million pairs.
    """
    if count <= ALL:
        return [(one, other) for one in range(count) for other in range(one + 1, count)]
    farthest = count // 2
    steps = sorted({round(farthest ** (ring / (RINGS - 1))) for ring in range(RINGS)})
    met = {tuple(sorted((one, (one + step) % count))) for step in steps for one in range(count)}
    return sorted((one, other) for one, other in met)


def why_none(chosen: Verdict | None, rejected: Verdict | None) -> str | None:
    """Why nothing can be said of two images; None if there is something to judge them by."""
    if chosen is None or rejected is None or "no image" in (chosen.reason, rejected.reason):
        return "no image"
    if chosen.image_id == rejected.image_id:
        return "identical images"
    if verdicts.OF_ANOTHER in (chosen.reason, rejected.reason):
        return verdicts.OF_ANOTHER  # nothing is learnt from it either: its design is not the recipe's
    both = verdicts.between(chosen.lean, rejected.lean)
    return "no judge" if all(map(math.isnan, both)) else None


def disputed(twos: Sequence[tuple[Verdict, Verdict]]) -> list[str | None]:
    """Whether what the prompt's writer worded and the principle itself say the contrary of each other, of each two."""
    if not twos:
        return []
    found: list[str | None] = contradicted(*(verdicts.margins(twos, by) for by in ("principle", "wording"))).tolist()
    return found


def contradicted(principle: NDArray[np.float64], wording: NDArray[np.float64]) -> NDArray[np.object_]:
    """The same (N,) by the margins of the judges (N, J)."""
    principle, wording = verdicts.totals(principle), verdicts.totals(wording)
    found = np.full(len(principle), None, dtype=object)
    found[principle * wording < 0] = "against its wordings"  # never of NaN
    found[(principle * wording < 0) & (principle < 0)] = "against its principle"
    return found


def low_match(recipe: Recipe, verdict: Verdict) -> bool:
    """Whether an image does not show what it was drawn from, as far as the recipe asks for it."""
    return verdict.share < recipe.labels.min_match  # never of NaN


def left_open(recipe: Recipe, images: Sequence[Verdict]) -> set[str]:
    """The images of the pairs of a prompt that what judges have said so far does not decide: dearer ones are asked.

    Of ranked candidates these are all, or none: which two are a pair may change by what is said of any.
    """
    certain = recipe.labels.settled
    met = [
        (match[0], match[1])
        for match in matches(recipe, images)
        if not isinstance(match, str) and why_none(*match) not in ("no image", "identical images")
        if match[0] is not None and match[1] is not None
    ]
    found: set[str] = set()
    for (chosen, rejected), dispute in zip(met, disputed(met), strict=True):
        margin = verdicts.total(verdicts.between(chosen.lean, rejected.lean))
        if margin is None or 1 - certain < aggregate.sigmoid(margin) < certain or dispute:
            found |= {chosen.image_id, rejected.image_id}
    return {image.image_id for image in images} if found and recipe.pairing == "rank" else found


def _by_index(images: Sequence[Verdict]) -> list[Match]:
    """`contrast`: the images of the two wordings that have the same index."""
    sides: dict[str, dict[int, Verdict]] = {"chosen": {}, "rejected": {}}
    for image in images:
        sides[image.side][image.index] = image
    indices = sorted(sides["chosen"] | sides["rejected"])
    return [(sides["chosen"].get(index), sides["rejected"].get(index)) for index in indices]


def _best_and_worst(images: Sequence[Verdict], value: Value) -> list[Match]:
    """`rank`: the candidates that lean most and least towards the principle; of equals the first and the last."""
    made = [image for image in images if image.reason != "no image"]
    if len(made) < 2:
        return [(None, None)]
    spoken = [(found, -image.index, image) for image in made if (found := value(image)) is not None]
    if len(spoken) < 2:  # an image that no judge could read is neither best nor worst
        return [(made[0], made[-1])]
    spoken.sort(key=lambda entry: entry[:2])
    return [(spoken[-1][2], spoken[0][2])]


def _dealt(recipe: Recipe, images: Sequence[Verdict]) -> list[Match]:
    """`pool`: the usable aligned and violating images of one scene, each in a pair and as evenly as it goes.

    Pair k is of the k-th aligned image and the k-th violating one in the order of a hash of (recipe seed, image id);
    the smaller set begins again at its end. An image that is not usable is a match of its own, with the reason.
    """
    usable: dict[str, list[Verdict]] = {"chosen": [], "rejected": []}
    lost: list[Match] = []
    for image in images:
        reason = image.reason or ("low match" if low_match(recipe, image) else None)
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
