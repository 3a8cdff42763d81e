"""Where the recipes and what they name lie: `prompts/`, which a researcher edits."""

from __future__ import annotations

from pathlib import Path


def _prompts_folder() -> Path:
    """`prompts/` next to the package in a checkout, `datagen/_prompts/` in an installed wheel."""
    packaged = Path(__file__).parents[1] / "_prompts"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "prompts"


PROMPTS = _prompts_folder()
