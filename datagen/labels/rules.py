"""What a recipe asks of two images besides the label: rules of [labels], each with the reason that it gives."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from datagen.labels import pairing, verdicts
from datagen.recipe import Recipe
from datagen.records import Label, Verdict


def refusal(recipe: Recipe, chosen: Verdict, rejected: Verdict, label: Label) -> str | None:
    """Why two images are no pair though they have a label; None if they are one."""
    wanted = recipe.labels
    if reason := pairing.disputed(chosen, rejected):
        return reason
    if label.probability is None or label.probability < wanted.min_probability:
        return "low probability"
    if label.low is None or label.low < wanted.min_low:
        return "uncertain"
    if not RULES[wanted.rule](chosen, rejected):
        return f"rule {wanted.rule}"
    if reason := chosen.reason or rejected.reason:
        return reason
    return "low match" if pairing.low_match(recipe, chosen) or pairing.low_match(recipe, rejected) else None


def _posterior(chosen: Verdict, rejected: Verdict) -> bool:
    """The probability decides alone."""
    return True


def _all(chosen: Verdict, rejected: Verdict) -> bool:
    """Every judge that spoke of both prefers chosen."""
    return all(not value <= 0 for value in verdicts.between(chosen.lean, rejected.lean))


def _principle(chosen: Verdict, rejected: Verdict) -> bool:
    """The judges prefer chosen by the principle alone, and it shows its prompt no less than rejected."""
    return _total(chosen.principle, rejected.principle) > 0 and _total(chosen.match, rejected.match) >= 0


def _pareto(chosen: Verdict, rejected: Verdict) -> bool:
    """By no axis (principle, wordings, prompt) is rejected preferred, and by one chosen is."""
    axes = ((chosen.principle, rejected.principle), (chosen.wording, rejected.wording), (chosen.match, rejected.match))
    totals = [_total(*axis) for axis in axes]
    return min(totals) >= 0 and max(totals) > 0


RULES: dict[str, Callable[[Verdict, Verdict], bool]] = {
    "posterior": _posterior,
    "all": _all,
    "principle": _principle,
    "pareto": _pareto,
}


def _total(chosen: Sequence[float], rejected: Sequence[float]) -> float:
    """The log-odds of the judges that spoke of both; 0 if none did."""
    return math.fsum(value for value in verdicts.between(chosen, rejected) if not math.isnan(value))


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
