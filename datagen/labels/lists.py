"""All verdicts of candidates → ranked lists, and labels of the pairs that come of them.

Nothing was meant of candidates, so the judges are weighed by pairs of which the better image is known beforehand:
an image of a prompt against one of another prompt, both judged by the first prompt, or against a degraded copy of
itself (planted), and two images of another prompt by a prompt that neither shows (null). Where no judge was asked such
a thing, they are weighed by what they agree in.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from datagen.labels import block, instrument, labelling, pairing, people, ranking, rules, verdicts
from datagen.labels.instrument.rows import NULL, PAIR, PLANTED
from datagen.recipe import Recipe
from datagen.records import Label, Verdict

Two = tuple[Verdict, Verdict]
ByPrompt = dict[str, list[Verdict]]
ONLY_RANKED = "compared for the ranking only"
ALONE = "no other image of its prompt"
TIE = "tie"
ENOUGH = 6_000  # planted pairs, and as many nulls: more would teach no more
EVEN = 1e-9  # how near to one half a probability is of which nobody said anything
BY_PLANTED = (
    "no design, planted pairs in its place: images of other prompts tell which judge to believe; how sure to be of "
    "images that are nearer to each other is partly a guess, which some 100 labels of people (labels.known) make good"
)
UNAIDED = (
    "no design, and nothing planted: no judge was asked about other prompts, so that what judges agree in is all "
    "there is and intervals are wide; datagen judge with a judge that reads embeddings, or with --planted, tells more"
)
ONE = "one judge alone: nothing tells how often it is right but labels of people"


def label(
    recipe: Recipe, judges: Sequence[str], prompts: pa.Table, images: Sequence[Verdict]
) -> tuple[list[Label], dict[str, Any]]:
    """A label for each two images that meet, prompt by prompt, and what was learnt (JSON-able).

    `prompts` is a table of prompts. Of the images of a prompt, as they are ranked, those furthest apart are a pair,
    each image in one at most; all other labels stand behind the ranking alone. Raises InputError if the recipe names
    labels of people that cannot be read.
    """
    known, notes = people.read(Path(recipe.labels.known)) if recipe.labels.known else ({}, [])
    own, others, copies = _by_prompt(images)
    ids, texts_of, principles = (prompts[name].to_pylist() for name in ("prompt_id", "prompt", "principle_id"))
    texts = dict(zip(ids, texts_of, strict=True))
    met = {name: _meetings(own[name]) for name in texts}
    pairs = [two for some in met.values() for two in some]
    if not pairs:
        rows = [_no_pair(name, own[name]) for name in texts]
        return rows, {"pairs": 0, "judges": [], "obedience": {}, "notes": [labelling.NOTHING, *notes]}
    mismatched = _some([two for name in texts for two in _planted(own[name], others[name])])
    degraded = _some([two for name in texts for two in pairing.degraded(own[name], copies[name])])
    planted = [*mismatched, *degraded]
    nulls = _some([two for name in texts for two in zip(others[name][::2], others[name][1::2], strict=False)])
    learnt = _learn(judges, {PAIR: pairs, PLANTED: planted, NULL: nulls}, texts, known)
    told = [_told(two, *said) for two, said in zip(pairs, _said(learnt), strict=False)]
    rows = _rows(recipe, met, own, told)
    rows = rules.capped(recipe, rows, dict(zip(ids, principles, strict=True)))
    how = [BY_PLANTED] * bool(mismatched) + labelling.by_copies(len(degraded))
    if planted:
        how += _unasked(judges, planted, "shown a copy or " * bool(degraded))
    else:
        spoke = int((~np.isnan(verdicts.margins(pairs))).any(axis=0).sum())
        how += [UNAIDED, *([ONE] if spoke == 1 else [])]
    how += [*notes, *labelling.strangers(block.unmet(known, map(_ids, pairs)), len(known))]
    return rows, labelling.facts(judges, learnt, len(pairs), how)


def _by_prompt(images: Iterable[Verdict]) -> tuple[ByPrompt, ByPrompt, ByPrompt]:
    """The candidates of each prompt, the images of others that were judged by it, and copies of candidates."""
    own: ByPrompt = collections.defaultdict(list)
    others: ByPrompt = collections.defaultdict(list)
    copies: ByPrompt = collections.defaultdict(list)
    kinds = {verdicts.OTHER: others, verdicts.COPY: copies}
    for image in images:
        kinds.get(image.side, own)[image.prompt_id].append(image)
    return own, others, copies


def _meetings(images: Sequence[Verdict]) -> list[Two]:
    """The candidates of one prompt that are compared."""
    usable = [image for image in images if image.reason is None]
    met = ((usable[one], usable[other]) for one, other in pairing.meetings(len(usable)))
    return [two for two in met if pairing.why_none(*two) is None]


def _planted(own: Sequence[Verdict], others: Sequence[Verdict]) -> list[Two]:
    """An image of the prompt with each one of others, its own in turn."""
    usable = [image for image in own if image.reason is None]
    return [(usable[at % len(usable)], other) for at, other in enumerate(others)] if usable else []


def _ids(two: Two) -> block.Ids:
    return two[0].prompt_id, two[0].image_id, two[1].image_id


def _some(twos: list[Two]) -> list[Two]:
    """As many as teach something, from all prompts alike."""
    return twos[:: max(1, -(-len(twos) // ENOUGH))]


def _learn(
    judges: Sequence[str], given: Mapping[int, Sequence[Two]], texts: Mapping[str, str], known: Mapping[str, float]
) -> instrument.Labels:
    """What is learnt of rows by their role; those of the pairs come first. Pairs of one text are of one prompt."""
    rows = [(role, two) for role, twos in given.items() for two in twos]
    return instrument.label(
        verdicts.margins([two for _, two in rows]),
        np.array([1 if role == PLANTED else 0 for role, _ in rows]),
        np.array([role for role, _ in rows]),
        np.array([block.said(known, _ids(two)) if role == PAIR else np.nan for role, two in rows]),
        [texts[one.prompt_id] for _, (one, _) in rows],
        names=judges,
    )


def _unasked(judges: Sequence[str], planted: Sequence[Two], or_else: str) -> list[str]:
    """Which judges say nothing of planted pairs."""
    spoken = np.asarray(~np.isnan(verdicts.margins(planted)).all(axis=0))
    names = [name for name, spoke in zip(judges, spoken, strict=True) if not spoke]
    if not names:
        return []
    return [f"not {or_else}asked about other prompts, so without a weight: {', '.join(names)}"]


def _said(learnt: instrument.Labels) -> Iterable[tuple[float, float, float, float]]:
    columns = (learnt.probability, learnt.low, learnt.high, learnt.judges_only)
    return zip(*(column.tolist() for column in columns), strict=True)


def _told(two: Two, probability: float, low: float, high: float, judges_only: float) -> tuple[Two, Label]:
    """Two images, the better one first, and their label."""
    if probability < 0.5:
        two, probability, low, high, judges_only = two[::-1], 1 - probability, 1 - high, 1 - low, 1 - judges_only
    one, other = two
    reason = TIE if probability - 0.5 < EVEN else None
    return two, Label(one.prompt_id, one.image_id, other.image_id, reason, probability, low, high, judges_only)


def _rows(
    recipe: Recipe,
    met: Mapping[str, Sequence[Two]],
    own: Mapping[str, Sequence[Verdict]],
    told: Iterable[tuple[Two, Label]],
) -> list[Label]:
    """The labels prompt by prompt, each with the reason why it is no pair."""
    by_prompt: dict[str, list[tuple[Two, Label]]] = collections.defaultdict(list)
    for two, of in told:
        by_prompt[of.prompt_id].append((two, of))
    lists = ranking.of_labels(of for some in by_prompt.values() for _, of in some)
    rows: list[Label] = []
    matched: list[tuple[int, Two]] = []  # those of the rows that may be pairs
    for name in met:
        if name not in by_prompt:
            rows.append(_no_pair(name, own[name]))
            continue
        apart = _matched(by_prompt[name], {one.image_id: one.score for one in lists[name]})
        for place, (two, of) in enumerate(by_prompt[name]):
            if place not in apart:
                of = dataclasses.replace(of, reason=ONLY_RANKED)
            elif of.reason is None:
                matched.append((len(rows), two))
            rows.append(of)
    reasons = rules.refusals(recipe, [two for _, two in matched], [rows[row] for row, _ in matched])
    for (row, _), reason in zip(matched, reasons, strict=True):
        rows[row] = dataclasses.replace(rows[row], reason=reason)
    return rows


def _matched(told: Sequence[tuple[Two, Label]], scores: Mapping[str, float]) -> set[int]:
    """The places of the labels that become pairs: those furthest apart first, of images that are in none yet."""

    def apart(place: int) -> tuple[float, int]:
        _, of = told[place]
        return scores[of.rejected_id] - scores[of.chosen_id], place

    taken, found = set[str](), set[int]()
    for place in sorted(range(len(told)), key=apart):
        _, of = told[place]
        if not taken & {of.chosen_id, of.rejected_id}:
            taken |= {of.chosen_id, of.rejected_id}
            found.add(place)
    return found


def _no_pair(prompt_id: str, images: Sequence[Verdict]) -> Label:
    """Why a prompt has nothing to compare."""
    wrong = [image.reason for image in images if image.reason is not None]
    if len(images) - len(wrong) >= 2:
        reason = pairing.why_none(images[0], images[1]) or "identical images"
    else:
        reason = wrong[0] if wrong else ALONE if images else "no image"
    return Label(prompt_id, "", "", reason)
