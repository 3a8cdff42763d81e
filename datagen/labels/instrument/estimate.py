"""From all that a run knows of its pairs to a probability with an interval for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from datagen.errors import InputError
from datagen.labels.instrument import calibrate, describe, doubt, evidence, leak, moments, places
from datagen.labels.instrument.found import Labels
from datagen.labels.instrument.rows import CONTROL, NULL, PAIR, PLANTED, Flags, Numbers, Rows, rows

LAPSE = 0.5  # pairs: nothing is more certain than what so many pairs could have shown to be wrong
SAME = 10  # equal answers from which on a judge is taken to give no other
HEARD = 10  # answers, or of few pairs a tenth of them, below which nothing can be learnt of a judge


def label(
    margins: ArrayLike,
    design: ArrayLike,
    role: ArrayLike,
    known: ArrayLike,
    prompts: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    learn: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> Labels:
    """The probability that A is the better image of each pair, from what the run itself shows of its judges.

    `margins` (N, J) say how far each judge prefers A to B, in any unit, NaN where it abstained and 0 for a tie;
    `design` (N,) is +1 where A was meant to be the better one, −1 where B was, 0 where nothing was meant. `role` (N,)
    is 0 for pairs, 1 for negative controls (meant, but neither is better), 2 for planted pairs (meant, and surely so),
    3 for nulls (neither is better, nothing meant). `known` (N,) are labels of people: 1 (A), 0 (B), NaN; they
    calibrate, and are not copied into the probability of their row. `prompts` (N,) name what is resampled and crossed
    together, `strata` (N,) where obedience may differ. Rows where `learn` (N,) is false are labelled, but judges are
    not learnt from them; their known labels calibrate. `names` are those of the judges, for the notes.

    The same rows give the same bytes in any order. InputError for arrays that do not fit.
    """
    given, order = rows(margins, design, role, known, prompts, strata, learn, seed)
    notes: list[str] = []
    judges = given.margins.shape[1]
    called = [f"judge {j}" for j in range(judges)] if names is None else list(names)
    if len(called) != judges:
        raise InputError(f"{len(called)} names for {judges} judges: give one a judge")
    first = places.liking(given.margins, given)
    given = dataclasses.replace(given, margins=given.margins - first)
    seen = leak.leak(given.margins, given)
    if seen is not None:
        held = np.isin(given.role, (PAIR, CONTROL))
        given = dataclasses.replace(
            given, margins=given.margins - np.where(held, given.design, 0)[:, None] * seen.taken
        )
    unit = moments.unit(given.margins[given.of(PAIR)] if given.of(PAIR).any() else given.margins)
    silent = _silent(given, unit)
    if seen is not None:
        silent |= seen.blinded
    x = np.where(silent, np.nan, given.margins / np.where(silent, 1.0, unit))
    found = _weighed(x, given, seen, unit, silent, seed)
    total, alone = found.log_odds + found.by_design, found.log_odds
    told = (given.role == PAIR) & ~np.isnan(given.known)
    heat = 1.0
    if told.any():
        before = total
        total, heat, bent = calibrate.calibrated(total, given.known, told, given.fold)
        alone, _, _ = calibrate.calibrated(alone, given.known, told, given.fold)
        notes += describe.calibration(before[told], total[told], given.known[told], heat, bent)
    # Of what calibration made of the sum, judges and design have the shares that they had.
    share = found.log_odds / np.where(found.log_odds + found.by_design == 0, 1.0, found.log_odds + found.by_design)
    judged, designed = total * share, total * (1 - share)
    of_judges = heat * found.alone
    probability = doubt.mean(judged, designed, of_judges, heat * found.doubt)
    judges_only = doubt.mean(alone, np.zeros(len(alone)), of_judges, of_judges)
    open_ = doubt.beyond(judged, found.error, given.of(PAIR))
    low, high = doubt.interval(judged, designed, of_judges, heat * found.width, open_)
    lapse = LAPSE / (1 + int((given.of(PAIR) | given.of(PLANTED)).sum()))
    probability, judges_only = (lapse + (1 - 2 * lapse) * of for of in (probability, judges_only))
    low, high = np.minimum(low, probability), np.maximum(high, probability)
    for array in (probability, judges_only, low, high):
        array[np.isin(given.role, (CONTROL, NULL))] = 0.5
    described = describe.judges(given, unit, silent, first, seen, found)
    notes = [*describe.notes(given, found, seen, first, silent, called), *notes]
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    return Labels(
        probability[back], judges_only[back], low[back], high[back], described, found.obedience, tuple(notes)
    )


def _weighed(
    x: Numbers, given: Rows, seen: leak.Leak | None, unit: Numbers, silent: Flags, seed: int
) -> evidence.Evidence:
    """The evidence of those that are not silent: one that is would pull the others' moments towards its own."""
    heard = np.flatnonzero(~silent) if not silent.all() else np.arange(len(silent))
    found = evidence.weigh(
        x[:, heard],
        dataclasses.replace(given, margins=given.margins[:, heard]),
        None if seen is None else seen.among(heard),
        np.where(silent, 1.0, unit)[heard],
        seed,
    )
    weights = np.zeros(len(silent))
    weights[heard] = found.weights
    return dataclasses.replace(found, weights=weights)


def _silent(given: Rows, unit: Numbers) -> Flags:
    """The judges (J,) of which nothing can be learnt: hardly an answer, none but ties, or always the same one.

    Where always the same side was meant, a judge that always prefers it may just be right.
    """
    mine = given.learn & ~np.isin(given.role, (CONTROL, NULL))
    one_sided = len(np.unique(given.design[mine])) == 1 and given.design[mine].any()
    same = [
        len(spoken) >= SAME and np.ptp(spoken) == 0 and not one_sided
        for spoken in (column[~np.isnan(column)] for column in given.margins[mine].T)
    ]
    # One that was asked where the others did not settle a label may have spoken in a few pairs of thousands.
    seldom = (~np.isnan(given.margins[mine])).sum(0) < min(HEARD, mine.sum() / 10)
    result: Flags = np.array(same) | seldom | (unit <= 0)
    return result
