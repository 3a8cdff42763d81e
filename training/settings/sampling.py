"""The settings of a grid of samples: what is drawn, and which principles a value encoder gets.

Raises TrainingError of one line for what cannot be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from training.settings.command_line import Program
from training.settings.fields import Amount, Count, Field, Folder, Group, Needed, Place, Seed, Shown, Texts, of_groups
from training.settings.reading import check


class Drawn(Group):
    """What is drawn."""

    model: Place = Field(
        default="",
        description="'embedded', a diffusers folder, or a hub id; without it the one that --adapter was trained on",
    )
    adapter: Annotated[Needed, Shown("DIR")] = Field(description="what training wrote")
    prompts: Needed = Field(description="a text file, one prompt a line, or a dataset (its test split)")
    seeds: Count = Field(default=2, description="images a prompt and column pair")
    seed: Seed = Field(default=0, description="the first of them")
    steps: Count = Field(default=20, description="denoising steps of an image")
    guidance: Amount = Field(default=4.0, description="scale of classifier-free guidance")


class Principles(Group):
    """For a value encoder."""

    principle: Texts = Field(default=(), description="for every prompt; may be given again")
    retrieve: Literal["", "keywords", "embeddings", "llm"] = Field(
        default="", description="a prompt's own, from --principles"
    )
    principles: Place = Field(
        default="", description="a TOML or JSON file, or a dataset: what --retrieve chooses from"
    )
    at_most: Count = Field(default=1, description="principles that --retrieve gives a prompt")
    threshold: Amount = Field(default=0.05, description="embeddings: the least score")
    sentences: Folder = Field(
        default="", description="embeddings: a sentence-transformers folder; without it the model's"
    )
    llm: Annotated[str, Shown("NAME")] = Field(
        default="", description="llm: the model; the key is read from OPENAI_API_KEY"
    )
    base_url: str = Field(default="", description="llm: the server, where it is not OpenAI's")


class Job(Group):
    """Where it runs."""

    out: Annotated[Needed, Shown("PNG")] = Field(description="the picture to write")
    batch: Count = Field(default=16, description="pictures at a time")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, …")


class Settings(Group):
    """One grid."""

    drawn: Drawn
    principles: Principles = Principles()
    job: Job


PROGRAM = Program(
    "training/sample.py",
    "Draw prompts with and without what was trained, side by side.",
    tuple(of_groups(Settings)),
)


def parse(arguments: Sequence[str] | None = None) -> Settings:
    """The command line, and the file it may name, as settings. Raises TrainingError."""
    return check(Settings, PROGRAM.read(arguments))
