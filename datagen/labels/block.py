"""Prompts with all verdicts on their images, in columns: what they teach, which images meet, and a table of labels."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datagen import records
from datagen.labels import instrument, matching, pairing, people, rules
from datagen.labels.heard import Heard, Rows, Texts, rows_of
from datagen.labels.instrument import CONTROL, PAIR, PLANTED
from datagen.labels.lesson import Lesson
from datagen.labels.matching import Found
from datagen.recipe import Recipe
from datagen.records import NEGATIVE, Label, pair_id

Ids = tuple[str, str, str]  # of a prompt and of two images
IN_NO_DATASET = "negative control"
SAID = ("probability", "low", "high", "judges_only")


@dataclasses.dataclass(frozen=True)
class Block:
    """A run, or a part of one. `drawn` are the places of the prompts that were drawn as negative controls, `meant` the
    images of each as they were meant; `known` are labels of people."""

    recipe: Recipe
    judges: Sequence[str]
    prompts: pa.Table
    heard: Heard
    drawn: Rows
    meant: Rows
    ways: matching.Contrasts | matching.ByPrompt
    known: Mapping[str, float]

    @staticmethod
    def of(
        recipe: Recipe, judges: Sequence[str], prompts: pa.Table, images: pa.Table, known: Mapping[str, float]
    ) -> Block:
        """Of tables of prompts and of verdicts."""
        heard = Heard.of(images, prompts, len(judges))
        # In no dataset, so nothing but how judges lean is looked at.
        drawn = np.flatnonzero(pc.equal(prompts["role"], NEGATIVE).to_numpy())
        ways = matching.ways(recipe, heard, prompts, drawn)
        return Block(recipe, judges, prompts, heard, drawn, heard.in_order(drawn), ways, known)

    def controls(self) -> Rows:
        """The negative controls of which something can be learnt."""
        return rows_of(self.meant[_nothing(self.heard.why_none(self.meant))])

    def found(self, value: pairing.Value) -> Found:
        """All two images that could be a pair, or why they are none; `value` ranks candidates."""
        found = self.ways.found(value)
        why = np.where(_nothing(found.reason), self.heard.why_none(found.twos), found.reason)
        return dataclasses.replace(found, reason=why)

    def of_contrasts(self, met: Rows) -> Lesson:
        """What is learnt of pairs that were meant, of negative controls, and of what wordings should not touch."""
        return self.rows(met) + self._besides(self.controls(), CONTROL) + self._asked(met)

    def of_candidates(self) -> Lesson:
        """What is learnt where nothing was meant: of neighbours, and of images with degraded copies."""
        return self.rows(self.ways.neighbours) + self._besides(self.ways.degraded, PLANTED)

    def rows(self, twos: Rows) -> Lesson:
        """What is known of pairs."""
        known = [said(self.known, ids) for ids in self.ids(twos)] if self.known else [math.nan] * len(twos)
        return self._rows(twos, self.heard.margins(twos), PAIR, np.array(known, dtype=np.float64))

    def _besides(self, twos: Rows, role: int) -> Lesson:
        return self._rows(twos, self.heard.margins(twos), role, np.full(len(twos), np.nan))

    def _asked(self, pairs: Rows) -> Lesson:
        """The same pairs asked what their wordings should not touch, once for each question that a judge answered."""
        answers = self.heard.controls[pairs[:, 0]] - self.heard.controls[pairs[:, 1]]
        questions = answers.shape[1] // len(self.judges)
        answers = answers.reshape(-1, len(self.judges))
        heard = ~np.isnan(answers).all(axis=1)
        twos = np.repeat(pairs, questions, axis=0)[heard]
        return self._rows(twos, answers[heard], CONTROL, np.full(len(twos), np.nan))

    def _rows(self, twos: Rows, margins: Any, role: int, known: Any) -> Lesson:
        count, place = len(twos), self.heard.prompt[twos[:, 0]]
        design = 0 if role == PAIR and self.recipe.ranked else 1
        roles, every = np.full(count, role), np.ones(count, dtype=bool)
        return Lesson(margins, np.full(count, design), roles, known, self._names[place], self._strata[place], every)

    @functools.cached_property
    def _names(self) -> Any:
        """The ids of all prompts."""
        return np.array(self.prompts["prompt_id"].to_pylist(), dtype=str)

    @functools.cached_property
    def _strata(self) -> Any:
        """Where obedience may differ, of all prompts."""
        roles = ["neutral" if role == NEGATIVE else role for role in self.prompts["role"].to_pylist()]
        principles = self.prompts["principle_id"].to_pylist()
        return np.array([f"{name} {role}" for name, role in zip(principles, roles, strict=True)], dtype=str)

    def ids(self, twos: Rows) -> list[Ids]:
        """What two images are called."""
        names = self._names[self.heard.prompt[twos[:, 0]]].tolist()
        return list(zip(names, *(self.heard.ids(side).to_pylist() for side in twos.T), strict=True))

    def table(self, found: Found, learnt: instrument.Labels | None) -> pa.Table:
        """A label for each match, prompt by prompt; `learnt` are the labels of those without a reason, in order."""
        why, told = found.reason, np.flatnonzero(_nothing(found.reason))
        numbers = {name: np.full(len(why), np.nan) for name in SAID}
        if learnt is not None and len(told):
            for name in SAID:
                numbers[name][told] = getattr(learnt, name)
            met = self.heard.met(found.twos[told])
            why = why.copy()
            why[told] = rules.broken(self.recipe, met, numbers["probability"][told], numbers["low"][told])
        silent = np.isin(np.arange(len(why)), told, invert=True)
        columns = {
            "prompt_id": self.prompts["prompt_id"].combine_chunks().take(pa.array(found.prompt)),
            "chosen_id": self.heard.ids(found.twos[:, 0]),
            "rejected_id": self.heard.ids(found.twos[:, 1]),
            "reason": pa.array(why, pa.string()),
            **{name: pa.array(values, pa.float64(), mask=silent) for name, values in numbers.items()},
        }
        schema = records.schema(Label)
        return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)

    def lost(self) -> pa.Table:
        """The same of the negative controls, which are no pairs."""
        reasons = np.full(len(self.drawn), IN_NO_DATASET, dtype=object)
        return self.table(Found(self.drawn, self.meant, reasons), None)


def met_of(found: Found) -> Rows:
    """Two images of which a label can be learnt."""
    return rows_of(found.twos[_nothing(found.reason)])


def said(known: Mapping[str, float], ids: Ids) -> float:
    """What people said of two images, whichever of them they were told is chosen; NaN if nothing."""
    return people.of(known, *_pair_ids(ids)) if known else math.nan


def unmet(known: Iterable[str], met: Iterable[Ids]) -> set[str]:
    """The pairs among `known` that are not of two images that met."""
    return set(known) - {name for ids in met for name in _pair_ids(ids)}


def _pair_ids(ids: Ids) -> tuple[str, str]:
    """What two images are called as a pair, and what they would be called the other way round."""
    prompt, one, other = ids
    return pair_id(prompt, one, other), pair_id(prompt, other, one)


def _nothing(reasons: Texts) -> Any:
    """(N,) where there is no reason."""
    return reasons == None  # noqa: E711
