"""Scores of one pair from several judges → the probability that the label is right.

A judge's margin is m = (aligned − violating)(chosen) − (aligned − violating)(rejected). Judges are taken as
independent experts whose log-odds add up (a product of experts; Bradley and Terry 1952 for one): p = sigmoid(Σ
scale·m).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping

AXES = ("match", "aligned", "violating")
Values = Mapping[str, float | None]  # axis → score of one picture by one judge; None where it abstained


@dataclasses.dataclass(frozen=True)
class Label:
    """`probability` (0…1) that chosen is the preferred one; `margin`, the mean of m weighted by the judges' scales."""

    probability: float
    margin: float


def lean(values: Values) -> float | None:
    """How far a picture leans towards the principle by one judge: aligned − violating; None if it abstained."""
    aligned, violating = values.get("aligned"), values.get("violating")
    return None if aligned is None or violating is None else aligned - violating


def margin(chosen: Values, rejected: Values) -> float | None:
    """A judge's m for a pair, positive in favour of chosen; None if it abstained on any of the four scores."""
    for_chosen, for_rejected = lean(chosen), lean(rejected)
    return None if for_chosen is None or for_rejected is None else for_chosen - for_rejected


def label(margins: Iterable[tuple[float, float | None]]) -> Label | None:
    """The label from (scale, m) of each judge, scales positive; None if all abstained."""
    spoken = [(scale, m) for scale, m in margins if m is not None]
    if not spoken:
        return None
    logit = math.fsum(scale * m for scale, m in spoken)
    return Label(_sigmoid(logit), logit / math.fsum(scale for scale, _ in spoken))


def _sigmoid(x: float) -> float:
    """1 / (1 + e^-x), without overflow at either end."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x))
