"""All verdicts of a run → a label for each two images that could be a pair, or the reason why they are none.

A contrast was drawn from wordings of which one keeps the principle: that is the design. Candidates of one prompt have
none; the two that meet are chosen by what was learnt of all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from datagen import records
from datagen.labels import instrument, pairing, people, rules, sample, verdicts
from datagen.labels.block import Block, met_of, unmet
from datagen.labels.lesson import Lesson
from datagen.labels.matching import Found
from datagen.recipe import Recipe
from datagen.records import Label, Verdict

BY_COPIES = (
    "{} planted pairs are of an image and a degraded copy of it, which tell who sees how good a picture is by far "
    "coarser differences than those between the images"
)
NOTHING = "no two images could be compared"
BY_SAMPLE = "of {:,} images {:,}, drawn by prompt, taught what judges are worth; the others were labelled by that"
Parts = Iterable[tuple[pa.Table, pa.Table]]  # prompts, and the verdicts on their images


def label(
    recipe: Recipe, judges: Sequence[str], prompts: pa.Table, images: pa.Table
) -> tuple[pa.Table, dict[str, Any]]:
    """A label for each two images that could be a pair, prompt by prompt, and what was learnt (JSON-able).

    `prompts` and `images` are tables of prompts and verdicts. Raises InputError if the recipe names labels of people
    that cannot be read.
    """
    known, notes = people.read(Path(recipe.labels.known)) if recipe.labels.known else ({}, [])
    own = Block.of(recipe, judges, prompts, images, known)
    taught, counts = learn(own), _Counts(set(known))
    counts.add(own, taught.found)
    table = _capped(recipe, own.table(taught.found, taught.labels), prompts)
    return pa.concat_tables([table, own.lost()]), counts.facts(judges, taught.labels, [], notes)


def in_parts(
    recipe: Recipe, judges: Sequence[str], read: Callable[[], Parts], images: int
) -> tuple[Iterable[pa.Table], dict[str, Any]]:
    """The same of a run that is not held in memory at once: `read` begins with its first part every time.

    It has `images` verdicts in all. Judges are learnt of some prompts, which are read first, and of all that people
    spoke of. What was learnt is complete when the tables, which can be gone through once, have been.
    """
    known, notes = people.read(Path(recipe.labels.known)) if recipe.labels.known else ({}, [])
    prompts, drawn = sample.of(read(), images, known)
    taught = learn(Block.of(recipe, judges, prompts, drawn, known))
    by_sample = BY_SAMPLE.format(images, drawn.num_rows)
    facts: dict[str, Any] = {}

    def tables() -> Iterator[pa.Table]:
        counts = _Counts(set(known))
        for part in read():
            own = Block.of(recipe, judges, *part, {})
            counts.add(own, found := own.found(taught.value))
            yield own.table(found, taught.lesson.labels(judges, own.rows(met_of(found)).unlearnt()))
            yield own.lost()
            del part, own, found  # else they stay until the next part is read
        facts.update(counts.facts(judges, taught.labels, [by_sample], notes))

    if not rules.caps(recipe):
        return tables(), facts
    return [_capped(recipe, pa.concat_tables(tables()), pa.concat_tables(prompts for prompts, _ in read()))], facts


@dataclasses.dataclass(frozen=True)
class Taught:
    """What one block taught: a lesson for others, how its own images meet, the labels of those, and what ranks."""

    lesson: Lesson
    found: Found
    labels: instrument.Labels | None
    value: pairing.Value


def learn(of: Block) -> Taught:
    """What judges are worth."""
    if not of.recipe.ranked:
        found = of.found(pairing.by_sum)
        lesson = of.of_contrasts(met_of(found))
        return Taught(lesson, found, lesson.labels(of.judges), pairing.by_sum)
    lesson = of.of_candidates()
    value = _weighted(lesson.labels(of.judges))
    found = of.found(value)
    met = of.rows(met_of(found)).unlearnt()
    return Taught(lesson + met.of(~np.isnan(met.known)), found, lesson.labels(of.judges, met), value)


@dataclasses.dataclass
class _Counts:
    """What is counted of all blocks; `unmet` are the labels of people that are of no pair so far."""

    unmet: set[str]
    pairs: int = 0
    drawn: int = 0
    controls: int = 0
    degraded: int = 0

    def __post_init__(self) -> None:
        self._known = len(self.unmet)

    def add(self, of: Block, found: Found) -> None:
        """One block, in which these images meet."""
        met = met_of(found)
        self.pairs += len(met)
        self.drawn += len(of.drawn)
        self.controls += len(of.controls())
        self.degraded += len(of.ways.degraded)
        if self.unmet:
            self.unmet = unmet(self.unmet, of.ids(met))

    def facts(
        self, judges: Sequence[str], learnt: instrument.Labels | None, first: list[str], last: list[str]
    ) -> dict[str, Any]:
        """What was learnt, with notes before and after what is counted."""
        notes = [*first, *_counted(self.drawn, self.controls), *by_copies(self.degraded), *last]
        return facts(judges, learnt, self.pairs, [*notes, *strangers(self.unmet, self._known)])


def strangers(unmet: Sized, known: int) -> list[str]:
    """How many labels of people are of no two images that met."""
    return [f"{len(unmet)} of {known} labels of people are of no pair of this run"] if unmet else []


def _weighted(learnt: instrument.Labels | None) -> pairing.Value:
    """How far an image keeps its principle by the weights of the judges that were learnt."""
    if learnt is None:
        return pairing.by_sum
    weights = [judge.weight for judge in learnt.judges]

    def value(verdict: Verdict) -> float | None:
        return verdicts.total([weight * lean for weight, lean in zip(weights, verdict.lean, strict=True)])

    return value


def _capped(recipe: Recipe, table: pa.Table, prompts: pa.Table) -> pa.Table:
    """The labels, those beyond the recipe's caps with that reason."""
    if not rules.caps(recipe):
        return table
    principles = dict(zip(prompts["prompt_id"].to_pylist(), prompts["principle_id"].to_pylist(), strict=True))
    return records.to_table(Label, rules.capped(recipe, records.from_table(Label, table), principles))


def by_copies(degraded: int) -> list[str]:
    """That degraded copies were planted, as far as there are any."""
    return [BY_COPIES.format(degraded)] if degraded else []


def _counted(drawn: int, controls: int) -> list[str]:
    """How many negative controls there are, and of how many no judge could say anything."""
    if not drawn:
        return []
    lost = drawn - controls
    unheard = f"; of {lost} of them there is nothing to learn: an image is missing, or no judge spoke of both"
    return [f"{drawn} negative controls were drawn and are in no dataset" + unheard * bool(lost)]


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
