"""What all judges say of each image of a prompt, in log-odds: all that labels are made of, without a picture."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from datagen.labels import aggregate, axes
from datagen.labels.judged import Judged
from datagen.records import Image, Verdict

ABSTAINS = math.nan
NEAR = 1e-9  # of what is added up: a sum so small is mostly rounding
OF_ANOTHER = "a wording of another prompt"
OTHER = "other"  # side of an image that was drawn for another prompt
OF_OTHER = "an image of another prompt"
COPY = "copy"  # side of a degraded copy of an image
OF_COPY = "a degraded copy"


def of(judged: Judged, own: str | None = None, questions: int = 0) -> list[Verdict]:
    """A verdict for each image, in their order. `own` is the axis of what it was drawn from, by its side if None.

    Of so many `questions` that the wordings should not touch, there is what each judge says of each.
    """
    return [_of(judged, image, own, questions) for image in judged.images]


def _of(judged: Judged, image: Image, own: str | None, questions: int) -> Verdict:
    lean = _spoken(judged.leans(image, aggregate.lean))
    match = _spoken(judged.leans(image, aggregate.match))
    axis = own or (axes.ALIGNED if image.side == "chosen" else axes.VIOLATING)
    scored = judged.scored[image.image_id]
    return Verdict(
        image_id=image.image_id,
        prompt_id=image.prompt_id,
        side=image.side,
        index=image.index,
        reason=_reason(image, lean, match, _nearness(judged, image)),
        lean=lean,
        principle=_spoken(judged.leans(image, aggregate.principle)),
        wording=_spoken(judged.leans(image, aggregate.wording)),
        match=match,
        share=min(judged.shares(image, axis), default=ABSTAINS),
        controls=[
            value
            for question in range(questions)
            for value in _spoken(judged.leans(image, functools.partial(aggregate.control, question=question)))
        ],
        judges=sorted(scored),
        scores=[json.dumps(scored[name], sort_keys=True) for name in sorted(scored)],
    )


def of_others(judged: Judged) -> list[Verdict]:
    """A verdict for each image of another prompt that was judged by this one, and for each degraded copy of its own.

    Both are worse than its own images: those show it, and are as they were drawn.
    They are no candidates, and nothing but the judges' leans is told of them.
    """
    nothing = [ABSTAINS] * len(judged.readings)
    found = []
    for place, (name, scored) in enumerate(judged.others.items()):
        side, reason = (COPY, OF_COPY) if axes.COPY_MARK in name else (OTHER, OF_OTHER)
        lean = _spoken(judged.read(scored, aggregate.lean))
        who = (name, judged.prompt.prompt_id, side, place, reason)
        found.append(Verdict(*who, lean, nothing, nothing, nothing, ABSTAINS))
    return found


def copy_id(image_id: str, damage: str) -> str:
    """What a degraded copy of an image is called."""
    return f"{image_id}{axes.COPY_MARK}{damage}"


def original(copy: Verdict) -> str:
    """The id of the image that a copy is of."""
    return copy.image_id.rsplit(axes.COPY_MARK, 1)[0]


def _nearness(judged: Judged, image: Image) -> float | None:
    """How much nearer what an image was drawn from is to its context prompt than to others, by all who read texts."""
    return aggregate.added(by_axis.get(axes.WORDING) for by_axis in judged.scored[image.image_id].values())


def _reason(image: Image, lean: Sequence[float], match: Sequence[float], nearness: float | None) -> str | None:
    """Why an image can be in no pair, whatever its partner; None if nothing is wrong with it."""
    if image.error is not None or image.image is None:
        return "no image"
    if all(map(math.isnan, lean)):
        return "no judge"
    if nearness is not None and nearness < 0:
        return OF_ANOTHER
    shown = total(match)
    return "shows another prompt" if shown is not None and shown < 0 else None


def total(values: Sequence[float]) -> float | None:
    """The log-odds of the judges that spoke, added up; None if none did."""
    return aggregate.added(None if math.isnan(value) else value for value in values)


def margins(twos: Sequence[tuple[Verdict, Verdict]], by: str = "lean") -> NDArray[np.float64]:
    """(N, judges): by how much each judge prefers the first of two images; NaN where it did not speak of both."""
    chosen, rejected = (np.array([getattr(of, by) for of in side], np.float64) for side in zip(*twos, strict=True))
    result: NDArray[np.float64] = chosen - rejected
    return result


def totals(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,): the log-odds of the judges that spoke, added up; NaN where none did."""
    spoke = ~np.isnan(margins)
    found: NDArray[np.float64] = np.where(spoke, margins, 0.0).sum(axis=1)
    # Judges who contradict each other add up to 0 or to a rounding error of either sign: exactly, then.
    size = np.abs(np.where(spoke, margins, 0.0)).sum(axis=1)
    for row in np.flatnonzero((np.abs(found) <= NEAR * size) & (size > 0)):
        found[row] = math.fsum(margins[row][spoke[row]])
    found[~spoke.any(axis=1)] = np.nan
    return found


def between(chosen: Sequence[float], rejected: Sequence[float]) -> list[float]:
    """By how much each judge prefers the first of two images; NaN where it did not speak of both."""
    return [one - other for one, other in zip(chosen, rejected, strict=True)]


def _spoken(values: Iterable[float | None]) -> list[float]:
    return [ABSTAINS if value is None else value for value in values]
