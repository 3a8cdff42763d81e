"""All verdicts of a run → a label for each two images that could be a pair, or the reason why they are none."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen import records
from datagen.labels import instrument, matching, pairing, people, rules, verdicts
from datagen.labels.heard import Heard, Numbers, Rows, Texts, rows_of
from datagen.labels.instrument import CONTROL, PAIR
from datagen.labels.instrument.rows import PLANTED
from datagen.labels.matching import Found
from datagen.recipe import Recipe
from datagen.records import NEGATIVE, Label, Verdict, pair_id

Ids = tuple[str, str, str]  # of a prompt and of two images
BY_COPIES = (
    "{} planted pairs are of an image and a degraded copy of it, which tell who sees how good a picture is by far "
    "coarser differences than those between the images"
)
IN_NO_DATASET = "negative control"
NOTHING = "no two images could be compared"
SAID = ("probability", "low", "high", "judges_only")


def label(
    recipe: Recipe, judges: Sequence[str], prompts: pa.Table, images: pa.Table
) -> tuple[pa.Table, dict[str, Any]]:
    """A label for each two images that could be a pair, prompt by prompt, and what was learnt (JSON-able).

    `prompts` and `images` are tables of prompts and verdicts. A contrast was drawn from wordings of which one keeps
    the principle: that is the design. Candidates of one prompt have none; the two that meet are chosen by what was
    learnt of all. Raises InputError if the recipe names labels of people that cannot be read.
    """
    known, notes = people.read(Path(recipe.labels.known)) if recipe.labels.known else ({}, [])
    heard = Heard.of(images, prompts, len(judges))
    # In no dataset, so nothing but how judges lean is looked at.
    drawn = np.flatnonzero(pc.equal(prompts["role"], NEGATIVE).to_numpy())
    meant = heard.in_order(drawn)
    controls = meant[_nothing(heard.why_none(meant))]
    ways = matching.ways(recipe, heard, prompts, drawn)
    besides = ways.degraded if recipe.ranked else controls
    run = _Run(judges, heard, prompts, known, 0 if recipe.ranked else 1, besides)
    none = rows_of([])
    found = ways.found(_weighted(run.learn(ways.neighbours, none)) if recipe.ranked else pairing.by_sum)
    why = np.where(_nothing(found.reason), heard.why_none(found.twos), found.reason)
    met = found.twos[_nothing(why)]
    learnt = run.learn(ways.neighbours, met) if recipe.ranked else run.learn(met, none)
    table = _capped(recipe, _table(recipe, run, found, why, learnt), prompts)
    lost = Found(drawn, meant, np.full(len(drawn), IN_NO_DATASET, dtype=object))
    table = pa.concat_tables([table, _table(recipe, run, lost, lost.reason, None)])
    notes = [*_counted(len(drawn), len(controls)), *by_copies(len(ways.degraded)), *notes]
    notes += strangers(known, run.ids(met)) if known else []
    return table, facts(judges, learnt, len(met), notes)


@dataclasses.dataclass(frozen=True)
class _Run:
    """What is known of all pairs of a run: labels of people, `design` (1, or 0 for none), and what else was meant:
    with a design the negative controls that were drawn, else images with degraded copies."""

    judges: Sequence[str]
    heard: Heard
    prompts: pa.Table
    known: Mapping[str, float]
    design: int
    besides: Rows

    def learn(self, taught: Rows, others: Rows) -> instrument.Labels | None:
        """The labels of `taught`, which are learnt from, then those of `others`, which are not; None without any."""
        pairs = np.concatenate([taught, others])
        if not len(pairs):
            return None
        asked, answers = self._asked(taught) if self.design else (rows_of([]), self.heard.margins(rows_of([])))
        both = np.concatenate([pairs, self.besides, asked])
        role = np.repeat([PAIR, CONTROL if self.design else PLANTED], [len(pairs), len(both) - len(pairs)])
        known = [said(self.known, ids) for ids in self.ids(pairs)] if self.known else [math.nan] * len(pairs)
        place = self.heard.prompt[both[:, 0]]
        learnt = instrument.label(
            np.concatenate([self.heard.margins(pairs), self.heard.margins(self.besides), answers]),
            np.where(role == PAIR, self.design, 1),
            role,
            np.array([*known, *[np.nan] * (len(both) - len(pairs))]),
            self.names()[place],
            strata=self._strata()[place],
            learn=(np.arange(len(both)) < len(taught)) | (role != PAIR),
            names=self.judges,
        )
        return learnt.first(len(pairs))

    def _asked(self, pairs: Rows) -> tuple[Rows, Numbers]:
        """The same pairs asked what their wordings should not touch, once for each question that a judge answered."""
        answers = self.heard.controls[pairs[:, 0]] - self.heard.controls[pairs[:, 1]]
        questions = answers.shape[1] // len(self.judges)
        answers = answers.reshape(-1, len(self.judges))
        heard = ~np.isnan(answers).all(axis=1)
        return np.repeat(pairs, questions, axis=0)[heard], answers[heard]

    def names(self) -> Any:
        """The ids of all prompts."""
        return np.array(self.prompts["prompt_id"].to_pylist(), dtype=str)

    def _strata(self) -> Any:
        """Where obedience may differ, of all prompts."""
        roles = ["neutral" if role == NEGATIVE else role for role in self.prompts["role"].to_pylist()]
        principles = self.prompts["principle_id"].to_pylist()
        return np.array([f"{name} {role}" for name, role in zip(principles, roles, strict=True)], dtype=str)

    def ids(self, twos: Rows) -> list[Ids]:
        """What two images are called."""
        names = self.names()[self.heard.prompt[twos[:, 0]]].tolist()
        return list(zip(names, *(self.heard.ids(side).to_pylist() for side in twos.T), strict=True))


def said(known: Mapping[str, float], ids: Ids) -> float:
    """What people said of two images, whichever of them they were told is chosen; NaN if nothing."""
    return people.of(known, *_pair_ids(ids)) if known else math.nan


def strangers(known: Mapping[str, float], met: Iterable[Ids]) -> list[str]:
    """How many labels of people are of no two images that met."""
    missing = len(known.keys() - {name for ids in met for name in _pair_ids(ids)}) if known else 0
    return [f"{missing} of {len(known)} labels of people are of no pair of this run"] if missing else []


def _pair_ids(ids: Ids) -> tuple[str, str]:
    """What two images are called as a pair, and what they would be called the other way round."""
    prompt, one, other = ids
    return pair_id(prompt, one, other), pair_id(prompt, other, one)


def _nothing(reasons: Texts) -> Any:
    """(N,) where there is no reason."""
    return reasons == None  # noqa: E711


def _weighted(learnt: instrument.Labels | None) -> pairing.Value:
    """How far an image keeps its principle by the weights of the judges that were learnt."""
    if learnt is None:
        return pairing.by_sum
    weights = [judge.weight for judge in learnt.judges]

    def value(verdict: Verdict) -> float | None:
        return verdicts.total([weight * lean for weight, lean in zip(weights, verdict.lean, strict=True)])

    return value


def _table(recipe: Recipe, run: _Run, found: Found, why: Texts, learnt: instrument.Labels | None) -> pa.Table:
    """A label for each match; of those without a reason `why` they are none that is what was learnt last, in order."""
    told = np.flatnonzero(_nothing(why))
    numbers = {name: np.full(len(why), np.nan) for name in SAID}
    if learnt is not None and len(told):
        for name in SAID:
            numbers[name][told] = getattr(learnt, name)[-len(told) :]
        met = run.heard.met(found.twos[told])
        why = why.copy()
        why[told] = rules.broken(recipe, met, numbers["probability"][told], numbers["low"][told])
    silent = np.isin(np.arange(len(why)), told, invert=True)
    columns = {
        "prompt_id": run.prompts["prompt_id"].combine_chunks().take(pa.array(found.prompt)),
        "chosen_id": run.heard.ids(found.twos[:, 0]),
        "rejected_id": run.heard.ids(found.twos[:, 1]),
        "reason": pa.array(why, pa.string()),
        **{name: pa.array(values, pa.float64(), mask=silent) for name, values in numbers.items()},
    }
    schema = records.schema(Label)
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


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
