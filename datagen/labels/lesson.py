"""What is known of pairs before judges are learnt, in columns: a lesson for the instrument, which can be added to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datagen.labels import instrument
from datagen.labels.heard import Numbers
from datagen.labels.instrument import PAIR


@dataclasses.dataclass(frozen=True)
class Lesson:
    """N rows, as `instrument.label` is given them; judges are learnt from those where `learn` is true."""

    margins: Numbers
    design: NDArray[np.int64]
    role: NDArray[np.int64]
    known: Numbers
    prompts: NDArray[np.str_]
    strata: NDArray[np.str_]
    learn: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.role)

    def __add__(self, other: Lesson) -> Lesson:
        """The rows of both, one after the other."""
        return Lesson(
            *(np.concatenate([mine, its]) for mine, its in zip(_columns(self), _columns(other), strict=True))
        )

    def of(self, rows: Any) -> Lesson:
        """Some of the rows."""
        return Lesson(*(column[rows] for column in _columns(self)))

    def unlearnt(self) -> Lesson:
        """The same rows, to be labelled; nothing is learnt from them but what their known labels calibrate."""
        return dataclasses.replace(self, learn=np.zeros(len(self), dtype=bool))

    def labels(self, judges: Sequence[str], others: Lesson | None = None) -> instrument.Labels | None:
        """The labels of the pairs that come first in `others`, or else in the lesson; None if neither has any."""
        rows = self if others is None else others + self
        if not (rows.role == PAIR).any():
            return None
        columns = (rows.margins, rows.design, rows.role, rows.known, rows.prompts)
        learnt = instrument.label(*columns, strata=rows.strata, learn=rows.learn, names=judges)
        return learnt.first(int((self.role == PAIR).sum()) if others is None else len(others))


def _columns(lesson: Lesson) -> list[Any]:
    return [getattr(lesson, field.name) for field in dataclasses.fields(Lesson)]
