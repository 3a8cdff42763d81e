"""How often each judge was right about pairs whose better image is known, and how often two judges agree."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from datagen.commands.judge.rows import Work
from datagen.judges import Judge
from datagen.labels import reliability
from datagen.labels.reliability import Reliability, Share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Trust:
    """Reliability by judge, and of each two the share of pairs that both decided on which they agree."""

    judges: dict[str, Reliability]
    agreement: dict[tuple[str, str], Share]


@dataclasses.dataclass(frozen=True)
class Side:
    """One way in which a judge tells two images apart: by its scores, or by comparing them."""

    name: str
    columns: tuple[int, int]  # of both images, or of both orders
    sign: float  # of a margin of scores; 0 where the judge compares


class Witness:
    """Gathers what is needed of labelled pairs: a number for each, and two for each judge."""

    def __init__(self, work: Work) -> None:
        self._sides = [side for judge in work.judges for side in _sides(work, judge)]
        self._columns = [column for side in self._sides for column in side.columns]
        self._values: list[Values] = []
        self._labels: list[Values] = []
        self._prompts: list[int] = []
        self._known: dict[str, int] = {}

    def hear(self, values: Values, labels: Values, prompts: Sequence[str]) -> None:
        """Take in a (pairs, rows) matrix, NaN where there is nothing; pairs without a prompt are alone in theirs."""
        self._values.append(values[:, self._columns])
        self._labels.append(labels)
        for prompt in prompts:
            at = len(self._prompts)
            self._prompts.append(self._known.setdefault(prompt, at) if prompt else at)

    def trust(self) -> Trust:
        """What comes of all of them; intervals are of 95 %, by resampling prompts."""
        values = np.concatenate(self._values)
        labels, prompts = np.concatenate(self._labels), np.array(self._prompts)
        judges, margins = {}, {}
        for place, side in enumerate(self._sides):
            first, second = values[:, 2 * place], values[:, 2 * place + 1]
            if side.sign:
                margins[side.name] = side.sign * (first - second)
                judges[side.name] = reliability.of_scores(margins[side.name], labels, prompts)
            else:
                margins[side.name] = reliability.votes_of(first, second)
                judges[side.name] = reliability.of_orders(first, second, labels, prompts)
        agreement = {
            (one, other): reliability.agreeing(margins[one], margins[other], prompts)
            for one, other in itertools.combinations(margins, 2)
        }
        return Trust(judges, agreement)


def _sides(work: Work, judge: Judge) -> list[Side]:
    """How a judge tells two images apart; of several scores an image the first counts."""
    own = [(place, slot) for place, slot in enumerate(work.slots) if slot.judge == judge.name]
    category = (judge.facts.categories or ("",))[0]
    scores = tuple(place for place, slot in own if not slot.beats and slot.category == category)
    orders = tuple(place for place, slot in own if slot.beats)
    found = []
    if len(scores) == 2:
        found.append(Side(judge.name, scores, 1.0 if judge.facts.higher_is_better else -1.0))
    if len(orders) == 2:
        found.append(Side(f"{judge.name} (compares)" if found else judge.name, orders, 0.0))
    return found
