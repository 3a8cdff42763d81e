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


def refusals(recipe: Recipe, twos: Sequence[Two], labels: Sequence[Label]) -> list[str | None]:
    """Why each two images are no pair though they have a label, by the first rule they break; None of those that are.

    All of a run are looked at together.
    """
    if not twos:
        return []
    wanted, count = recipe.labels, range(len(twos))
    passed = RULES[wanted.rule](twos)
    by_limit = [_limit(recipe, label) for label in labels]
    found: list[str | None] = []
    for place, dispute in zip(count, pairing.disputed(twos), strict=True):
        chosen, rejected = twos[place]
        low = pairing.low_match(recipe, chosen) or pairing.low_match(recipe, rejected)
        found.append(
            dispute
            or by_limit[place]
            or (None if passed[place] else f"rule {wanted.rule}")
            or chosen.reason
            or rejected.reason
            or ("low match" if low else None)
        )
    return found


def _limit(recipe: Recipe, label: Label) -> str | None:
    """Whether a label is less certain than the recipe asks for."""
    if label.probability is None or label.probability < recipe.labels.min_probability:
        return "low probability"
    return "uncertain" if label.low is None or label.low < recipe.labels.min_low else None


def _posterior(twos: Sequence[Two]) -> Flags:
    """The probability decides alone."""
    return np.ones(len(twos), bool)


def _all(twos: Sequence[Two]) -> Flags:
    """Every judge that spoke of both prefers chosen."""
    return ~np.asarray((verdicts.margins(twos) <= 0).any(axis=1))


def _principle(twos: Sequence[Two]) -> Flags:
    """The judges prefer chosen by the principle alone, and it shows its prompt no less than rejected."""
    return (_totals(twos, "principle") > 0) & (_totals(twos, "match") >= 0)


def _pareto(twos: Sequence[Two]) -> Flags:
    """By no axis (principle, wordings, prompt) is rejected preferred, and by one chosen is."""
    found = np.stack([_totals(twos, axis) for axis in ("principle", "wording", "match")])
    return np.asarray((found.min(axis=0) >= 0) & (found.max(axis=0) > 0))


RULES: dict[str, Callable[[Sequence[Two]], Flags]] = {
    "posterior": _posterior,
    "all": _all,
    "principle": _principle,
    "pareto": _pareto,
}


def _totals(twos: Sequence[Two], axis: str) -> NDArray[np.float64]:
    """The log-odds of the judges that spoke of both; 0 where none did."""
    return np.nan_to_num(verdicts.totals(verdicts.margins(twos, axis)))


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
