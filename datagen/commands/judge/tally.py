"""What the numbers of each judge were: how many, mean, spread, extremes and a histogram, without keeping them.

Two passes: the first finds the range, the second counts in bins of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from datagen.commands.judge.rows import Slot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

BINS = 16


@dataclasses.dataclass
class Tally:
    """The numbers of one judge and category, or of one that compares: how probably what is shown first wins."""

    judge: str
    category: str
    beats: bool
    columns: list[int]  # of the matrix of a unit's rows
    count: int = 0
    mean: float = 0.0
    squares: float = 0.0  # summed distances from the mean, squared
    low: float = np.inf
    high: float = -np.inf
    bins: list[int] = dataclasses.field(default_factory=lambda: [0] * BINS)

    @property
    def spread(self) -> float:
        """The standard deviation."""
        return float(np.sqrt(self.squares / self.count)) if self.count else float("nan")

    def measure(self, values: Values) -> None:
        """Take in a (units, rows) matrix, NaN where there is none (Chan et al. 1979 for the variance)."""
        own = self._own(values)
        if not len(own):
            return
        mean, total = float(own.mean()), self.count + len(own)
        apart = mean - self.mean
        self.squares += float(((own - mean) ** 2).sum()) + apart**2 * self.count * len(own) / total
        self.mean += apart * len(own) / total
        self.count = total
        self.low, self.high = min(self.low, float(own.min())), max(self.high, float(own.max()))

    def bin(self, values: Values) -> None:
        """Count the same numbers again, in bins from the least to the greatest."""
        own = self._own(values)
        if len(own):
            width = (self.high - self.low) / BINS
            places = ((own - self.low) / width).astype(int).clip(0, BINS - 1) if width > 0 else np.zeros(len(own), int)
            self.bins = [int(a + b) for a, b in zip(self.bins, np.bincount(places, minlength=BINS), strict=True)]

    def _own(self, values: Values) -> Values:
        own = values[:, self.columns].ravel()
        found: Values = own[~np.isnan(own)]
        return found


def of(slots: Sequence[Slot]) -> list[Tally]:
    """One for each judge and category, in order; both images of a pair count in the same one."""
    found: dict[tuple[str, str, bool], Tally] = {}
    for place, slot in enumerate(slots):
        key = (slot.judge, slot.category, slot.beats)
        found.setdefault(key, Tally(*key, columns=[])).columns.append(place)
    return list(found.values())
