"""What a run shows of its judges, as numbers and in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from datagen.labels.instrument import calibrate, strata
from datagen.labels.instrument.evidence import Evidence
from datagen.labels.instrument.found import Estimate, Judge
from datagen.labels.instrument.leak import Leak
from datagen.labels.instrument.rows import CONTROL, NULL, PAIR, PLANTED, Flags, Numbers, Rows

SIDE = 1.645
PULLED = 0.1  # share by which weights must be drawn to equal ones to be mentioned


def judges(
    rows: Rows, unit: Numbers, silent: Flags, first: Numbers, seen: Leak | None, found: Evidence
) -> tuple[Judge, ...]:
    """Each judge, by the posterior of the pairs; of one that sees more of the wording, too, what it says is told."""
    silent = silent & ~_blinded(silent, seen)
    held = rows.of(PAIR) if rows.of(PAIR).any() else np.ones(len(rows), bool)
    truth = 2 * special.expit(found.log_odds + found.by_design)[held] - 1
    said = np.where(silent, np.nan, rows.margins[held])
    strength = float((truth**2).mean()) if held.any() else 1.0
    signal = np.nan_to_num(
        np.array([np.nanmean(column * truth) if (~np.isnan(column)).any() else 0.0 for column in said.T])
    )
    signal = signal / strength if strength > 1e-6 else signal
    rest = said - truth[:, None] * signal
    there = (~np.isnan(said)).sum(0)
    square = np.nansum(rest**2, axis=0) / np.maximum(there, 1)
    noise = np.sqrt(np.maximum(square - signal**2 * (1 - strength), 1e-12) * (there > 0))
    shared = _shared(rest, signal, noise, strength)
    weight = found.weights / np.where(unit > 0, unit, 1.0)
    made = []
    for j in range(len(unit)):
        decided = ~np.isnan(said[:, j]) & (said[:, j] != 0)
        right = (1 + np.sign(said[decided, j]) * truth[decided]) / 2
        own = None
        if seen is not None and noise[j] > 0 and seen.error[j] < 1e5:
            middle, half = seen.mean[j] / seen.noise[j], SIDE * seen.error[j] / seen.noise[j]
            own = Estimate(float(middle), float(middle - half), float(middle + half))
        made.append(
            Judge(
                coverage=float((~np.isnan(rows.margins[held, j])).sum() / max(int(held.sum()), 1)),
                reliability=float(right.mean()) if len(right) else float("nan"),
                signal=float(signal[j]),
                noise=float(noise[j]),
                first=float(first[j]),
                leak=own,
                weight=float(weight[j]),
                shared=tuple(float(value) for value in shared[j]),
            )
        )
    return tuple(made)


def _blinded(silent: Flags, seen: Leak | None) -> Flags:
    return np.zeros_like(silent) if seen is None else seen.blinded


def _shared(rest: Numbers, signal: Numbers, noise: Numbers, strength: float) -> Numbers:
    """Correlations of errors (J, J); what the posterior leaves open of the truth is taken out."""
    there = (~np.isnan(rest)).astype(float)
    filled = np.nan_to_num(rest)
    together = filled.T @ filled / np.maximum(there.T @ there, 1) - np.outer(signal, signal) * (1 - strength)
    size = np.where(noise > 0, noise, np.inf)
    found = np.clip(together / np.outer(size, size), -1, 1)
    np.fill_diagonal(found, 1.0)
    result: Numbers = found
    return result


def notes(
    rows: Rows, found: Evidence, seen: Leak | None, first: Numbers, silent: Flags, names: Sequence[str]
) -> list[str]:
    """What was estimated, what was shrunk, what was not possible."""
    pairs, count = rows.of(PAIR), int(rows.of(PAIR).sum())
    designed = int((pairs & (rows.design != 0)).sum())
    said = []
    if found.mode == "design":
        said.append(f"Judges are weighed by what was meant in {designed} of {count} pairs.")
    elif found.mode == "people":
        told = int((pairs & ~np.isnan(rows.known)).sum())
        said.append(
            f"Nothing was meant: judges are weighed by the labels that people gave to {told} of {count} pairs."
        )
    elif found.mode == "planted":
        nulls = int(rows.of(NULL).sum())
        said.append(
            f"Judges are weighed by {int(rows.of(PLANTED).sum())} planted pairs; {nulls} null pairs give the noise."
        )
        if not nulls:
            said.append(
                "There are no null pairs: how sure the judges are is a guess; plant some, or label some 100 pairs."
            )
    elif found.mode == "unaided":
        said.append(
            "Nothing was meant and nothing planted: judges are weighed by what they agree in, never against most of "
            "them, and intervals are wide."
        )
    else:
        rest = "probabilities are those of the design alone" if designed else "every probability is 0.5"
        said.append(f"No judge spoke of any pair that could be learnt from: {rest}.")
    if found.pulled >= PULLED:
        share = f"{found.pulled:.0%}"
        said.append(
            f"There are few pairs for so many judges: their weights are drawn to what all have in common by {share}."
        )
    if found.mode == "design" and seen is None:
        said.append(
            "There are no controls: whether judges see the wording itself cannot be tested; "
            "intervals allow for a little of it."
        )
    for k in np.flatnonzero(found.gains < strata.WEAK):
        said.append(
            f"In {rows.strata[k]} the judges cannot read what was meant (they count for {found.gains[k]:.0%} there): "
            "its labels rest on the design."
        )
    if seen is not None:
        leaking = [names[int(j)] for j in np.flatnonzero(np.abs(seen.mean) > 2.5 * seen.error)]
        took = "their leaks are taken out" if seen.taken.any() else "nothing is taken out"
        who = (
            f"{', '.join(leaking)} {'sees' if len(leaking) == 1 else 'see'} the wording"
            if leaking
            else "no judge clearly sees the wording"
        )
        said.append(f"By {seen.rows} controls {who}; {took}.")
    for j in np.flatnonzero(first):
        said.append(f"{names[int(j)]} likes the first place by {first[j]:+.3g}: taken out.")
    blinded = _blinded(silent, seen)
    for j in np.flatnonzero(blinded):
        said.append(f"{names[int(j)]} sees more of the wording than of what was meant: it has no weight.")
    for j in np.flatnonzero(silent & ~blinded):
        said.append(f"{names[int(j)]} says next to nothing or always the same: it has no weight.")
    if (rows.role == CONTROL).any() or (rows.role == NULL).any():
        said.append("Controls and nulls have the probability 0.5: neither of their images is better.")
    return said


def calibration(before: Numbers, after: Numbers, known: Numbers, heat: float, bent: bool) -> list[str]:
    """What the known labels say of the probabilities, before and after."""
    how = "a monotone curve" if bent else f"a temperature of {1 / heat:.2f}"
    figures = [(calibrate.ece(odds, known), calibrate.brier(odds, known)) for odds in (before, after)]
    return [
        f"{len(known)} known labels: calibration error {figures[0][0]:.3f} → {figures[1][0]:.3f}, Brier score "
        f"{figures[0][1]:.3f} → {figures[1][1]:.3f} by {how}."
    ]
