"""The pairs of a run as a report reads them: all but the pictures, a shard at a time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import pyarrow as pa

from datagen.export import Finished

TEXTS = [
    "pair_id", "prompt_id", "prompt", "principle", "category", "kind", "chosen_prompt", "rejected_prompt", "split",
    "role", "generator", "rejected_generator",
]  # fmt: skip
NUMBERS = ["probability", "low", "high", "judges_only", "seed_chosen", "seed_rejected"]
IMAGES = ["chosen_id", "rejected_id"]
HARM = "avoid"  # kind of principles whose rejected images show a harm


@dataclasses.dataclass(frozen=True)
class Entry:
    """One pair without its pictures; `shard` and `row` say where those lie.

    `margins` are the log-odds by which each judge prefers chosen, NaN where it did not speak of both images.
    """

    pair_id: str
    prompt_id: str
    prompt: str
    principle: str
    category: str
    kind: str
    chosen_prompt: str
    rejected_prompt: str
    split: str
    role: str
    generator: str
    rejected_generator: str
    probability: float
    low: float
    high: float
    judges_only: float
    seed_chosen: int
    seed_rejected: int
    margins: tuple[float, ...]
    shard: int
    row: int

    @property
    def harmful(self) -> bool:
        """Whether its rejected image shows a harm on purpose."""
        return self.kind == HARM


def of_shard(finished: Finished, shard: int, judges: Sequence[str]) -> Iterator[Entry]:
    """The pairs of one shard, in order; `judges` are those of the run, in the profile's order."""
    table = finished.run.table("pairs", shard, [*TEXTS, *NUMBERS, *IMAGES])
    said = _leans(finished.run.table("verdicts", shard, ["prompt_id", "image_id", "lean"]))
    silent = [math.nan] * len(judges)
    images = zip(*(table[name].to_pylist() for name in IMAGES), strict=True)
    rows = table.select([*TEXTS, *NUMBERS]).to_pylist()
    for place, (row, (chosen, rejected)) in enumerate(zip(rows, images, strict=True)):
        one, other = (said.get((row["prompt_id"], image), silent) for image in (chosen, rejected))
        margins = tuple(a - b for a, b in zip(one, other, strict=True))
        yield Entry(**row, margins=margins, shard=shard, row=place)


def _leans(verdicts: pa.Table) -> dict[tuple[str, str], list[float]]:
    columns = (verdicts[name].to_pylist() for name in ("prompt_id", "image_id", "lean"))
    return {(prompt, image): lean for prompt, image, lean in zip(*columns, strict=True)}
