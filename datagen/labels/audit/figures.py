"""How a number, its interval and what is to be said of it stand in the report: plain values, ready for JSON."""

from __future__ import annotations

import math
from typing import Any

from datagen.labels.resampling import Share

DIGITS = 6  # after the point: the last ones of a float differ between machines

Figure = dict[str, Any] | None


def figure(share: Share) -> Figure:
    """A number with its interval and the pairs it is of; None where there is none, and of an end that is not known."""
    if not share.count or math.isnan(share.value):
        return None
    return {
        "value": rounded(share.value),
        "low": rounded(share.low),
        "high": rounded(share.high),
        "pairs": share.count,
    }


def rounded(value: float | None) -> float | None:
    """A number as it is written; None for one that is not known."""
    return None if value is None or math.isnan(value) else round(value, DIGITS) + 0.0
