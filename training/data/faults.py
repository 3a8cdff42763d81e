"""What of a data set cannot be used: all of it named at once, or left out and counted."""

from __future__ import annotations

import dataclasses
import sys

from training.errors import TrainingError

NAMED = 3  # the first so many are named


class Unusable(TrainingError):
    """One row, image or pair cannot be used; the others can."""


@dataclasses.dataclass
class Faults:
    """Counts pairs that cannot be used, out of `pairs` that were looked at."""

    pairs: int = 0
    count: int = 0
    named: list[str] = dataclasses.field(default_factory=list)

    def add(self, why: str) -> None:
        """One more pair that cannot be used."""
        self.count += 1
        if len(self.named) < NAMED:
            self.named.append(why)

    def words(self) -> str:
        """The first of them, and how many more there are."""
        more = f"; and {self.count - len(self.named):,} more" if self.count > len(self.named) else ""
        return "; ".join(self.named) + more

    def settle(self, source: str, *, skip: bool) -> None:
        """Say what is left out. Raises TrainingError where nothing may be, or nothing is left."""
        if not self.count:
            return
        why = self.words()
        if not skip or self.count == self.pairs:
            share = "" if self.count == self.pairs == 1 else f"{self.count:,} of {self.pairs:,} pairs cannot be used: "
            advice = "" if skip else " (--skip-bad leaves such pairs out)"
            raise TrainingError(f"{source}: {share}{why}{advice}")
        print(
            f"{self.count:,} of {self.pairs:,} pairs of {source} cannot be used and are left out: {why}",
            file=sys.stderr,
        )
