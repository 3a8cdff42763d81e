"""The stages of a run, one file each, named after the table it writes; a stage is a function of one shard's rows.

Every stage module has `RECORD` (the row type it writes), `WHOLE` (True if it sees the run as one shard) and
`run(context, shard) -> list[RECORD]`. Only `pipeline` imports them.
"""

from __future__ import annotations

import dataclasses

from datagen.recipe import Profile, Recipe
from datagen.records import Image, Principle, Prompt, Score


@dataclasses.dataclass(frozen=True)
class Context:
    """What every stage may know beside its rows: the resolved recipe and the profile in use. Plain data, picklable."""

    recipe: Recipe
    profile: Profile


@dataclasses.dataclass(frozen=True)
class Shard:
    """The rows of one shard from all stages that ran before."""

    principles: list[Principle] = dataclasses.field(default_factory=list)
    prompts: list[Prompt] = dataclasses.field(default_factory=list)
    images: list[Image] = dataclasses.field(default_factory=list)
    scores: list[Score] = dataclasses.field(default_factory=list)
