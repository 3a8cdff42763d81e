"""All verdicts of a run → a label for each two images that could be a pair, or the reason why they are none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from datagen.labels import instrument, pairing, rules, verdicts
from datagen.recipe import Recipe
from datagen.records import Label, Prompt, Verdict

Two = tuple[Verdict, Verdict]


def label(
    recipe: Recipe, judges: Sequence[str], prompts: Sequence[Prompt], images: Sequence[Verdict]
) -> tuple[list[Label], dict[str, Any]]:
    """A label for each two images that could be a pair, prompt by prompt, and what was learnt (JSON-able).

    A contrast was drawn from wordings of which one keeps the principle: that is the design. Candidates of one prompt
    have none; the two that meet are chosen by what was learnt of all.
    """
    own = _by_prompt(prompts, images)
    strata = {prompt.prompt_id: f"{prompt.principle_id} {prompt.role}" for prompt in prompts}
    design = 1
    value: pairing.Value = pairing.by_sum
    neighbours: list[Two] = []
    if recipe.pairing == "rank":
        design, neighbours = 0, [two for some in own.values() for two in pairing.neighbours(some)]
        value = _weighted(_learn(neighbours, [], design, strata))
    found = [(name, match) for name, some in own.items() for match in pairing.matches(recipe, some, value)]
    judged = [_judged(match) for _, match in found]
    met = [two for two in judged if two is not None]
    learnt = _learn(*((neighbours, met) if neighbours else (met, [])), design, strata)
    said = _said(learnt, len(met))
    rows = [_row(recipe, *of, two, said) for of, two in zip(found, judged, strict=True)]
    principles = {prompt.prompt_id: prompt.principle_id for prompt in prompts}
    return rules.capped(recipe, rows, principles), _facts(judges, learnt, len(met))


def _by_prompt(prompts: Sequence[Prompt], images: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    found: dict[str, list[Verdict]] = {prompt.prompt_id: [] for prompt in prompts}
    for image in images:
        found[image.prompt_id].append(image)
    return found


def _judged(match: pairing.Match) -> Two | None:
    """Two images of which something can be said."""
    if isinstance(match, str) or match[0] is None or match[1] is None or pairing.why_none(*match):
        return None
    return match[0], match[1]


def _learn(
    known: Sequence[Two], others: Sequence[Two], design: int, strata: dict[str, str]
) -> instrument.Labels | None:
    """The labels of `known`, which are learnt from, then those of `others`, which are not; None without any."""
    both = [*known, *others]
    if not both:
        return None
    count = len(both)
    return instrument.label(
        np.array([verdicts.between(chosen.lean, rejected.lean) for chosen, rejected in both]),
        np.full(count, design),
        np.zeros(count, int),
        np.full(count, np.nan),
        [chosen.prompt_id for chosen, _ in both],
        strata=[strata[chosen.prompt_id] for chosen, _ in both],
        learn=np.arange(count) < len(known),
    )


def _weighted(learnt: instrument.Labels | None) -> pairing.Value:
    """How far an image keeps its principle by the weights of the judges that were learnt."""
    if learnt is None:
        return pairing.by_sum
    weights = [judge.weight for judge in learnt.judges]

    def value(verdict: Verdict) -> float | None:
        return verdicts.total([weight * lean for weight, lean in zip(weights, verdict.lean, strict=True)])

    return value


def _said(learnt: instrument.Labels | None, count: int) -> Iterator[tuple[float, float, float, float]]:
    """Probability, its interval, and what the judges alone say, of the last so many labels that were learnt."""
    if learnt is None:
        return iter(())
    columns = (learnt.probability, learnt.low, learnt.high, learnt.judges_only)
    return zip(*(column[len(column) - count :].tolist() for column in columns), strict=True)


def _row(
    recipe: Recipe,
    prompt_id: str,
    match: pairing.Match,
    two: Two | None,
    said: Iterator[tuple[float, float, float, float]],
) -> Label:
    if isinstance(match, str):
        return Label(prompt_id, "", "", match)
    chosen, rejected = match
    ids = ("" if chosen is None else chosen.image_id, "" if rejected is None else rejected.image_id)
    if two is None:
        return Label(prompt_id, *ids, pairing.why_none(chosen, rejected))
    label = Label(prompt_id, *ids, None, *next(said))
    reason = rules.refusal(recipe, *two, label)
    return label if reason is None else dataclasses.replace(label, reason=reason)


def _facts(judges: Sequence[str], learnt: instrument.Labels | None, pairs: int) -> dict[str, Any]:
    """What was learnt of the judges, JSON-able."""
    if learnt is None:
        return {"pairs": 0, "judges": [], "obedience": {}, "notes": ["no two images could be compared"]}
    return {
        "pairs": pairs,
        "judges": [
            {"name": name, **dataclasses.asdict(judge)} for name, judge in zip(judges, learnt.judges, strict=True)
        ],
        "obedience": {name: dataclasses.asdict(share) for name, share in learnt.obedience.items()},
        "notes": list(learnt.notes),
    }
