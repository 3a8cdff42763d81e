"""The settings of an export: what was trained, as a whole model, and perhaps onto the hub.

Raises TrainingError of one line for what cannot be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from training.settings.command_line import Program
from training.settings.fields import Field, Folder, Group, Needed, Shown, of_groups
from training.settings.reading import check


class Source(Group):
    """What is exported."""

    adapter: Annotated[Needed, Shown("DIR")] = Field(description="what training wrote")
    model: str = Field(default="", description="the model it goes into; without it the one that it was trained on")


class Job(Group):
    """What is written."""

    out: Folder = Field(default="", description="the whole model: a new or empty folder, which diffusers loads")
    precision: Literal["fp32", "fp16", "bf16"] = Field(default="fp32", description="of its weights")


class Hub(Group):
    """Onto the hub: --out, or without it what training wrote."""

    hub: str = Field(default="", description="OWNER/NAME; what would be uploaded is listed")
    push: bool = Field(default=False, description="upload it, with the token in HF_TOKEN")
    public: bool = Field(default=False, description="a repository that is made is public; else it is private")


class Settings(Group):
    """One export."""

    source: Source
    job: Job = Job()
    hub: Hub = Hub()


PROGRAM = Program(
    "training/export.py",
    "Write what was trained as a whole model that diffusers loads, and put it onto the hub.",
    tuple(of_groups(Settings)),
)


def parse(arguments: Sequence[str] | None = None) -> Settings:
    """The command line, and the file it may name, as settings. Raises TrainingError."""
    return check(Settings, PROGRAM.read(arguments))
