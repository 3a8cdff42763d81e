"""What was learnt of a run's labels and of its judges."""

from __future__ import annotations

import dataclasses

from datagen.labels.instrument.rows import Numbers


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its 90 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclasses.dataclass(frozen=True)
class Judge:
    """One judge, as the run itself shows it.

    `coverage` is the share of the pairs that it spoke of, `reliability` how often the sign of its margin is right
    where it decides. `signal` and `noise` are the mean and the standard deviation of its margin along the truth, in
    its own unit; `first` what it adds to the image in the first place (taken out). `leak` is what it adds to the image
    that was meant whatever that shows, in units of `noise`, by the controls; what is taken out is drawn to 0, or 0. It
    is None without controls. `weight` is log-odds per unit of its margin when all judges speak: the sum over the
    judges ranks images that nothing was meant of. `shared` are the correlations of its errors with those of each
    judge (itself: 1).
    """

    coverage: float
    reliability: float
    signal: float
    noise: float
    first: float
    leak: Estimate | None
    weight: float
    shared: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Labels:
    """A row for each row given: (N,) arrays, probabilities that A is the better image.

    `probability` rests on all evidence, `judges_only` on the judges alone; `low` to `high` is the 90 % interval of
    `probability`. Rows of controls and nulls, of which neither image is better, have 0.5. `obedience` says for each
    stratum how often the image that was meant is the better one. `notes` say in plain sentences what was estimated,
    what was shrunk, and what was not possible.
    """

    probability: Numbers
    judges_only: Numbers
    low: Numbers
    high: Numbers
    judges: tuple[Judge, ...]
    obedience: dict[str, Estimate]
    notes: tuple[str, ...]

    def first(self, count: int) -> Labels:
        """Those of the first rows alone."""
        names = ("probability", "judges_only", "low", "high")
        return dataclasses.replace(self, **{name: getattr(self, name)[:count] for name in names})
