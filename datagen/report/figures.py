"""What a report tells of all pairs of a run, whether the page shows them or not: counts, shares, bins."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from datagen.labels import people
from datagen.labels.resampling import Share, share
from datagen.records import content_id
from datagen.report.entries import Entry

SURE = (0.5, 0.8, 0.9, 0.95, 0.99, 1.0)  # the ends of the bins of a probability
BARS = 24  # of a histogram of margins
WIDEST = 4.0  # usual margins that such a histogram reaches on either side


@dataclasses.dataclass(frozen=True)
class Bin:
    """Pairs whose promised probability lies in a range: how many, the mean promise, and the share that was right."""

    low: float
    high: float
    promised: float
    right: Share


@dataclasses.dataclass(frozen=True)
class Margins:
    """How one judge's margins of the pairs lie: counts from −WIDEST to WIDEST of its usual ones, and for whom."""

    name: str
    bars: tuple[int, ...]
    silent: int
    agrees: float  # share of the pairs it spoke of in which it prefers chosen; NaN of none


class Tally:
    """Counts over all pairs, one after the other; `scales` are the usual sizes of each judge's margin."""

    def __init__(self, judges: Sequence[str], scales: Sequence[float]) -> None:
        self._judges, self._scales = judges, np.asarray(scales, dtype=float)
        self._bars = np.zeros((len(judges), BARS), dtype=int)
        self._spoke, self._agreed = (np.zeros(len(judges), dtype=int) for _ in range(2))
        self._sure = np.zeros(len(SURE) - 1, dtype=int)
        self._expected = 0.0
        self.pairs = 0
        self.by: dict[str, dict[str, int]] = {name: {} for name in ("principle", "category", "split", "role", "kind")}

    def add(self, entries: Sequence[Entry]) -> None:
        """Count some pairs."""
        if not entries:
            return
        margins = np.array([entry.margins for entry in entries]).reshape(len(entries), len(self._judges))
        spoken = ~np.isnan(margins)
        self._spoke += spoken.sum(0)
        self._agreed += (margins > 0).sum(0)
        sized = np.clip(margins / np.where(self._scales > 0, self._scales, 1), -WIDEST, WIDEST - 1e-9)
        places = np.floor((sized + WIDEST) / (2 * WIDEST) * BARS)
        for judge in range(len(self._judges)):
            self._bars[judge] += np.bincount(places[spoken[:, judge], judge].astype(int), minlength=BARS)
        probabilities = np.array([entry.probability for entry in entries])
        self._sure += np.histogram(np.clip(probabilities, SURE[0], SURE[-1]), SURE)[0]
        self._expected += float(probabilities.sum())
        self.pairs += len(entries)
        for name, counts in self.by.items():
            for entry in entries:
                value = getattr(entry, name)
                counts[value] = counts.get(value, 0) + 1

    def expected(self) -> float:
        """The mean probability: the share of the labels that should be right by their own word; NaN of no pair."""
        return self._expected / self.pairs if self.pairs else math.nan

    def sure(self) -> list[tuple[float, float, int]]:
        """The bins of the probability with their counts."""
        return [(low, high, int(count)) for low, high, count in zip(SURE, SURE[1:], self._sure, strict=False)]

    def margins(self) -> list[Margins]:
        """The margins of each judge."""
        return [
            Margins(
                name,
                tuple(map(int, self._bars[judge])),
                int(self.pairs - self._spoke[judge]),
                float(self._agreed[judge] / self._spoke[judge]) if self._spoke[judge] else math.nan,
            )
            for judge, name in enumerate(self._judges)
        ]


def scales(facts: dict[str, Any]) -> list[float]:
    """The usual size of each judge's margin, as the labels' footer holds what was learnt of it."""
    return [math.hypot(judge["signal"], judge["noise"]) for judge in facts.get("judges", [])]


def sided(labels: pa.Table) -> list[Bin]:
    """How often the judges side with what an image was drawn from, by how sure they are; no bin without a pair.

    Both the judges and the model err here, so that even sure judges are not right by it more often than it obeyed.
    """
    table = labels.filter(labels["judges_only"].is_valid())
    said = table["judges_only"].to_numpy()
    return bins(np.maximum(said, 1 - said), said > 0.5, np.array(table["prompt_id"].to_pylist(), dtype=object))


def by_people(labels: pa.Table, known: Mapping[str, float]) -> list[Bin]:
    """How often labels are right by the word of people, who were asked of some; no bin without a pair.

    A label of people is not copied into the probability of its own pair, so that it can be held against it.
    """
    if not known:
        return []
    table = labels.filter(labels["probability"].is_valid())
    names = ("prompt_id", "chosen_id", "rejected_id")
    ids = zip(*(table[name].to_pylist() for name in names), strict=True)
    said = np.array([people.of(known, content_id(p, a, b), content_id(p, b, a)) for p, a, b in ids], dtype=float)
    told = ~np.isnan(said)
    promised, prompts = table["probability"].to_numpy()[told], np.array(table["prompt_id"].to_pylist(), dtype=object)
    right = np.where(promised >= 0.5, said[told] == 1, said[told] == 0)
    return bins(np.maximum(promised, 1 - promised), right, prompts[told])


def bins(promised: NDArray[Any], right: NDArray[Any], prompts: NDArray[Any]) -> list[Bin]:
    """Pairs (N,) by what was promised of them; no bin without a pair."""
    found = []
    for low, high in zip(SURE, SURE[1:], strict=False):
        among = (promised >= low) & ((promised < high) | (high == SURE[-1]))
        if among.any():
            found.append(Bin(low, high, float(promised[among].mean()), share(right, among, prompts)))
    return found
