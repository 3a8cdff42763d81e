"""Which samples a step sees: a function of seed and step, so that a resumed run sees what one without a stop did."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

BLOCK = 4096  # steps whose buckets are drawn at once


def generator(seed: int, *parts: object) -> torch.Generator:
    """A CPU generator that depends on the seed and the parts only."""
    digest = hashlib.sha256(repr((seed, *parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@functools.lru_cache(maxsize=2)  # a batch lies in one pass or two
def _shuffled(samples: int, seed: int, turn: int, of: str = "") -> Tensor:
    return torch.randperm(samples, generator=generator(seed, "order", turn, *([of] if of else [])))


def batch_rows(samples: int, size: int, seed: int, step: int, of: str = "") -> Tensor:
    """Which samples a step sees: an endless sequence of shuffled passes over the data, cut into batches.

    `of` names one sequence among several.
    """
    first = step * size
    passes = range(first // samples, (first + size - 1) // samples + 1)
    order = torch.cat([_shuffled(samples, seed, turn, of) for turn in passes])
    picked: Tensor = order[first - passes[0] * samples :][:size]
    return picked


class Order:
    """The order of samples that fall into buckets: every batch is of one bucket, drawn by how many samples it has.

    Each bucket is a sequence of shuffled passes of its own, so that no sample is left out, and all are seen equally
    often in the long run. Where there is one bucket, or none, it is `batch_rows`.
    """

    def __init__(self, buckets: Sequence[Hashable], size: int, seed: int) -> None:
        self.size, self.seed, self.count = size, seed, len(buckets)
        members: dict[Hashable, list[int]] = {}
        for row, bucket in enumerate(buckets):
            members.setdefault(bucket, []).append(row)
        self.names = [str(bucket) for bucket in members]
        self.members = [torch.tensor(rows) for rows in members.values()]
        self.drawn: list[Tensor] = []  # the bucket of each step, a block after the other
        self.before = [torch.zeros(len(self.members), dtype=torch.long)]  # batches of each bucket before each block

    def rows(self, step: int) -> Tensor:
        """The samples of a step's batch, in their places."""
        if len(self.members) < 2:
            return batch_rows(self.count, self.size, self.seed, step)
        block, at = divmod(step, BLOCK)
        while len(self.drawn) <= block:
            self._draw()
        drawn = self.drawn[block]
        bucket = int(drawn[at])
        turn = int(self.before[block][bucket] + (drawn[:at] == bucket).sum())
        own = self.members[bucket]
        return own[batch_rows(len(own), self.size, self.seed, turn, self.names[bucket])]

    def small(self) -> int:
        """How many samples are in buckets that do not fill a batch, so that it holds some of them more than once."""
        return sum(len(rows) for rows in self.members if len(rows) < self.size) if len(self.members) > 1 else 0

    def unseen(self, steps: int) -> int:
        """How many samples no batch of so many steps holds, as no bucket of theirs is drawn often enough."""
        batches = torch.zeros(len(self.members), dtype=torch.long)
        for block in range((steps + BLOCK - 1) // BLOCK if len(self.members) > 1 else 0):
            while len(self.drawn) <= block:
                self._draw()
            batches += torch.bincount(self.drawn[block][: steps - block * BLOCK], minlength=len(self.members))
        seen = [min(len(rows), int(count) * self.size) for rows, count in zip(self.members, batches, strict=True)]
        return sum(map(len, self.members)) - sum(seen) if len(self.members) > 1 else 0

    def _draw(self) -> None:
        shares = torch.tensor([len(rows) for rows in self.members], dtype=torch.float64)
        rng = generator(self.seed, "buckets", len(self.drawn))
        self.drawn.append(torch.multinomial(shares, BLOCK, replacement=True, generator=rng))
        self.before.append(self.before[-1] + torch.bincount(self.drawn[-1], minlength=len(self.members)))
