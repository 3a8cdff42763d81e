"""The situations that labels are measured in: what a run would have of a simulated jury, and what is true of it."""

from __future__ import annotations

import dataclasses

import numpy as np

from benchmarks.support.juries import simulate
from benchmarks.support.juries.simulate import Jury, Numbers
from datagen.labels import instrument

ROLES = {"pair": 0, "control": 1, "planted": 2, "null": 3}
CONTROLS = 0.1  # of the pairs


@dataclasses.dataclass(frozen=True)
class Case:
    """A jury's pairs first (`truth`, and the Bayes rule without and with the design), then rows of other roles.

    `leak` (J,) is what the judges see of the design, in units of their noise.
    """

    margins: Numbers
    design: Numbers
    role: Numbers
    known: Numbers
    truth: Numbers
    alone: Numbers
    all: Numbers
    leak: Numbers

    def label(self) -> instrument.Labels:
        """What is made of it."""
        return instrument.label(self.margins, self.design, self.role, self.known, np.arange(len(self.design)))


@dataclasses.dataclass(frozen=True)
class Situation:
    """`right` is how often the design is right, 0 for none; `ease` how much clearer planted pairs are, 0 for none."""

    name: str
    kinds: tuple[str, ...]
    pairs: int = 5000
    right: float = 0.85
    leak: float = 0.0
    leaking: float = 0.0
    controls: bool = False
    ease: tuple[float, float] = (0.0, 0.0)
    labels: int = 0

    def case(self, seed: int) -> Case:
        """The jury of a seed, of the kinds by turns."""
        kind = self.kinds[seed % len(self.kinds)]
        random = np.random.default_rng([seed, self.pairs, int(1000 * self.right), int(10 * self.leak), self.labels])
        jury = simulate.jury(random, kind)
        truth = simulate.coin(random, self.pairs)
        said = simulate.margins(jury, random, truth, simulate.clarities(jury, random, self.pairs))
        alone = simulate.bayes(jury, said)
        meant = simulate.design(random, truth, self.right) if self.right else np.zeros(self.pairs)
        everything = simulate.with_design(alone, meant, self.right) if self.right else alone
        judges = len(jury.strength)
        leak = np.where(random.random(judges) < self.leaking, self.leak, 0.0) * random.uniform(0.5, 1.5, judges)
        rows = [(said + meant[:, None] * leak * jury.scale, meant, "pair")]
        if self.controls:
            rows.append(_controls(jury, random, int(CONTROLS * self.pairs), leak))
        if self.ease[0]:
            rows += _planted(jury, random, self.ease)
        margins, design = (np.concatenate([row[k] for row in rows]) for k in (0, 1))
        role = np.concatenate([np.full(len(row[1]), float(ROLES[row[2]])) for row in rows])
        known = np.full(len(design), np.nan)
        told = random.permutation(self.pairs)[: self.labels]
        known[told] = truth[told] > 0
        return Case(margins, design, role, known, truth, alone, everything, leak)


def _controls(jury: Jury, random: np.random.Generator, rows: int, leak: Numbers) -> tuple[Numbers, Numbers, str]:
    """Meant, and nothing to see."""
    meant = simulate.coin(random, rows)
    said = simulate.margins(jury, random, np.zeros(rows), np.zeros(rows))
    return said + meant[:, None] * leak * jury.scale, meant, "control"


def _planted(jury: Jury, random: np.random.Generator, ease: tuple[float, float]) -> list[tuple[Numbers, Numbers, str]]:
    """2,000 pairs that are known and clearer, and 1,000 without anything to see."""
    truth = simulate.coin(random, 2000)
    clear = simulate.clarities(jury, random, 2000) * random.uniform(*ease)
    null = simulate.margins(jury, random, np.zeros(1000), np.zeros(1000))
    return [(simulate.margins(jury, random, truth, clear), truth, "planted"), (null, np.zeros(1000), "null")]


CONTINUOUS = ("hard", "heavy", "plain", "hard")
SITUATIONS = (
    Situation("design right in 95 %", CONTINUOUS, right=0.95),
    Situation("design right in 85 %", CONTINUOUS),
    Situation("design right in 70 %", CONTINUOUS, right=0.7),
    Situation("300 pairs, design right in 85 %", CONTINUOUS, pairs=300),
    Situation("100,000 pairs, design right in 85 %", CONTINUOUS, pairs=100_000),
    Situation("votes, design right in 85 %", ("votes",)),
    Situation("margins alone", CONTINUOUS, right=0.0),
    Situation("300 margins alone", CONTINUOUS, pairs=300, right=0.0),
    Situation("planted and null pairs", CONTINUOUS, right=0.0, ease=(1.5, 3.0)),
    Situation("leak .3 in half, controls", CONTINUOUS, leak=0.3, leaking=0.5, controls=True),
    Situation("leak .6 in all, controls", CONTINUOUS, leak=0.6, leaking=1.0, controls=True),
    Situation("no leak, controls", CONTINUOUS, controls=True),
    Situation("leak .3 in half, no controls", CONTINUOUS, leak=0.3, leaking=0.5),
    Situation("margins alone, 200 labels", CONTINUOUS, right=0.0, labels=200),
)
