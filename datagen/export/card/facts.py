"""What the card tells of a run's pairs, gathered in one pass that reads no image."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

from datagen import store
from datagen.progress import Progress
from datagen.records import NEGATIVE

SPLITS = ("train", "test")
BANDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # of probabilities, by their lower ends


def _counter() -> Any:
    return dataclasses.field(default_factory=collections.Counter)


@dataclasses.dataclass
class Facts:
    """What the pairs are of, and how many; `sizes` (bytes by split) and `unmarked` are known at the end."""

    splits: collections.Counter[str] = _counter()
    principles: collections.Counter[tuple[str, str, str]] = _counter()  # statement, category, kind
    roles: collections.Counter[str] = _counter()
    bands: collections.Counter[float] = _counter()  # lower ends of `BANDS`
    likely: float = 0.0  # sum of the probabilities
    generators: set[str] = dataclasses.field(default_factory=set)
    judges: set[str] = dataclasses.field(default_factory=set)
    empty_negatives: set[str] = dataclasses.field(default_factory=set)
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    unmarked: collections.Counter[str] = _counter()
    authors: collections.Counter[str] = _counter()  # of prompts
    negative_controls: int = 0  # of which the judges have learnt, and no pair is made
    cost: float = 0.0  # US dollars of the calls that wrote the prompts

    def written(self) -> list[str]:
        """The splits that get a file: those with rows, and train even when every pair was dropped."""
        return [split for split in SPLITS if self.splits[split] or split == "train"]


def gather(run: store.Run, shards: int, progress: Progress) -> Facts:
    """The facts of all pairs of a run."""
    facts = Facts()
    columns = ["split", "principle", "category", "kind", "role", "generator", "generator_revision", "probability"]
    others = ["rejected_generator", "rejected_generator_revision"]
    negatives = ["empty_negative", "rejected_empty_negative"]
    for index in range(shards):
        progress("card", index, shards)
        for row in run.table("pairs", index, [*columns, *others, *negatives]).to_pylist():
            facts.empty_negatives |= {row[name] for name in negatives if row[name]}
            facts.splits[row["split"]] += 1
            facts.principles[(row["principle"], row["category"], row["kind"])] += 1
            facts.roles[row["role"]] += 1
            facts.bands[max((end for end in BANDS if end <= row["probability"]), default=0.0)] += 1
            facts.likely += row["probability"]
            for side in ("", "rejected_"):
                named = (row[f"{side}generator"], row[f"{side}generator_revision"])
                facts.generators |= {" at ".join(filter(None, named))} - {""}
        judged = run.table("scores", index, ["judge", "judge_version"]).group_by(["judge", "judge_version"])
        facts.judges.update(f"{row['judge']} {row['judge_version']}" for row in judged.aggregate([]).to_pylist())
    progress("card", shards, shards)
    if run.is_done("prompts", 0):
        for table in run.tables("prompts", 0, ["author", "cost", "role"]):
            roles = table["role"].to_pylist()
            facts.authors.update(
                author for author, role in zip(table["author"].to_pylist(), roles, strict=True) if role != NEGATIVE
            )
            facts.negative_controls += roles.count(NEGATIVE)
            facts.cost += sum(table["cost"].to_pylist())
    return facts
