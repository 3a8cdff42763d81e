"""Which pairs a page shows: those that tell most, and a sample of the rest that no score has a say in."""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import math
from collections.abc import Sequence

from datagen.report.entries import Entry

FEATURED = 6  # pairs of each kind
KINDS = ("least", "top", "split", "any")


@dataclasses.dataclass(frozen=True)
class Shown:
    """The pairs of a page: featured ones, in order, and the sample in an order of its own."""

    least_certain: list[Entry]
    most_certain: list[Entry]
    disputed: list[Entry]
    sample: list[Entry]

    def all(self) -> list[Entry]:
        """Each once, the featured ones first."""
        found = {
            entry.pair_id: entry for entry in (*self.least_certain, *self.disputed, *self.most_certain, *self.sample)
        }
        return list(found.values())


class Selection:
    """Pairs offered one after the other, of which a bounded number is kept; the order of offering has no say.

    `scales` are the usual sizes of each judge's margin.
    """

    def __init__(self, most: int, scales: Sequence[float]) -> None:
        self._most, self._scales = most, scales
        self._heaps: dict[str, list[tuple[float, str, Entry]]] = {
            name: [] for name in ("least", "top", "split", "any")
        }

    def offer(self, entry: Entry) -> None:
        """Consider one pair."""
        name = hashlib.sha256(entry.pair_id.encode()).hexdigest()
        dispute = disputed(entry, self._scales)
        self._keep("least", -entry.probability, name, entry, FEATURED)
        self._keep("top", entry.probability, name, entry, FEATURED)
        if dispute > 0:
            self._keep("split", dispute, name, entry, FEATURED)
        self._keep("any", -int(name[:12], 16), name, entry, self._most)

    def _keep(self, heap: str, value: float, name: str, entry: Entry, most: int) -> None:
        """The `most` pairs of the greatest value; the name decides between equals, and no two are equal."""
        item, held = (value, name, entry), self._heaps[heap]
        if len(held) < most:
            heapq.heappush(held, item)
        elif item[:2] > held[0][:2]:
            heapq.heapreplace(held, item)

    def shown(self) -> Shown:
        """What was kept, each kind from its most telling pair on."""
        found = {
            name: [entry for _, _, entry in sorted(held, key=lambda item: item[:2], reverse=True)]
            for name, held in self._heaps.items()
        }
        return Shown(found["least"], found["top"], found["split"], found["any"])


def disputed(entry: Entry, scales: Sequence[float]) -> float:
    """How far apart the two judges are that disagree most, in usual margins of each; 0 where all agree."""
    heard = [
        margin / scale
        for margin, scale in zip(entry.margins, scales, strict=True)
        if not math.isnan(margin) and scale > 0
    ]
    if not heard or min(heard) >= 0 or max(heard) <= 0:
        return 0.0
    return max(heard) - min(heard)
