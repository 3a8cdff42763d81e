"""Writers of principles and prompts: all follow one protocol, so a grammar can stand in for an LLM.

Which one writes is the recipe's choice. A client is opened only for a writer that asks an LLM, and a writer is opened
only for a stage that has something to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from datagen.llm import LlmOptions
from datagen.recipe import Profile, Recipe, asks_llm
from datagen.records import Principle, Prompt, Written


class Writer(Protocol):
    """Writes the first two tables of a run."""

    def principles(self) -> Written[Principle]:
        """The value principles of a profile, in a stable order."""

    def prompts(self, principles: list[Principle]) -> Written[Prompt]:
        """`recipe.prompts.count` rows, evenly over the principles; UserError if there are not that many."""

    def retry(self, principles: list[Principle], rows: list[Prompt]) -> Written[Prompt]:
        """The same rows, those with an `error` retried; the others stay as and where they are."""


@contextlib.contextmanager
def open_writer(recipe: Recipe, profile: Profile, options: LlmOptions) -> Iterator[Writer]:
    """The writer of a profile, with its LLM client for as long as it is open; EndpointError where it has none."""
    if recipe.writer(profile) == "offline":
        from datagen.writers.offline import OfflineWriter

        yield OfflineWriter(recipe, profile)
        return
    from datagen.llm.access import connect
    from datagen.writers.brief_writer import BriefWriter

    llm = recipe.llm
    asked = connect(llm.model, options, llm.parameters) if asks_llm(recipe, profile) else contextlib.nullcontext()
    with asked as ask:
        yield BriefWriter(recipe, profile, ask, options.say)
