"""Which few images are worth a look: those that each judge likes best and least, and those that judges dispute most.

A judge gives an image one number: its first score, or how probably the image beats its rival. Shards are read one at a
time, and the few images that are in front are all that is kept of them.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np

from datagen.commands.judge.merge import matrix
from datagen.commands.judge.shards import Parts
from datagen.commands.judge.tally import Tally
from datagen.judges import Judge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

SHOWN = 6  # images of one kind
LIKELY = 0.5  # of a harm, where a judge gives its probability; others have their threshold at 0


@dataclasses.dataclass
class Ranking:
    """The images with the greatest numbers of a stream, the greatest first; among equals the earlier one."""

    kept: list[tuple[float, int]] = dataclasses.field(default_factory=list)  # (−number, image)

    def hear(self, numbers: Values, first: int) -> None:
        """Take in (images,) numbers, NaN where there is none; the first image is the one numbered `first`."""
        there = np.flatnonzero(~np.isnan(numbers))
        self.kept = heapq.nsmallest(SHOWN, [*self.kept, *((-float(numbers[at]), first + int(at)) for at in there)])

    @property
    def images(self) -> list[int]:
        """Their numbers."""
        return [image for _, image in self.kept]


@dataclasses.dataclass
class Opinion:
    """What one judge gave, and the images that it likes best and least."""

    judge: Judge
    numbers: Tally
    best: Ranking = dataclasses.field(default_factory=Ranking)
    worst: Ranking = dataclasses.field(default_factory=Ranking)

    @property
    def sign(self) -> float:
        """1 where more is better, else −1."""
        return 1.0 if self.judge.facts.higher_is_better else -1.0


@dataclasses.dataclass(frozen=True)
class Seen:
    """One image of those that were chosen: its row's texts, each judge's number, NaN where it gave none."""

    image: int
    path: str
    prompt: str
    numbers: list[float]
    flagged: bool  # by a judge of harm


def choose(parts: Parts, shards: int) -> tuple[list[Opinion], Ranking]:
    """What each judge likes, and the images that two judges are furthest apart of, each by its own mean and spread."""
    judges = [judge for judge in parts.work.judges if _columns(parts, judge, 0)]
    opinions = [Opinion(judge, Tally(judge.name, "", False, [place])) for place, judge in enumerate(judges)]
    for numbers, _ in _numbers(parts, shards, opinions):
        for one in opinions:
            one.numbers.measure(numbers)
    disputed = Ranking()
    for numbers, first in _numbers(parts, shards, opinions):
        for column, one in enumerate(opinions):
            one.numbers.bin(numbers)
            one.best.hear(one.sign * numbers[:, column], first)
            one.worst.hear(-one.sign * numbers[:, column], first)
        disputed.hear(_apart(numbers, opinions), first)
    return opinions, disputed


def look_up(parts: Parts, shards: int, opinions: list[Opinion], images: Collection[int]) -> dict[int, Seen]:
    """The rows of some images."""
    found, start, slots, size = {}, 0, len(parts.work.slots), parts.work.size
    for table in parts.tables(shards, ["path", "prompt", "value"]):
        values = matrix(table, slots)
        numbers = _of_shard(parts, values, opinions)
        for image in sorted(set(images) & set(range(start, start + len(numbers)))):
            unit, place = divmod(image - start, size)
            row = unit * slots + next(at for at, slot in enumerate(parts.work.slots) if slot.place == place)
            texts = table["path"][row].as_py(), table["prompt"][row].as_py()
            flagged = any(_flags(parts, one.judge, values[unit], place) for one in opinions)
            found[image] = Seen(image, *texts, numbers[image - start].tolist(), flagged)
        start += len(numbers)
    return found


def _numbers(parts: Parts, shards: int, opinions: list[Opinion]) -> Iterator[tuple[Values, int]]:
    """(images, judges) numbers shard by shard, and the number of its first image."""
    first = 0
    for table in parts.tables(shards, ["value"]):
        numbers = _of_shard(parts, matrix(table, len(parts.work.slots)), opinions)
        yield numbers, first
        first += len(numbers)


def _of_shard(parts: Parts, values: Values, opinions: list[Opinion]) -> Values:
    """(images, judges) numbers of the (units, rows) of a shard."""
    own = [_of_judge(parts, values, one.judge) for one in opinions]
    return np.stack(own, axis=-1).reshape(-1, len(opinions))


def _of_judge(parts: Parts, values: Values, judge: Judge) -> Values:
    """(units, images) numbers of one judge."""
    columns = [_columns(parts, judge, place)[0] for place in range(parts.work.size)]
    if hasattr(judge, "score"):
        return values[:, columns]
    ahead, behind = values[:, columns].T
    first = (ahead + 1 - behind) / 2
    return np.stack([first, 1 - first], axis=1)


def _columns(parts: Parts, judge: Judge, place: int) -> list[int]:
    """The rows of a unit in which a judge speaks of the image at a place; of several scores the first comes first."""
    slots = enumerate(parts.work.slots)
    return [at for at, slot in slots if slot.judge == judge.name and slot.place == place]


def _apart(numbers: Values, opinions: list[Opinion]) -> Values:
    """(images,) distances between the judge that likes an image most and the one that likes it least."""
    means = np.array([one.numbers.mean for one in opinions])
    spreads = np.array([one.numbers.spread or np.nan for one in opinions])
    likes = (numbers - means) / spreads * np.array([one.sign for one in opinions])
    there = ~np.isnan(likes)
    low, high = np.where(there, likes, np.inf).min(axis=1), np.where(there, likes, -np.inf).max(axis=1)
    return np.where(there.sum(axis=1) > 1, high - low, np.nan)


def _flags(parts: Parts, judge: Judge, values: Values, place: int) -> bool:
    """Whether a judge of a harm finds it in the image at a place; in any of its categories."""
    if judge.facts.higher_is_better:
        return False
    limit = LIKELY if judge.facts.absolute or hasattr(judge, "server") else 0.0
    own = values[_columns(parts, judge, place)]
    return bool((own[~np.isnan(own)] > limit).any())
