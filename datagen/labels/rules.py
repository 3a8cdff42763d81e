"""What a recipe asks of two images besides the label: rules of [labels], each with the reason that it gives."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from datagen.labels import pairing, verdicts
from datagen.recipe import Recipe
from datagen.records import Label, Verdict

Two = tuple[Verdict, Verdict]
Flags = NDArray[np.bool_]
AXES = ("lean", "principle", "wording", "match")


@dataclasses.dataclass(frozen=True)
class Met:
    """N two images that have a label: `margins` (N, J) by axis, what is wrong with either, and the smaller share."""

    margins: Mapping[str, NDArray[np.float64]]
    wrong: NDArray[np.object_]
    share: NDArray[np.float64]

    @staticmethod
    def of(twos: Sequence[Two]) -> Met:
        """Of verdicts, of which there are some."""
        shares = np.array([(one.share, other.share) for one, other in twos], dtype=np.float64)
        wrong = np.array([one.reason or other.reason for one, other in twos], dtype=object)
        return Met({axis: verdicts.margins(twos, axis) for axis in AXES}, wrong, np.fmin(*shares.T))


def refusals(recipe: Recipe, twos: Sequence[Two], labels: Sequence[Label]) -> list[str | None]:
    """Why each two images are no pair though they have a label, by the first rule they break; None of those that are.

    All of a run are looked at together.
    """
    if not twos:
        return []
    columns = ([row.probability for row in labels], [row.low for row in labels])
    probability, low = (np.array(column, dtype=np.float64) for column in columns)
    found: list[str | None] = broken(recipe, Met.of(twos), probability, low).tolist()
    return found


def broken(
    recipe: Recipe, met: Met, probability: NDArray[np.float64], low: NDArray[np.float64]
) -> NDArray[np.object_]:
    """The same (N,) in columns; NaN is a label that does not say."""
    wanted = recipe.labels
    found = np.full(len(probability), None, dtype=object)
    for flags, reason in (
        (met.share < wanted.min_match, "low match"),  # never of NaN
        (met.wrong != None, met.wrong),  # noqa: E711
        (~RULES[wanted.rule](met), f"rule {wanted.rule}"),
        (~(low >= wanted.min_low), "uncertain"),
        (~(probability >= wanted.min_probability), "low probability"),
    ):
        found[flags] = reason[flags] if isinstance(reason, np.ndarray) else reason  # what goes before comes later here
    disputed = pairing.contradicted(met.margins["principle"], met.margins["wording"])
    return np.where(disputed == None, found, disputed)  # noqa: E711


def _posterior(met: Met) -> Flags:
    """The probability decides alone."""
    return np.ones(len(met.share), bool)


def _all(met: Met) -> Flags:
    """Every judge that spoke of both prefers chosen."""
    return ~np.asarray((met.margins["lean"] <= 0).any(axis=1))


def _principle(met: Met) -> Flags:
    """The judges prefer chosen by the principle alone, and it shows its prompt no less than rejected."""
    return (_totals(met, "principle") > 0) & (_totals(met, "match") >= 0)


def _pareto(met: Met) -> Flags:
    """By no axis (principle, wordings, prompt) is rejected preferred, and by one chosen is."""
    found = np.stack([_totals(met, axis) for axis in ("principle", "wording", "match")])
    return np.asarray((found.min(axis=0) >= 0) & (found.max(axis=0) > 0))


RULES: dict[str, Callable[[Met], Flags]] = {
    "posterior": _posterior,
    "all": _all,
    "principle": _principle,
    "pareto": _pareto,
}


def _totals(met: Met, axis: str) -> NDArray[np.float64]:
    """The log-odds of the judges that spoke of both; 0 where none did."""
    return np.nan_to_num(verdicts.totals(met.margins[axis]))


def caps(recipe: Recipe) -> bool:
    """Whether the recipe has any."""
    wanted = recipe.labels
    return wanted.balanced or wanted.most_each_prompt is not None or wanted.most_each_principle is not None


def capped(recipe: Recipe, rows: Sequence[Label], principles: Mapping[str, str]) -> list[Label]:
    """The same rows, those beyond the recipe's caps dropped, the least certain first.

    `principles` has the principle of each prompt id.
    """
    wanted = recipe.labels
    most = wanted.most_each_principle
    if wanted.balanced:
        counts = collections.Counter(principles[row.prompt_id] for row in rows if row.reason is None)
        least = min((counts[principle] for principle in set(principles.values())), default=0)
        most = least if most is None else min(most, least)
    rows = _cap(rows, [row.prompt_id for row in rows], wanted.most_each_prompt, "more of its prompt")
    return _cap(rows, [principles[row.prompt_id] for row in rows], most, "more of its principle")


def _cap(rows: Sequence[Label], groups: Sequence[str], most: int | None, reason: str) -> list[Label]:
    if most is None:
        return list(rows)
    taken: collections.Counter[str] = collections.Counter()
    kept = set()
    pairs = [place for place, row in enumerate(rows) if row.reason is None]
    for place in sorted(pairs, key=lambda place: (-(rows[place].probability or 0), place)):
        if taken[groups[place]] < most:
            taken[groups[place]] += 1
            kept.add(place)
    return [
        dataclasses.replace(row, reason=reason) if row.reason is None and place not in kept else row
        for place, row in enumerate(rows)
    ]
