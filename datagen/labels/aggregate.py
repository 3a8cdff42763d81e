"""What a judge says of an image, by all axes → log-odds by which it leans towards it, as the judge states its scale.

They are the raw material of labels, not labels: how much a judge's log-odds are worth is learnt in the run. Only tiers
of judges, which must decide before that, add them up as if judges were independent (a product of experts).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping

from datagen.labels import axes

Values = Mapping[str, float | None]  # axis → what one judge says of one image; None where it abstained
CERTAIN = 4.0  # log-odds beyond which no single answer counts
CLOSEST = 1e-12  # to 0 and 1


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a judge's scores are read: log-odds per unit, whether higher ones are better, whether they are shares."""

    scale: float
    higher_is_better: bool = True
    absolute: bool = False


def lean(reading: Reading, values: Values) -> float | None:
    """Log-odds by which a judge leans towards an image for its principle; None if it abstained.

    By texts: the mean of what the prompt's wordings and the principle's own say.
    """
    texts = [_difference(values, axes.ALIGNED, axes.VIOLATING), _difference(values, axes.KEEPS, axes.BREAKS)]
    spoken = [value for value in texts if value is not None]
    parts = [reading.scale * math.fsum(spoken) / len(spoken)] if spoken else []
    return added([*parts, *_without_texts(reading, values)])


def principle(reading: Reading, values: Values) -> float | None:
    """The same by the principle alone, whatever the writer of the prompt made of it."""
    texts = _difference(values, axes.KEEPS, axes.BREAKS)
    return added([*([] if texts is None else [reading.scale * texts]), *_without_texts(reading, values)])


def wording(reading: Reading, values: Values) -> float | None:
    """The same by the prompt's two wordings alone."""
    texts = _difference(values, axes.ALIGNED, axes.VIOLATING)
    return None if texts is None else reading.scale * texts


def match(reading: Reading, values: Values) -> float | None:
    """Log-odds by which an image shows its context prompt and not another's; None if the judge abstained."""
    difference = _difference(values, axes.MATCH, axes.OTHERS)
    return None if difference is None else reading.scale * difference


def control(reading: Reading, values: Values, question: int) -> float | None:
    """Log-odds by which an image shows the first text of a question that its principle has no part in."""
    difference = _difference(values, axes.control(question, 0), axes.control(question, 1))
    return None if difference is None else reading.scale * difference


def added(values: Iterable[float | None]) -> float | None:
    """The log-odds of the judges that spoke, added up; None if none did."""
    spoken = [value for value in values if value is not None]
    return math.fsum(spoken) if spoken else None


def standing(met: Mapping[tuple[str, str], float | None]) -> dict[str, float | None]:
    """How probably each image beats those it met, from P(first beats second) of (first, second), both ways round.

    A liking for the first place is taken out: L = (logit p(a, b) − logit p(b, a)) / 2, and the mean over opponents.
    """
    logits: dict[str, list[float]] = {first: [] for first, _ in met}
    for (one, other), value in met.items():
        back = met.get((other, one))
        if value is not None and back is not None:
            logits[one].append((logit(value) - logit(back)) / 2)
    return {image: sigmoid(math.fsum(own) / len(own)) if own else None for image, own in logits.items()}


def sigmoid(x: float) -> float:
    """1 / (1 + e^-x), without overflow at either end."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x))


def log_odds(p: float) -> float:
    """ln(p / (1 − p)), of a probability that may be rounded to 0 or 1."""
    held = min(max(p, CLOSEST), 1 - CLOSEST)
    return math.log(held) - math.log1p(-held)


def logit(p: float) -> float:
    """ln(p / (1 − p)), held to what a single answer may count."""
    if p <= 0 or p >= 1:
        return math.copysign(CERTAIN, p - 0.5)
    return max(-CERTAIN, min(CERTAIN, math.log(p) - math.log1p(-p)))


def _without_texts(reading: Reading, values: Values) -> list[float]:
    """What a judge says by other means than texts."""
    image, question, beats = (values.get(axis) for axis in (axes.IMAGE, axes.QUESTION, axes.BEATS))
    sign = 1 if reading.higher_is_better else -1
    said = [
        None if image is None else sign * reading.scale * image,
        None if question is None else logit(question),
        None if beats is None else logit(beats) / 2,  # the opponent has as much with the other sign
    ]
    return [value for value in said if value is not None]


def _difference(values: Values, plus: str, minus: str) -> float | None:
    one, other = values.get(plus), values.get(minus)
    return None if one is None or other is None else one - other
