"""The types that replies to the writer must have; bounds keep out what no picture's description is.

Lengths are in characters. They say what is accepted from a model, not what is kept: filters come after.
"""

from __future__ import annotations

import functools
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from datagen.llm.typed.looseness import INDEPENDENT

Description = Annotated[str, Field(min_length=10, max_length=400)]
Negative = Annotated[str, Field(max_length=200)]
Scene = Annotated[str, Field(max_length=200)]
Phrase = Annotated[str, Field(min_length=2, max_length=120)]


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Scenes(_Reply):
    """A batch of scenes."""

    scenes: Annotated[list[Scene], Field(min_length=1, max_length=100, json_schema_extra=INDEPENDENT)]


@functools.cache
def scenes_of(asked: int) -> type[Scenes]:
    """`Scenes` that hold at most twice as many as are asked for: a small model seldom ends a list that it need not."""
    bounded = Annotated[list[Scene], Field(min_length=1, max_length=2 * asked, json_schema_extra=INDEPENDENT)]
    return create_model("Scenes", __base__=Scenes, scenes=(bounded, ...))


class Context(_Reply):
    """A neutral description of a scene."""

    prompt: Description


class Wordings(_Reply):
    """A context prompt with its two wordings."""

    prompt: Description
    chosen: Description
    rejected: Description
    chosen_negative: Negative
    rejected_negative: Negative


class Control(_Reply):
    """A prompt that breaks nothing, and the wording of its violation."""

    prompt: Description
    rejected: Description
    chosen_negative: Negative


class NewPrinciple(_Reply):
    """A principle as an LLM proposes it; its wordings stand after the description of a scene."""

    kind: Literal["avoid", "prefer"]
    category: Annotated[str, Field(min_length=2, max_length=40)]
    statement: Annotated[str, Field(min_length=4, max_length=100)]
    aligned: Phrase
    violating: Phrase
    aligned_negative: Negative
    violating_negative: Negative


class Widened(_Reply):
    """A batch of new principles."""

    principles: Annotated[list[NewPrinciple], Field(min_length=1, max_length=5, json_schema_extra=INDEPENDENT)]
