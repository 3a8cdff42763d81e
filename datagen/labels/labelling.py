"""All verdicts of a run → a label for each two images that could be a pair, or the reason why they are none."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datagen.labels import instrument, pairing, people, rules, verdicts
from datagen.labels.instrument import CONTROL, PAIR
from datagen.labels.instrument.rows import PLANTED
from datagen.recipe import Recipe
from datagen.records import NEGATIVE, Label, Prompt, Verdict, pair_id

Two = tuple[Verdict, Verdict]
BY_COPIES = (
    "{} planted pairs are of an image and a degraded copy of it, which tell who sees how good a picture is by far "
    "coarser differences than those between the images"
)
IN_NO_DATASET = "negative control"
NOTHING = "no two images could be compared"


def label(
    recipe: Recipe, judges: Sequence[str], prompts: Sequence[Prompt], images: Sequence[Verdict]
) -> tuple[list[Label], dict[str, Any]]:
    """A label for each two images that could be a pair, prompt by prompt, and what was learnt (JSON-able).

    A contrast was drawn from wordings of which one keeps the principle: that is the design. Candidates of one prompt
    have none; the two that meet are chosen by what was learnt of all. Raises InputError if the recipe names labels of
    people that cannot be read.
    """
    own, copies = _by_prompt(prompts, images)
    known, notes = people.read(Path(recipe.labels.known)) if recipe.labels.known else ({}, [])
    designed = not recipe.ranked
    strata = {
        prompt.prompt_id: f"{prompt.principle_id} {'neutral' if _negative(prompt) else prompt.role}"
        for prompt in prompts
    }
    # In no dataset, so nothing but how judges lean is looked at.
    drawn = {prompt.prompt_id: pairing.in_order(own.pop(prompt.prompt_id)) for prompt in prompts if _negative(prompt)}
    controls = [two for match in drawn.values() if (two := _judged(match)) is not None]
    degraded = [two for name, some in own.items() for two in pairing.degraded(some, copies[name])]
    run = _Run(judges, 1 if designed else 0, strata, known, controls if designed else degraded)
    neighbours = [] if designed else [two for some in own.values() for two in pairing.neighbours(some)]
    value = pairing.by_sum if designed else _weighted(run.learn(neighbours, []))
    found = [(name, match) for name, some in own.items() for match in pairing.matches(recipe, some, value)]
    judged = [_judged(match) for _, match in found]
    met = [two for two in judged if two is not None]
    learnt = run.learn(met, []) if designed else run.learn(neighbours, met)
    rows = _rows(recipe, found, judged, _said(learnt, len(met)))
    rows = rules.capped(recipe, rows, {prompt.prompt_id: prompt.principle_id for prompt in prompts})
    rows += [Label(name, *_ids(match), IN_NO_DATASET) for name, match in drawn.items()]
    notes = [*_counted(drawn, controls), *by_copies(degraded), *notes, *strangers(known, met)]
    return rows, facts(judges, learnt, len(met), notes)


@dataclasses.dataclass(frozen=True)
class _Run:
    """What is known of all pairs of a run: `design` (1, or 0 for none), each prompt's stratum, labels of people, and
    what else was meant: with a design the negative controls that were drawn, else images with degraded copies."""

    judges: Sequence[str]
    design: int
    strata: Mapping[str, str]
    known: Mapping[str, float]
    besides: Sequence[Two]

    def learn(self, taught: Sequence[Two], others: Sequence[Two]) -> instrument.Labels | None:
        """The labels of `taught`, which are learnt from, then those of `others`, which are not; None without any."""
        pairs = [*taught, *others]
        if not pairs:
            return None
        meant = [(two, verdicts.between(two[0].lean, two[1].lean)) for two in self.besides]
        meant += self._asked(taught) if self.design else []
        both = [*pairs, *(two for two, _ in meant)]
        role = np.repeat([PAIR, CONTROL if self.design else PLANTED], [len(pairs), len(meant)])
        known = [said(self.known, two) for two in pairs]
        learnt = instrument.label(
            np.concatenate([verdicts.margins(pairs), *([[margin for _, margin in meant]] if meant else [])]),
            np.where(role == PAIR, self.design, 1),
            role,
            np.array([*known, *[np.nan] * len(meant)]),
            [chosen.prompt_id for chosen, _ in both],
            strata=[self.strata[chosen.prompt_id] for chosen, _ in both],
            learn=(np.arange(len(both)) < len(taught)) | (role != PAIR),
            names=self.judges,
        )
        return learnt.first(len(pairs))

    def _asked(self, pairs: Sequence[Two]) -> list[tuple[Two, list[float]]]:
        """The same pairs asked what their wordings should not touch, once for each question that a judge answered."""
        judges, found = len(self.judges), []
        for two in pairs:
            margins = verdicts.between(two[0].controls, two[1].controls)
            parts = [margins[first : first + judges] for first in range(0, len(margins), judges)]
            found += [(two, part) for part in parts if not all(map(math.isnan, part))]
        return found


def said(known: Mapping[str, float], two: Two) -> float:
    """What people said of two images, whichever of them they were told is chosen; NaN if nothing."""
    return people.of(known, *_pair_ids(two)) if known else math.nan


def strangers(known: Mapping[str, float], met: Iterable[Two]) -> list[str]:
    """How many labels of people are of no two images that met."""
    missing = len(known.keys() - {name for two in met for name in _pair_ids(two)}) if known else 0
    return [f"{missing} of {len(known)} labels of people are of no pair of this run"] if missing else []


def _pair_ids(two: Two) -> tuple[str, str]:
    """What two images are called as a pair, and what they would be called the other way round."""
    one, other = two
    prompt = one.prompt_id
    return pair_id(prompt, one.image_id, other.image_id), pair_id(prompt, other.image_id, one.image_id)


def _by_prompt(
    prompts: Sequence[Prompt], images: Sequence[Verdict]
) -> tuple[dict[str, list[Verdict]], dict[str, list[Verdict]]]:
    """The images of each prompt, and degraded copies of them."""
    own: dict[str, list[Verdict]] = {prompt.prompt_id: [] for prompt in prompts}
    copies: dict[str, list[Verdict]] = {prompt.prompt_id: [] for prompt in prompts}
    for image in images:
        (copies if image.side == verdicts.COPY else own)[image.prompt_id].append(image)
    return own, copies


def _negative(prompt: Prompt) -> bool:
    return prompt.role == NEGATIVE


def _judged(match: pairing.Match) -> Two | None:
    """Two images of which something can be said."""
    if isinstance(match, str) or match[0] is None or match[1] is None or pairing.why_none(*match):
        return None
    return match[0], match[1]


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


def _rows(
    recipe: Recipe,
    found: Sequence[tuple[str, pairing.Match]],
    judged: Sequence[Two | None],
    said: Iterator[tuple[float, float, float, float]],
) -> list[Label]:
    """A label for each match, of which `judged` are those that something was said of, in the same order."""
    labels = [_label(*of, two, said) for of, two in zip(found, judged, strict=True)]
    told = [(place, two) for place, two in enumerate(judged) if two is not None]
    reasons = rules.refusals(recipe, [two for _, two in told], [labels[place] for place, _ in told])
    for (place, _), reason in zip(told, reasons, strict=True):
        if reason is not None:
            labels[place] = dataclasses.replace(labels[place], reason=reason)
    return labels


def _label(
    prompt_id: str, match: pairing.Match, two: Two | None, said: Iterator[tuple[float, float, float, float]]
) -> Label:
    if isinstance(match, str):
        return Label(prompt_id, "", "", match)
    if two is None:
        return Label(prompt_id, *_ids(match), pairing.why_none(*match))
    return Label(prompt_id, *_ids(match), None, *next(said))


def _ids(match: Sequence[Verdict | None]) -> tuple[str, str]:
    """Of two images, "" for one that is not there."""
    chosen, rejected = match
    return "" if chosen is None else chosen.image_id, "" if rejected is None else rejected.image_id


def by_copies(degraded: Sequence[Two]) -> list[str]:
    """That degraded copies were planted, as far as there are any."""
    return [BY_COPIES.format(len(degraded))] if degraded else []


def _counted(drawn: Mapping[str, pairing.Match], controls: Sequence[Two]) -> list[str]:
    """How many negative controls there are, and of how many no judge could say anything."""
    if not drawn:
        return []
    lost = len(drawn) - len(controls)
    unheard = f"; of {lost} of them there is nothing to learn: an image is missing, or no judge spoke of both"
    return [f"{len(drawn)} negative controls were drawn and are in no dataset" + unheard * bool(lost)]


def facts(judges: Sequence[str], learnt: instrument.Labels | None, pairs: int, notes: list[str]) -> dict[str, Any]:
    """What was learnt of the judges, JSON-able."""
    if learnt is None:
        return {"pairs": 0, "judges": [], "obedience": {}, "notes": [NOTHING, *notes]}
    return {
        "pairs": pairs,
        "judges": [
            {"name": name, **dataclasses.asdict(judge)} for name, judge in zip(judges, learnt.judges, strict=True)
        ],
        "obedience": {name: dataclasses.asdict(share) for name, share in learnt.obedience.items()},
        "notes": [*learnt.notes, *notes],
    }
