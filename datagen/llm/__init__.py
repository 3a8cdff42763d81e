"""Writers of principles and prompts: whatever writes them answers to one protocol, so a grammar stands in for an LLM.

The client for OpenAI-compatible servers will live in this package and give a second writer.
"""

from __future__ import annotations

from typing import Protocol

from datagen.recipe import Profile, Recipe
from datagen.records import Principle, Prompt


class Writer(Protocol):
    """Writes the first two tables of a run."""

    def principles(self, profile: Profile) -> list[Principle]:
        """The value principles of a profile, in a stable order."""

    def prompts(self, recipe: Recipe, profile: Profile, principles: list[Principle]) -> list[Prompt]:
        """`recipe.prompts.count` distinct prompts, evenly over the principles; RecipeError if there are too few."""


def load(name: str) -> Writer:
    """The writer of that name. `recipe.py` has already refused names that are not served."""
    from datagen.llm.offline import OfflineWriter

    return {"offline": OfflineWriter}[name]()
