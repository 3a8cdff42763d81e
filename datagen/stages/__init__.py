"""The stages of a run, one file each, named after the table it writes; a stage is a function of one shard's rows.

Every stage module has `RECORD` (the row type it writes), `VERSION` (raised when equal inputs give other rows, so that
what an older one derived is derived anew), `WHOLE` (True if it sees the run as one shard) and `run(context, shard)`,
which gives a list of rows, or `Written` where candidates were left out. A whole stage whose content can fail also has
`mend(context, shard, rows)`, which tries the failed ones again. Only `pipeline` imports stages.
"""

from __future__ import annotations

import dataclasses

from datagen.llm import LlmOptions
from datagen.recipe import Profile, Recipe
from datagen.records import Image, Principle, Prompt, Score


@dataclasses.dataclass(frozen=True)
class Context:
    """What every stage may know beside its rows: the resolved recipe, the profile in use, and a writer's desk.

    Plain data, picklable, but for who listens at the desk: only whole stages have that, and run in our process.
    """

    recipe: Recipe
    profile: Profile
    desk: LlmOptions = LlmOptions()


@dataclasses.dataclass(frozen=True)
class Shard:
    """The rows of one shard from all stages that ran before."""

    principles: list[Principle] = dataclasses.field(default_factory=list)
    prompts: list[Prompt] = dataclasses.field(default_factory=list)
    images: list[Image] = dataclasses.field(default_factory=list)
    scores: list[Score] = dataclasses.field(default_factory=list)
