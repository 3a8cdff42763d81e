"""What the answers of a review tell of a run's labels, and what changed when the labels were calibrated by them.

Shares are of the run, not of the sample: each answer counts as the pairs that it stands for.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from datagen.labels import people
from datagen.labels.people import CHOSEN, REJECTED
from datagen.review.journal import Planned
from datagen.review.sample import COLUMNS

Numbers = NDArray[np.float64]
EDGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)  # of the probabilities whose promise is held against the answers
Z = 1.645  # of a 90 % interval


@dataclasses.dataclass(frozen=True)
class Labels:
    """A run's labels at one time: the probability that `chosen` of each planned pair is better, and its judges."""

    probability: Mapping[str, float]
    reliability: Mapping[str, float]
    notes: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Fit:
    """How well probabilities fit the answers: what they promise, what people say, and two measures of the error."""

    promised: float
    right: float
    calibration: float  # mean distance of promise and share in bins of the probability
    brier: float


@dataclasses.dataclass(frozen=True)
class JudgeChange:
    """A judge: how often people agree with it where both decide, and how often right it is taken to be."""

    name: str
    agree: float | None
    count: int
    before: float | None
    after: float | None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a review comes to."""

    counts: Mapping[str, int]  # answer → pairs
    agree: tuple[float, float, float]  # share of the run's labels that people agree with, and its 90 % interval
    before: Fit
    after: Fit
    judges: Sequence[JudgeChange]
    notes: Sequence[str]
    left: float  # share of the decided pairs in which the left image was taken
    pairs: tuple[int, int]  # in the dataset, before and after

    def lines(self) -> list[str]:
        """For a terminal."""
        said = ", ".join(f"{count} {answer}" for answer, count in self.counts.items() if count)
        share, low, high = (100 * value for value in self.agree)
        lines = [
            f"answers: {said}",
            f"people agree with {share:.1f} % [{low:.1f}, {high:.1f}] of the labels of this run; "
            f"these promised {100 * self.before.promised:.1f} %, and now {100 * self.after.promised:.1f} %",
            f"calibration error {self.before.calibration:.3f} → {self.after.calibration:.3f}, "
            f"Brier score {self.before.brier:.3f} → {self.after.brier:.3f}",
        ]
        lines.append("pairs in the dataset: {:,} → {:,}".format(*self.pairs))
        for judge in self.judges:
            agree = "–" if judge.agree is None else f"{100 * judge.agree:.0f} % of {judge.count}"
            lines.append(f"{judge.name}: people agree in {agree}; how often right {_change(judge)}")
        return lines

    def told(self) -> dict[str, Any]:
        """For a page."""
        return dataclasses.asdict(self) | {"lines": self.lines()}


def _change(judge: JudgeChange) -> str:
    before, after = ("–" if value is None else f"{value:.3f}" for value in (judge.before, judge.after))
    return f"{before} → {after}"


def labels(table: pa.Table, facts: Mapping[str, Any], planned: Sequence[Planned]) -> Labels:
    """The labels of planned pairs, from the run's table of them and what was learnt with them."""
    table = table.select(COLUMNS).filter(table["probability"].is_valid())
    wanted = {pair.prompt_id for pair in planned}
    found: dict[tuple[str, str, str], float] = {}
    for prompt, chosen, rejected, value in zip(*(column.to_pylist() for column in table.columns), strict=True):
        if prompt in wanted:
            found[prompt, chosen, rejected] = value
            found[prompt, rejected, chosen] = 1 - value
    keys = {pair.pair_id: (pair.prompt_id, pair.chosen_id, pair.rejected_id) for pair in planned}
    return Labels(
        {name: found[key] for name, key in keys.items() if key in found},
        {judge["name"]: judge["reliability"] for judge in facts.get("judges", [])},
        [str(note) for note in facts.get("notes", [])],
    )


def compare(
    planned: Sequence[Planned],
    answers: Mapping[str, str],
    weights: Mapping[str, float],
    margins: Mapping[str, Sequence[float]],
    names: Sequence[str],
    two: tuple[Labels, Labels],
    kept: tuple[int, int],
) -> Outcome:
    """Labels before and after they were calibrated, against answers of which at least one is decisive.

    `margins` are by how far each of the judges, called `names`, prefers chosen to rejected, NaN where it is silent.
    `kept` are the pairs of the dataset before and after.
    """
    before, after = two
    pairs = [
        pair for pair in planned
        if answers.get(pair.pair_id) in (CHOSEN, REJECTED)
        and pair.pair_id in before.probability and pair.pair_id in after.probability
    ]  # fmt: skip
    ids = [pair.pair_id for pair in pairs]
    known = np.array([1.0 if answers[name] == CHOSEN else 0.0 for name in ids])
    weight = np.array([weights.get(name, 1.0) for name in ids])
    first, last = (np.array([said.probability[name] for name in ids]) for said in two)
    left = np.array([(answers[pair.pair_id] == CHOSEN) != pair.turned for pair in pairs])
    counts = {said: sum(answer == said for answer in answers.values()) for said in dict.fromkeys(answers.values())}
    right = np.where(first >= 0.5, known, 1 - known)
    return Outcome(
        counts=counts,
        agree=_interval(right, weight),
        before=_fit(first, known, weight),
        after=_fit(last, known, weight),
        judges=_judges(np.array([margins.get(name, [math.nan] * len(names)) for name in ids]), known, names, two),
        notes=[note for note in after.notes if note not in before.notes],
        left=float(left.mean()),
        pairs=kept,
    )


def _judges(margins: Numbers, known: Numbers, names: Sequence[str], two: tuple[Labels, Labels]) -> list[JudgeChange]:
    found = []
    for judge, name in enumerate(names):
        own = margins[:, judge] if len(margins) else np.zeros(0)
        decides = ~np.isnan(own) & (own != 0)
        count = int(decides.sum())
        agree = float(((own > 0) == (known > 0.5))[decides].mean()) if count else None
        found.append(JudgeChange(name, agree, count, *(said.reliability.get(name) for said in two)))
    return found


def _fit(probability: Numbers, known: Numbers, weight: Numbers) -> Fit:
    """Weighted means; the better image is the one that is more probable."""
    sure = np.maximum(probability, 1 - probability)
    right = np.where(probability == 0.5, 0.5, np.where(probability > 0.5, known, 1 - known))
    place = np.clip(np.searchsorted(EDGES, sure, side="right") - 1, 0, len(EDGES) - 2)
    gaps = [abs(float((weight * (sure - right))[place == bin_].sum())) for bin_ in range(len(EDGES) - 1)]
    return Fit(
        float(np.average(sure, weights=weight)),
        float(np.average(right, weights=weight)),
        sum(gaps) / float(weight.sum()),
        float(np.average((probability - known) ** 2, weights=weight)),
    )


def _interval(right: Numbers, weight: Numbers) -> tuple[float, float, float]:
    """A weighted share with Wilson's interval of as many trials as the weights are worth."""
    share = float(np.average(right, weights=weight))
    count = float(weight.sum() ** 2 / (weight**2).sum())
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    return share, max(0.0, middle - half), min(1.0, middle + half)


def people_rows(
    planned: Sequence[Planned], answers: Mapping[str, str], weights: Mapping[str, float]
) -> list[tuple[str, str, float | None]]:
    """The answers as `people.join` takes them; pairs that were skipped are left out."""
    said = {people.CHOSEN, people.REJECTED, people.TIE, people.BAD}
    return [
        (pair.pair_id, answers[pair.pair_id], weights.get(pair.pair_id))
        for pair in planned
        if answers.get(pair.pair_id) in said
    ]


def margins(verdicts: pa.Table, planned: Sequence[Planned]) -> dict[str, list[float]]:
    """Pair id → by how far each judge prefers chosen, from the verdicts of one shard."""
    columns = (verdicts[name].to_pylist() for name in ("prompt_id", "image_id", "lean"))
    lean = {(prompt, image): own for prompt, image, own in zip(*columns, strict=True)}
    found = {}
    for pair in planned:
        one, other = (lean.get((pair.prompt_id, image)) for image in (pair.chosen_id, pair.rejected_id))
        if one is not None and other is not None:
            found[pair.pair_id] = [a - b for a, b in zip(one, other, strict=True)]
    return found
