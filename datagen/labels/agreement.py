"""How far judges agree on which picture of a pair is preferred, by the margins each of them gave.

Kappa (Cohen 1960) is the agreement beyond chance. A tie or an abstention says nothing and is left out.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Two judges on the pairs on which both spoke: how many, the share on which they agree, and kappa (or NaN)."""

    first: str
    second: str
    pairs: int
    share: float
    kappa: float


def agreements(margins: Mapping[str, Sequence[float | None]]) -> list[Agreement]:
    """Every two judges of judge → margins, which list the same pairs in the same order; in order of their names."""
    return [_agreement(a, b, margins[a], margins[b]) for a, b in itertools.combinations(sorted(margins), 2)]


def _agreement(first: str, second: str, left: Sequence[float | None], right: Sequence[float | None]) -> Agreement:
    votes = [(a > 0, b > 0) for a, b in zip(left, right, strict=True) if a and b]
    if not votes:
        return Agreement(first, second, 0, math.nan, math.nan)
    share = sum(a == b for a, b in votes) / len(votes)
    for_first, for_second = (sum(vote[k] for vote in votes) / len(votes) for k in (0, 1))
    chance = for_first * for_second + (1 - for_first) * (1 - for_second)
    kappa = (share - chance) / (1 - chance) if chance < 1 else math.nan
    return Agreement(first, second, len(votes), share, kappa)
